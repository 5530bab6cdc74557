/* server.h - the daemon: one loop, two listeners, signals, drain. Loop thread only. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config/config.h"
#include "server/http.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/runtime.h"
#include "server/sched.h"
#include "server/sessions.h"
#include "server/workers.h"

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
    bool ready;        /* inference requests are accepted */
    bool draining;
    uint64_t started_unix; /* seconds; `created` of /v1/models */
} server;

/* Serve until SIGTERM or SIGINT has been drained. Returns the process's exit code. */
int server_run(const config *c, runtime *r);

#endif
