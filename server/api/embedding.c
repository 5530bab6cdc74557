/* embedding.c - from a held request for embeddings to its answer.
 *
 *   embedding_start  loop       held; body read by a worker, since it may have megabytes
 *   read_body        worker     JSON, checks, tokenizer
 *   admit            loop       against the key's limits; one generation to the scheduler
 *   on_done          loop       vectors are there; the answer
 *
 * One owner at a time, as with completions: the loop only sets a cancel meanwhile. Each path
 * ends in `end`, which frees the work and leaves the request its one answer. */
#include "server/api/embedding.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "server/api/delivery.h"
#include "server/api/doors.h"
#include "server/api/server.h"
#include "server/http/answer.h"
#include "server/log.h"
#include "server/sched/job.h"

typedef struct embedding {
    job job; /* first: what the workers are given */
    http_request *http;
    server *server;
    const embedding_kind *kind;
    embedding_env env;
    const char *body; /* the HTTP request's */
    size_t body_bytes;
    embedding_request request;
    generation *generation; /* NULL until it is admitted */
    key *key;               /* that counts it, or NULL */
    uint64_t held_tokens, used_tokens;
    fault why;
} embedding;

/* --- the end --- */

static void embedding_free(embedding *m)
{
    if (m->key) keys_release(m->key, m->held_tokens, m->used_tokens);
    generation_in_free(&m->request.in);
    generation_free(m->generation);
    free(m);
}

static void count_rejected(const embedding *m, err e)
{
    metrics *to = m->server->metrics;

    if (e == ERR_BUSY) metrics_count_rejected(to, REJECT_QUEUE_FULL);
    if (e == ERR_TOOLONG) metrics_count_rejected(to, REJECT_CONTEXT_LENGTH);
    if (e == ERR_DRAINING) metrics_count_rejected(to, REJECT_DRAINING);
}

/* Refused or failed: by a sentence if there is one. */
static void end(embedding *m, err e)
{
    http_request *r = m->http;
    const fault why = m->why;

    embedding_free(m);
    if (why.sentence[0])
        answer_fault(r, &why);
    else
        delivery_fail(r, e);
}

static void write_answer(embedding *m)
{
    http_request *r = m->http;
    const embedding_reply a = {.request = &m->request,
                               .runtime = m->server->runtime,
                               .vectors = m->generation ? m->generation->out.vectors : NULL,
                               .width = encoder_width(m->server->runtime->encoder),
                               .arrived_ns = http_arrived_ns(r)};
    text_builder t = {0};

    m->kind->write(&t, &a);
    embedding_free(m);
    answer_json(r, &t);
}

/* --- at the scheduler's --- */

static void log_end(const embedding *m, err e)
{
    const generation *g = m->generation;
    const uint64_t now_ns = clock_ns();

    log_line(LOG_INFO, "embedding", "req_id", LOG_TEXT(http_id(m->http)), "route",
             LOG_TEXT(http_route(m->http)), "texts", LOG_INT(g->in.n_texts), "prompt_tokens",
             LOG_INT(g->in.n_ids), "queue_ms",
             LOG_NUM(clock_ms_between(g->out.queued_ns,
                                      g->out.started_ns ? g->out.started_ns : now_ns)),
             "total_ms", LOG_NUM(clock_ms_between(http_arrived_ns(m->http), now_ns)), "finish",
             LOG_TEXT(e == ERR_OK         ? "stop"
                      : e == ERR_CANCELED ? "abort"
                                          : "error"),
             NULL);
}

static void on_done(generation *g, err e)
{
    embedding *m = g->user;

    if (e == ERR_OK && g->out.finish == FINISH_ABORT) e = ERR_CANCELED;
    metrics_count_generation(m->server->metrics, g, e != ERR_OK && e != ERR_CANCELED,
                             http_arrived_ns(m->http), clock_ns());
    m->used_tokens = e == ERR_OK ? g->in.n_ids : 0;
    log_end(m, e);
    if (e != ERR_OK) {
        end(m, e);
        return;
    }
    m->request.in = (generation_in){.n_ids = g->in.n_ids, .n_texts = g->in.n_texts};
    write_answer(m);
}

static void on_progress(generation *g)
{
    (void)g; /* it runs: there is nothing to say before the end */
}

static void on_left(http_request *r)
{
    embedding *m = http_user(r);

    atomic_store(&m->generation->cancel, true);
}

/* A key that has less than the request wants will not have more later. */
static err count_for_key(embedding *m)
{
    key *x = doors_key(m->http);
    keys_verdict v;

    if (!x) return ERR_OK;
    v = keys_admit(x, m->request.in.n_ids, clock_ns());
    if (!v.limit) {
        m->key = x;
        m->held_tokens = m->request.in.n_ids;
        return ERR_OK;
    }
    if (!v.never) answer_add_retry(m->http, v.retry_seconds);
    fault_refuse(&m->why, v.never ? ERR_INVALID : ERR_BUSY, m->request.name,
                 v.never ? "This API key may not have so many %s at once."
                         : "This API key is over its limit of %s.",
                 v.limit);
    return ERR_BUSY;
}

/* Room for the vectors is taken before they wait, so that a full queue is bounded in bytes by
 * the bodies that it has read. */
static err submit(embedding *m)
{
    const size_t width = encoder_width(m->server->runtime->encoder);
    generation_group *group;
    generation *g;

    TRY(generation_new(&m->generation, m->server->runtime->tokens, &m->request.in));
    g = m->generation;
    g->out.vectors = malloc(g->in.n_texts * width * sizeof *g->out.vectors);
    if (!g->out.vectors) return ERR_NOMEM;
    g->user = m;
    g->done = on_done;
    g->progress = on_progress;
    TRY(generation_group_new(&group, &g, 1));
    return sched_submit(m->server->sched, &group, 1);
}

static void admit(embedding *m)
{
    http_request *r = m->http;
    err e = count_for_key(m);

    if (e == ERR_OK) e = submit(m);
    if (e == ERR_OK) {
        http_hold(r, on_left, m);
        return;
    }
    count_rejected(m, e);
    end(m, e);
}

/* --- the worker's part --- */

static err read_body(job *j)
{
    embedding *m = (embedding *)j;
    cJSON *body = NULL;

    if (atomic_load(&j->cancel)) return ERR_CANCELED;
    if (json_parse(&body, m->body, m->body_bytes, &m->why)) {
        if (!cJSON_IsObject(body))
            fault_refuse(&m->why, ERR_INVALID, NULL, "The body must be a JSON object.");
        else
            m->kind->read(&m->request, body, &m->env, &m->why);
    }
    cJSON_Delete(body);
    m->request.in.tenant = m->env.tenant;
    return m->why.e;
}

static void on_read(job *j, err e)
{
    embedding *m = (embedding *)j;

    if (e == ERR_OK && http_is_gone(m->http)) e = ERR_CANCELED;
    if (e != ERR_OK) {
        count_rejected(m, e);
        end(m, e);
    } else if (!m->request.in.n_texts) {
        write_answer(m); /* some dialects answer nothing with nothing */
    } else {
        admit(m);
    }
}

/* --- the start --- */

static void on_gone(http_request *r)
{
    embedding *m = http_user(r);

    atomic_store(&m->job.cancel, true);
}

void embedding_start(http_request *r, const embedding_kind *kind)
{
    embedding *m = calloc(1, sizeof *m);
    server *s = http_server(r);
    err e;

    if (!m) {
        answer_err(r, ERR_NOMEM);
        return;
    }
    m->job.work = read_body;
    m->job.done = on_read;
    atomic_init(&m->job.cancel, false);
    m->http = r;
    m->server = s;
    m->kind = kind;
    m->env = (embedding_env){.runtime = s->runtime,
                             .more_names = s->config->served_model_name,
                             .any_model = s->config->any_model,
                             .tenant = doors_tenant(r),
                             .cancel = &m->job.cancel};
    m->body = http_body(r, &m->body_bytes);
    http_hold(r, on_gone, m); /* before: a fast worker must find it held */
    e = workers_submit(s->workers, &m->job);
    if (e == ERR_OK) return;
    count_rejected(m, e);
    end(m, e);
}
