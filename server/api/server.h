/* server.h - what a handler reaches through http_server(r): the parts that requests share. Loop
 * thread only. */
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
#include "server/api/tool_setup.h"
#include "server/http/http.h"
#include "server/log.h"
#include "server/runtime.h"
#include "server/sched/sched.h"
#include "server/sched/workers.h"
#include "server/schema/guides.h"

/* Owned by daemon_run. */
typedef struct server {
    uv_loop_t *loop;
    const config *config;
    runtime *runtime;
    sched *sched;
    sessions *sessions;
    workers *workers;                 /* tokenizing */
    guides *guides;                   /* grammars of requests */
    struct delivery *deliveries;      /* under way */
    struct response_store *responses; /* answers of /v1/responses */
    tool_setup tools;                 /* how the model calls them */
    metrics *metrics;
    http *api, *admin; /* admin NULL when off */
    keys *keys;        /* NULL: none is asked for, and everyone is one tenant */
    origin_policy origins, admin_origins;
    peer_set proxies; /* that are trusted */
    bool loaded;      /* runtime, sched, sessions, workers and metrics are there */
    bool ready;       /* inference requests are accepted */
    bool draining;
    bool changed;          /* the model's file, since it was loaded */
    uint64_t started_unix; /* seconds; `created` of /v1/models */
} server;

#endif
