/* completion.c - from a held request to its answer: worker, scheduler, events. */
#include "server/completion.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/answer.h"
#include "server/job.h"
#include "server/log.h"
#include "server/server.h"

/* A client that has this much unread text is taken for dead. */
enum { MAX_BACKLOG_BYTES = 1 << 20 };

typedef struct completion {
    job job; /* first: what the workers are given */
    http_request *http;
    const completion_kind *kind;
    server *server;
    request_env env;
    const char *body; /* the HTTP request's */
    size_t body_bytes;
    request request;
    json_fault why;           /* the worker's: status 0 where the body is fine */
    session_history *history; /* of its session's last turn, while it is compared */
    generation *generation;   /* NULL until it is made; the scheduler's until done */
    reply reply;
    size_t sent_tokens, sent_text;
    size_t observed; /* tokens that metrics have seen */
    bool opened;     /* the headers of a stream are out */
    bool begun;      /* an event was written */
    uint64_t last_token_ns;
} completion;

/* --- the end of every path: log, free, and the request's one answer --- */

static void completion_free(completion *c)
{
    session_history_drop(c->history);
    generation_free(c->generation);
    request_free(&c->request);
    free(c);
}

static void refuse(completion *c, int status, const char *code, const char *param,
                   const char *message)
{
    http_request *r = c->http;

    completion_free(c);
    answer_error(r, status, "invalid_request_error", code, param, message);
}

static void fail(completion *c, err e)
{
    const unsigned seconds = sched_retry_seconds(c->server->sched);
    http_request *r = c->http;

    completion_free(c);
    if (e == ERR_BUSY)
        answer_busy(r, seconds);
    else
        answer_err(r, e);
}

/* --- refusals --- */

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

    if (e != ERR_NOROOM) return c->env.ctx_size;
    sched_read_stats(c->server->sched, &stats);
    stats.capacity_tokens += stats.block_tokens;
    return stats.capacity_tokens < c->env.ctx_size ? stats.capacity_tokens : c->env.ctx_size;
}

/* Clients look for words of this sentence. Source: openai-wire, errors. */
static void refuse_length(completion *c, err e, size_t prompt, size_t max_tokens)
{
    char message[384];

    snprintf(message, sizeof message,
             "This model's maximum context length is %zu tokens. However, you requested %zu "
             "tokens (%zu in the messages, %zu in the completion). Please reduce the length "
             "of the messages or completion.",
             longest_context(c, e), prompt + max_tokens, prompt, max_tokens);
    refuse(c, answer_for(e).status, answer_for(e).code, c->kind->prompt_param, message);
}

static void refuse_admission(completion *c, err e, size_t prompt, size_t max_tokens)
{
    count_rejected(c, e);
    if (e == ERR_TOOLONG || e == ERR_NOROOM)
        refuse_length(c, e, prompt, max_tokens);
    else if (e == ERR_EMPTY)
        refuse(c, 400, answer_for(e).code, c->kind->prompt_param, "The prompt has no tokens.");
    else
        fail(c, e);
}

/* --- events --- */

/* Takes what t has. A client that left, or reads too slowly, stops the generation. */
static void send_events(completion *c, text_builder *t)
{
    size_t n = 0;
    char *bytes = text_take(t, &n);

    if (!bytes || http_stream_write(c->http, bytes, n) != ERR_OK ||
        http_stream_backlog(c->http) > MAX_BACKLOG_BYTES)
        atomic_store(&c->generation->cancel, true);
    free(bytes);
}

static void write_slice(completion *c, text_builder *t, reply_slice *s)
{
    s->token_from = c->sent_tokens;
    s->text_from = c->sent_text;
    s->first = !c->begun;
    c->kind->write_events(t, &c->reply, s);
    c->begun = true;
    c->sent_tokens = s->token_to;
    c->sent_text = s->text_to;
}

/* One event for each token that makes text visible. A token whose text is held back waits
 * for the one that lets it go; only the very first opens the stream at once. */
static void write_tokens(completion *c, text_builder *t, size_t published)
{
    const generation_token *tokens = c->generation->out.tokens;

    for (size_t i = c->sent_tokens; i < published; i++) {
        const bool shows = tokens[i].text_end > c->sent_text;
        reply_slice s = {.token_to = shows ? i + 1 : c->sent_tokens,
                         .text_to = tokens[i].text_end};

        if (shows || !c->begun) write_slice(c, t, &s);
    }
}

static void observe_tokens(completion *c, size_t n, uint64_t now_ns)
{
    if (n && c->last_token_ns)
        metrics_observe_tokens(c->server->metrics, n,
                               (double)(now_ns - c->last_token_ns) / 1e9);
    if (n) c->last_token_ns = now_ns;
}

/* It runs: what it may need is reserved, so that an answer can be promised. */
static void open_stream(completion *c)
{
    if (!c->request.stream || c->opened || http_is_gone(c->http)) return;
    c->opened = true;
    http_stream_begin(c->http, 200, "text/event-stream");
}

static void on_progress(generation *g)
{
    completion *c = g->user;
    const size_t published = atomic_load_explicit(&g->out.published, memory_order_acquire);
    text_builder t = {0};

    open_stream(c);
    observe_tokens(c, published - c->observed, uv_hrtime());
    c->observed = published;
    if (!c->request.stream || atomic_load(&g->cancel)) return;
    write_tokens(c, &t, published);
    if (t.n || t.failed) send_events(c, &t);
}

/* --- the end of a generation --- */

static void log_end(const completion *c, const char *finish)
{
    const generation *g = c->generation;
    const uint64_t now_ns = uv_hrtime(), arrived_ns = http_arrived_ns(c->http);
    const uint64_t started_ns = g->out.started_ns ? g->out.started_ns : now_ns;
    const double ttft_ms = (double)(g->out.first_ns - arrived_ns) / 1e6;

    log_line(LOG_INFO, "generation", "req_id", LOG_TEXT(http_id(c->http)), "route",
             LOG_TEXT(http_route(c->http)), "prompt_tokens", LOG_INT(g->in.n_ids),
             "cached_tokens", LOG_INT(g->out.cached_tokens), "completion_tokens",
             LOG_INT(g->out.n_tokens), "cache_bytes", LOG_INT(g->out.cache_bytes), "queue_ms",
             LOG_NUM((double)(started_ns - g->out.queued_ns) / 1e6), "ttft_ms",
             LOG_NUM(g->out.first_ns ? ttft_ms : -1), "total_ms",
             LOG_NUM((double)(now_ns - arrived_ns) / 1e6), "finish", LOG_TEXT(finish), NULL);
}

static reply_slice rest_of(const completion *c)
{
    return (reply_slice){.token_to = c->generation->out.n_tokens,
                         .text_to = c->generation->out.text_bytes,
                         .last = true};
}

static void end_stream(completion *c)
{
    reply_slice s = rest_of(c);
    http_request *r = c->http;
    text_builder t = {0};

    if (s.token_to) write_tokens(c, &t, s.token_to - 1);
    write_slice(c, &t, &s);
    reply_end_events(&t, &c->reply, c->kind->event_object);
    send_events(c, &t);
    completion_free(c);
    http_stream_end(r);
}

static void end_whole(completion *c)
{
    const reply_slice s = rest_of(c);
    http_request *r = c->http;
    text_builder t = {0};
    size_t n = 0;
    char *body;

    c->kind->write_answer(&t, &c->reply, &s);
    completion_free(c);
    body = text_take(&t, &n);
    if (body)
        http_answer(r, 200, "application/json", body, n);
    else
        answer_err(r, ERR_NOMEM);
}

/* The headers are out: an event is the only way left to say it. */
static void fail_stream(completion *c, err e)
{
    const answer_row row = answer_for(e);
    char *body = answer_body(row.type, row.code, NULL, err_text(e));
    http_request *r = c->http;
    text_builder t = {0};

    if (body) text_addf(&t, "data: %s\n\n", body);
    free(body);
    send_events(c, &t);
    completion_free(c);
    http_stream_end(r);
}

/* What was computed is what the session's next turn begins with, if it was canceled too. */
static void note_turn(const completion *c)
{
    const generation *g = c->generation;
    const size_t n = g->out.n_tokens;
    int32_t *answer;

    if (!c->request.session[0] || !g->out.first_ns) return;
    answer = malloc((n + 1) * sizeof *answer);
    if (!answer) return; /* then the next turn is found by content alone */
    for (size_t i = 0; i < n; i++) answer[i] = g->out.tokens[i].id;
    sessions_note(c->server->sessions, &c->request.who, c->request.session, g->in.ids,
                  g->in.n_ids, answer, n);
    free(answer);
}

static void on_done(generation *g, err e)
{
    completion *c = g->user;
    const uint64_t now_ns = uv_hrtime();
    const bool failed = e != ERR_OK && e != ERR_CANCELED;

    if (e == ERR_OK && g->out.finish == FINISH_ABORT) e = ERR_CANCELED;
    observe_tokens(c, g->out.n_tokens - c->observed, now_ns);
    metrics_count_generation(c->server->metrics, g, failed, http_arrived_ns(c->http), now_ns);
    note_turn(c);
    log_end(c, failed ? "error" : generation_finish_name(g->out.finish));
    if (e == ERR_OK) open_stream(c);
    if (e == ERR_OK && c->request.stream)
        end_stream(c);
    else if (e == ERR_OK)
        end_whole(c);
    else if (c->opened)
        fail_stream(c, e);
    else
        fail(c, e);
}

/* --- admission --- */

static void prepare_reply(completion *c)
{
    reply_make_id(c->reply.id, c->kind->id_prefix);
    c->reply.model = c->env.model_name;
    c->reply.created = (uint64_t)time(NULL);
    c->reply.request = &c->request;
    c->reply.generation = c->generation;
}

static void admit(completion *c)
{
    const size_t prompt = c->request.in.n_ids, max_tokens = c->request.in.max_tokens;
    err e = sched_check(c->server->sched, prompt, max_tokens);

    if (e == ERR_OK) e = generation_new(&c->generation, c->env.tokens, &c->request.in);
    if (e == ERR_OK) {
        prepare_reply(c);
        c->generation->user = c;
        c->generation->progress = on_progress;
        c->generation->done = on_done;
        e = sched_submit(c->server->sched, c->generation);
    }
    if (e != ERR_OK) refuse_admission(c, e, prompt, max_tokens);
}

/* --- the worker's part --- */

static err read_body(job *j)
{
    completion *c = (completion *)j;
    err e;

    if (atomic_load(&j->cancel)) return ERR_CANCELED;
    request_read(&c->request, &c->kind->request, &c->env, c->body, c->body_bytes, &c->why, &e);
    return e;
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

    if (c->request.session[0])
        s = sessions_find(c->server->sessions, &c->request.who, c->request.session);
    if (!s || !s->history) {
        admit(c);
        return;
    }
    c->history = session_history_hold(s->history);
    c->job.work = resume;
    c->job.done = on_resumed;
    e = workers_submit(c->server->workers, &c->job);
    if (e == ERR_OK) return;
    count_rejected(c, e);
    fail(c, e);
}

static void on_read(job *j, err e)
{
    completion *c = (completion *)j;

    if (e == ERR_OK && http_is_gone(c->http)) e = ERR_CANCELED;
    if (e == ERR_OK && c->why.status) {
        const json_fault why = c->why;

        refuse(c, why.status, why.code, why.param[0] ? why.param : NULL, why.message);
    } else if (e != ERR_OK) {
        fail(c, e);
    } else {
        attach(c);
    }
}

/* --- the start --- */

static void on_gone(http_request *r)
{
    completion *c = http_user(r);

    atomic_store(&c->job.cancel, true);
    if (c->generation) atomic_store(&c->generation->cancel, true);
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
                           .model_name = s->runtime->model_name,
                           .ctx_size = s->runtime->ctx_size,
                           .default_max_tokens = (size_t)s->config->default_max_tokens,
                           .authorization = http_header(r, "Authorization"),
                           .session = http_header(r, "X-Session-ID"),
                           .share_prefixes = s->config->share_prefixes};
    c->body = http_body(r, &c->body_bytes);
    return c;
}

void completion_start(http_request *r, const completion_kind *kind)
{
    completion *c = completion_new(r, kind);
    err e;

    if (!c) {
        answer_err(r, ERR_NOMEM);
        return;
    }
    http_hold(r, on_gone, c);
    e = workers_submit(c->server->workers, &c->job);
    if (e == ERR_OK) return;
    count_rejected(c, e);
    fail(c, e);
}
