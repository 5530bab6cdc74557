/* api_status.c - probes: is it alive, does it take requests, which version is it. */
#include <stdlib.h>
#include <string.h>

#include "server/api/loading.h"
#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/http/answer.h"

/* 503 before the model is there and from the first signal on: a balancer stops sending while
 * what runs still ends. */
static void answer_ready(http_request *r)
{
    const server *s = http_server(r);

    if (s->ready)
        http_answer(r, 200, NULL, NULL, 0);
    else if (s->draining)
        answer_err(r, ERR_DRAINING);
    else if (s->changed)
        answer_err(r, ERR_CHANGED);
    else
        loading_answer(r);
}

void api_health(http_request *r)
{
    answer_ready(r);
}

void api_readyz(http_request *r)
{
    answer_ready(r);
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
