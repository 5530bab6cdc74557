/* server.h - the daemon: one loop, two listeners, signals, drain. Loop thread only. */
#ifndef SERVER_API_SERVER_H
#define SERVER_API_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config/config.h"
#include "server/api/keys.h"
#include "server/api/metrics.h"
#include "server/api/origin.h"
#include "server/api/sessions.h"
#include "server/http/http.h"
#include "server/log.h"
#include "server/runtime.h"
#include "server/sched/sched.h"
#include "server/sched/workers.h"

/* What a handler reaches through http_server(r). Owned by server_run. */
typedef struct server {
    uv_loop_t *loop;
    const config *config;
    runtime *runtime;
    sched *sched;
    sessions *sessions;
    workers *workers; /* tokenizing */
    metrics *metrics;
    http *api, *admin; /* admin NULL when off */
    keys *keys;        /* NULL: none is asked for, and everyone is one tenant */
    origin_policy origins, admin_origins;
    peer_set proxies; /* that are trusted */
    bool loaded;      /* runtime, sched, sessions, workers and metrics are there */
    bool ready;       /* inference requests are accepted */
    bool draining;
    uint64_t started_unix; /* seconds; `created` of /v1/models */
} server;

/* Opens the runtime, on a thread of its own; what [n]: out, names the part at fault. */
typedef err server_load(runtime *r, const config *c, char *what, size_t n);

/* Listen, load, and serve until SIGTERM or SIGINT has been drained: who asks meanwhile hears
 * how far the model is. r is empty, and its caller closes it. Returns the process's exit code.
 */
int server_run(const config *c, runtime *r, server_load *load);

#endif
