/* listeners.h - the two listeners of the daemon, and what they ask of clients: addresses, TLS,
 * keys, hosts. Loop thread only. */
#ifndef SERVER_API_LISTENERS_H
#define SERVER_API_LISTENERS_H

#include "server/api/server.h"

/* Open both as s->config says; s->loop turns them. What fails has been said on stderr: returns
 * the process's exit code, 0 if all is well. finished: http_options.finished. Whatever was
 * opened is closed by listeners_close, also after a failure. */
int listeners_open(server *s, void (*finished)(http_request *r));
void listeners_close(server *s);

/* Read keys and certificate anew. What is wrong with either is logged, and the old ones stay.
 */
void listeners_reload(server *s);

#endif
