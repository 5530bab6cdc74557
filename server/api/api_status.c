/* api_status.c - probes: is it alive, does it take requests, which version is it. */
#include <stdlib.h>
#include <string.h>

#include "server/api/loading.h"
#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/http/answer.h"
#include "server/text.h"

/* 503 before the model is there and from the first signal on: a balancer stops sending while
 * what runs still ends. */
static void answer_unready(http_request *r)
{
    const server *s = http_server(r);

    if (s->draining)
        answer_err(r, ERR_DRAINING);
    else if (s->changed)
        answer_err(r, ERR_CHANGED);
    else
        loading_answer(r);
}

/* What the pool holds, and how many conversations of a usual length it has room for. */
static void answer_pool(http_request *r)
{
    const server *s = http_server(r);
    const memory_needs *n = &s->runtime->needs;
    text_builder t = {0};
    sched_stats now;

    sched_read_stats(s->sched, &now); /* as they were after a step: it waits for none */
    text_addf(&t, "{\"status\":\"ok\",\"cache\":{\"capacity_bytes\":%llu,\"used_bytes\":%llu,",
              (unsigned long long)now.cache.capacity_bytes,
              (unsigned long long)(now.cache.capacity_bytes - now.cache.free_bytes));
    text_addf(&t, "\"rewind_bytes\":%llu,\"contexts\":%llu,\"context_tokens\":%zu}}",
              (unsigned long long)now.cache.rewind_bytes, (unsigned long long)n->contexts,
              n->context_tokens);
    answer_json(r, &t);
}

void api_health(http_request *r)
{
    const server *s = http_server(r);

    if (s->ready)
        answer_pool(r);
    else
        answer_unready(r);
}

void api_readyz(http_request *r)
{
    const server *s = http_server(r);

    if (s->ready)
        http_answer(r, 200, NULL, NULL, 0);
    else
        answer_unready(r);
}

/* That it is answered says it all: the loop turns. It never asks the scheduler, whose step may
 * be long. */
void api_livez(http_request *r)
{
    http_answer(r, 200, NULL, NULL, 0);
}

void api_version(http_request *r)
{
    char *body = strdup("{\"version\":\"" XQUANTD_VERSION "\"}");

    if (body)
        http_answer(r, 200, "application/json", body, strlen(body));
    else
        answer_err(r, ERR_NOMEM);
}
