/* completion.c - from a held request to its admission, or its refusal.
 *
 *   completion_start  loop    held; body read by a worker, since it may have megabytes
 *   read_body         worker  JSON, checks, template, tokenizer
 *   attach            loop    its session's history, if any, is held for the worker
 *   resume            worker  the ids that were computed replace those that text gave
 *   admit             loop    delivery takes over, or the request is refused
 *
 * One owner at a time (job.h): while a worker has it the loop only sets job.cancel. Each path
 * ends in admit, refuse or fail, which free c and leave the request its one answer. */
#include "server/api/completion.h"

#include <stdlib.h>

#include "server/api/delivery.h"
#include "server/api/doors.h"
#include "server/api/server.h"
#include "server/http/answer.h"
#include "server/sched/job.h"

typedef struct completion {
    job job; /* first: what the workers are given */
    http_request *http;
    const completion_kind *kind;
    server *server;
    request_env env;
    const char *body; /* the HTTP request's */
    size_t body_bytes;
    request request;
    fault why;                /* the worker's: e is OK where the body is fine */
    text_builder answer;      /* the worker's, where nothing is generated */
    session_history *history; /* of its session's last turn, while it is compared */
} completion;

/* --- the end of every path: log, free, and the request's one answer --- */

static void completion_free(completion *c)
{
    sessions_history_drop(c->history);
    request_free(&c->request);
    text_free(&c->answer);
    free(c);
}

/* What the worker found wrong with the body, or admission with its size. */
static void blame(completion *c)
{
    http_request *r = c->http;
    const fault why = c->why;

    completion_free(c);
    answer_fault(r, &why);
}

static void fail(completion *c, err e)
{
    http_request *r = c->http;

    completion_free(c);
    delivery_fail(r, e);
}

/* --- refusals --- */

/* Only what was turned away for load or size; a malformed body is the client's business. */
static void count_rejected(const completion *c, err e)
{
    metrics *m = c->server->metrics;

    if (e == ERR_BUSY) metrics_count_rejected(m, REJECT_QUEUE_FULL);
    if (e == ERR_TOOLONG) metrics_count_rejected(m, REJECT_CONTEXT_LENGTH);
    if (e == ERR_NOROOM) metrics_count_rejected(m, REJECT_CACHE_CAPACITY);
    if (e == ERR_DRAINING) metrics_count_rejected(m, REJECT_DRAINING);
}

/* The longest context there is: the model's, or what the pool holds besides the open block. */
static size_t longest_context(const completion *c, err e)
{
    sched_stats stats;
    size_t held;

    if (e != ERR_NOROOM) return c->env.ctx_size;
    sched_read_stats(c->server->sched, &stats);
    held = stats.cache.capacity_tokens + stats.cache.block_tokens;
    return held < c->env.ctx_size ? held : c->env.ctx_size;
}

/* Clients look for words of this sentence. Source: openai-wire, errors. */
static void refuse_length(completion *c, err e, size_t prompt, size_t max_tokens)
{
    fault_refuse(
        &c->why, e, c->kind->prompt_param,
        "This model's maximum context length is %zu tokens. However, you requested %zu "
        "tokens (%zu in the messages, %zu in the completion). Please reduce the length "
        "of the messages or completion.",
        longest_context(c, e), prompt + max_tokens, prompt, max_tokens);
    blame(c);
}

static void refuse(completion *c, err e, const char *sentence)
{
    fault_refuse(&c->why, e, c->kind->prompt_param, "%s", sentence);
    blame(c);
}

/* A key that has less than the request wants at most will not have more later. */
static void refuse_limit(completion *c, keys_verdict v)
{
    char sentence[128];

    snprintf(sentence, sizeof sentence,
             v.never ? "This API key may not have so many %s at once."
                     : "This API key is over its limit of %s.",
             v.limit);
    if (!v.never) answer_add_retry(c->http, v.retry_seconds);
    refuse(c, v.never ? ERR_INVALID : ERR_BUSY, sentence);
}

static void refuse_admission(completion *c, err e, const delivery_refusal *why)
{
    const size_t prompt = why->prompt, max_tokens = why->max_tokens;

    count_rejected(c, e);
    if (why->key.limit)
        refuse_limit(c, why->key);
    else if (e == ERR_TOOLONG || e == ERR_NOROOM)
        refuse_length(c, e, prompt, max_tokens);
    else if (e == ERR_TOOMANY)
        refuse(c, ERR_INVALID, "The request asks for more answers than this server lets wait.");
    else if (e == ERR_EMPTY)
        refuse(c, e, "The prompt has no tokens.");
    else
        fail(c, e);
}

/* --- admission --- */

/* Hand over to who delivers. */
static void admit(completion *c)
{
    delivery_refusal why = {0};
    const err e = delivery_start(c->http, c->kind, &c->env, &c->request, &why);

    if (e == ERR_OK)
        completion_free(c);
    else
        refuse_admission(c, e, &why);
}

/* --- the worker's part --- */

/* The client may have left while this waited. */
static err read_body(job *j)
{
    completion *c = (completion *)j;

    if (atomic_load(&j->cancel)) return ERR_CANCELED;
    if (request_read(&c->request, &c->kind->request, &c->env, c->body, c->body_bytes,
                     &c->why) &&
        c->kind->write_prompt)
        c->kind->write_prompt(&c->answer, &c->request, &c->env);
    return c->why.e;
}

static err resume(job *j)
{
    completion *c = (completion *)j;

    if (atomic_load(&j->cancel)) return ERR_CANCELED;
    return request_resume(&c->request, &c->env, c->history->ids, c->history->n);
}

static void on_resumed(job *j, err e)
{
    completion *c = (completion *)j;

    if (e == ERR_OK && http_is_gone(c->http)) e = ERR_CANCELED;
    if (e == ERR_OK)
        admit(c);
    else
        fail(c, e);
}

/* Its session's ids, if it has any, are compared with the prompt by a worker. */
static void attach(completion *c)
{
    const session *s = NULL;
    err e;

    if (c->request.session[0] && c->request.n_prompts == 1 && !c->request.in.reads_prompt)
        s = sessions_find(c->server->sessions, &c->request.who, c->request.session);
    if (!s || !s->history) {
        admit(c);
        return;
    }
    c->history = sessions_history_hold(s->history);
    c->job.work = resume;
    c->job.done = on_resumed;
    e = workers_submit(c->server->workers, &c->job);
    if (e == ERR_OK) return;
    count_rejected(c, e);
    fail(c, e);
}

/* What is asked of the prompt alone needs no scheduler. */
static void answer_prompt(completion *c)
{
    http_request *r = c->http;
    text_builder answer = c->answer;

    c->answer = (text_builder){0};
    completion_free(c);
    answer_json(r, &answer);
}

static void on_read(job *j, err e)
{
    completion *c = (completion *)j;

    if (e == ERR_OK && http_is_gone(c->http)) e = ERR_CANCELED;
    if (e != ERR_OK) count_rejected(c, e);
    if (e == ERR_OK && c->kind->write_prompt)
        answer_prompt(c);
    else if (e == ERR_OK)
        attach(c);
    else if (c->why.sentence[0])
        blame(c);
    else
        fail(c, e);
}

/* --- the start --- */

/* The loop's only word to a worker that has c. */
static void on_gone(http_request *r)
{
    completion *c = http_user(r);

    atomic_store(&c->job.cancel, true);
}

static completion *completion_new(http_request *r, const completion_kind *kind)
{
    completion *c = calloc(1, sizeof *c);
    server *s = http_server(r);

    if (!c) return NULL;
    c->job.work = read_body;
    c->job.done = on_read;
    atomic_init(&c->job.cancel, false);
    c->http = r;
    c->kind = kind;
    c->server = s;
    c->env = (request_env){.tokens = s->runtime->tokens,
                           .chat = s->runtime->chat.templates,
                           .chat_kwargs = s->runtime->chat.kwargs,
                           .sampling = &s->runtime->sampling,
                           .model_name = s->runtime->model_name,
                           .more_names = s->config->served_model_name,
                           .any_model = s->config->any_model,
                           .ctx_size = s->runtime->ctx_size,
                           .default_max_tokens = (size_t)s->config->default_max_tokens,
                           .key = doors_key(r),
                           .tenant = doors_tenant(r),
                           .session = http_header(r, "X-Session-ID"),
                           .share_prefixes = s->config->share_prefixes,
                           .cancel = &c->job.cancel,
                           .guides = s->guides,
                           .responses = s->responses,
                           .tools = &s->tools};
    c->body = http_body(r, &c->body_bytes);
    return c;
}

/* A model whose rows see later ones generates nothing. */
static bool refuse_encoder(http_request *r)
{
    const runtime *of = ((const server *)http_server(r))->runtime;
    fault why = {0};

    if (!of->weights->both_ways) return false;
    fault_refuse(&why, ERR_UNSUPPORTED, "model",
                 "The model `%.128s` makes embeddings alone (POST /v1/embeddings): it cannot "
                 "chat or complete.",
                 of->model_name);
    answer_fault(r, &why);
    return true;
}

void completion_start(http_request *r, const completion_kind *kind)
{
    completion *c;
    err e;

    if (refuse_encoder(r)) return;
    c = completion_new(r, kind);
    if (!c) {
        answer_err(r, ERR_NOMEM);
        return;
    }
    http_hold(r, on_gone, c); /* before: a fast worker must find it held */
    e = workers_submit(c->server->workers, &c->job);
    if (e == ERR_OK) return;
    count_rejected(c, e);
    fail(c, e);
}
