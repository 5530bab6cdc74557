/* daemon.h - the daemon: one loop, two listeners, signals, drain. */
#ifndef SERVER_API_DAEMON_H
#define SERVER_API_DAEMON_H

#include "config/config.h"
#include "server/runtime.h"

/* Opens the runtime, on a thread of its own; what [n]: out, names the part at fault. */
typedef err daemon_load(runtime *r, const config *c, char *what, size_t n);

/* Listen, load, and serve until SIGTERM or SIGINT has been drained: who asks meanwhile hears
 * how far the model is. r is empty, and its caller closes it. Returns the process's exit code.
 */
int daemon_run(const config *c, runtime *r, daemon_load *load);

#endif
