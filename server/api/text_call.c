/* text_call.c - from a held request to a worker and back.
 *
 *   text_call_start  loop    held; without room in the queue 429
 *   read_and_write   worker  the body's JSON, then the endpoint's own work
 *   on_done          loop    the answer, or what was wrong */
#include "server/api/text_call.h"

#include <stdlib.h>

#include "server/http/answer.h"
#include "server/sched/job.h"

typedef struct text_call {
    job job; /* first: what the workers are given */
    http_request *http;
    text_env env;
    text_work *work;
    const char *body; /* the request's */
    size_t body_bytes;
    text_builder answer;
    fault why;
} text_call;

static void call_free(text_call *c)
{
    text_free(&c->answer);
    free(c);
}

static bool use_body(text_call *c, const cJSON *body)
{
    if (!cJSON_IsObject(body))
        return fault_refuse(&c->why, ERR_INVALID, NULL, "The body must be a JSON object.");
    return c->work(&c->env, body, &c->answer, &c->why);
}

static err read_and_write(job *j)
{
    text_call *c = (text_call *)j;
    cJSON *body = NULL;

    if (atomic_load(&j->cancel)) return ERR_CANCELED;
    if (json_parse(&body, c->body, c->body_bytes, &c->why)) use_body(c, body);
    cJSON_Delete(body);
    return c->why.e;
}

static void on_done(job *j, err e)
{
    text_call *c = (text_call *)j;

    if (e == ERR_OK)
        answer_json(c->http, &c->answer);
    else if (c->why.sentence[0])
        answer_fault(c->http, &c->why);
    else
        answer_err(c->http, e);
    call_free(c);
}

static void on_gone(http_request *r)
{
    text_call *c = http_user(r);

    atomic_store(&c->job.cancel, true);
}

void text_call_start(http_request *r, text_work *work)
{
    text_call *c = calloc(1, sizeof *c);
    server *s = http_server(r);
    err e;

    if (!c) {
        answer_err(r, ERR_NOMEM);
        return;
    }
    c->job.work = read_and_write;
    c->job.done = on_done;
    atomic_init(&c->job.cancel, false);
    c->http = r;
    c->work = work;
    c->env = (text_env){s->runtime->tokens, s->runtime->ctx_size, &c->job.cancel};
    c->body = http_body(r, &c->body_bytes);
    http_hold(r, on_gone, c); /* before: a fast worker must find it held */
    e = workers_submit(s->workers, &c->job);
    if (e != ERR_OK) on_done(&c->job, e);
}
