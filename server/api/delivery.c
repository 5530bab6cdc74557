/* delivery.c - from generations to one HTTP answer.
 *
 *   delivery_start  choices made and grouped, submitted all or none
 *   on_progress     by choice: the first opens the stream (200), others write events
 *   on_done         by choice: its last events; the last one of all ends the answer
 *
 * A stream's 200 waits until one choice runs, whose worst case is reserved: what is refused
 * late (a deadline in the queue, a drain) still gets a status. After it an error can only be an
 * event.
 *
 * The delivery lives until every generation was handed back, also when the client left: cancel
 * only asks. So callbacks never meet a freed one, and http_is_gone decides what is still
 * written. Events are made on the loop from what the scheduler published, and cost it nothing.
 */
#include "server/api/delivery.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/clock.h"
#include "server/api/delivery_state.h"
#include "server/api/server.h"
#include "server/http/answer.h"
#include "server/http/wire_error.h"
#include "server/http/wire_form.h"
#include "server/log.h"
#include "server/random.h"

/* A client that has this much unread text is taken for dead. */
enum { MAX_BACKLOG_BYTES = 1 << 20 };

static void delivery_free(delivery *d)
{
    delivery_unlist(d);
    if (d->key) keys_release(d->key, d->held_tokens, d->used_tokens);
    for (size_t i = 0; d->choices && i < d->n; i++) {
        generation_free(d->choices[i].generation);
        blocks_free(&d->choices[i].blocks);
        pieces_close(&d->choices[i].pieces);
    }
    free(d->choices);
    request_free(&d->request);
    free(d);
}

void delivery_fail(http_request *r, err e)
{
    const server *s = http_server(r);

    if (e == ERR_BUSY)
        answer_busy(r, sched_retry_seconds(s->sched));
    else
        answer_err(r, e);
}

/* Nobody wants any of it. */
/* The scheduler looks between two steps; done comes for each all the same. */
static void cancel(delivery *d)
{
    for (size_t i = 0; i < d->n; i++) atomic_store(&d->choices[i].generation->cancel, true);
}

/* The first failure is what is answered. */
static void fail(delivery *d, err e)
{
    if (d->result != ERR_OK) return;
    d->result = e;
    cancel(d);
}

/* --- events --- */

/* Takes what t has. A client that left, or reads too slowly, stops it all: what it does not
 * read would grow in our memory. So does a lack of memory, of which the last event tells: an
 * answer with a hole must not look whole. */
static void send_events(delivery *d, text_builder *t)
{
    size_t n = 0;
    char *bytes = text_take(t, &n);
    const err e = bytes ? http_stream_write(d->http, bytes, n) : ERR_NOMEM;

    free(bytes);
    if (e == ERR_NOMEM)
        fail(d, e);
    else if (e != ERR_OK || http_stream_backlog(d->http) > MAX_BACKLOG_BYTES)
        cancel(d);
}

/* The slice's pieces; an answer that lacks some must not look whole. */
static void take_pieces(choice *c, reply_slice *s)
{
    if (s->last) pieces_end(&c->pieces, &c->reply);
    if (pieces_take(&c->pieces, &c->reply, s) != ERR_OK) fail(c->of, ERR_NOMEM);
}

static void write_slice(choice *c, text_builder *t, reply_slice *s)
{
    s->token_from = c->sent_tokens;
    s->text_from = c->sent_text;
    s->first = !c->begun;
    take_pieces(c, s);
    c->of->kind->write_events(t, &c->reply, s);
    c->begun = true;
    c->sent_tokens = s->token_to;
    c->sent_text = s->text_to;
}

/* One event for each token that makes something visible. A token whose text is held back waits
 * for the one that lets it go; only the very first opens the stream at once. */
static void write_tokens(choice *c, text_builder *t, size_t published)
{
    const generation_token *tokens = c->generation->out.tokens;
    const bool parsed = c->pieces.parser;

    for (size_t i = parsed ? c->pieces.tokens : c->sent_tokens; i < published; i++) {
        bool shows = tokens[i].text_end > c->sent_text;
        reply_slice s = {.text_to = tokens[i].text_end};

        pieces_read(&c->pieces, &c->reply, i);
        if (parsed) shows = pieces_wait(&c->pieces);
        s.token_to = shows ? i + 1 : c->sent_tokens;
        if (shows || !c->begun) write_slice(c, t, &s);
    }
}

/* Tokens that came in one wake-up share the time since the last one. */
static void observe_tokens(choice *c, size_t published, uint64_t now_ns)
{
    const size_t n = published - c->observed;

    if (n && c->last_token_ns)
        metrics_observe_tokens(c->of->server->metrics, n,
                               clock_seconds_between(c->last_token_ns, now_ns));
    if (n) c->last_token_ns = now_ns;
    c->observed = published;
}

/* It runs: what it may need is reserved, so that an answer can be promised. */
static void open_stream(delivery *d)
{
    if (!d->request.stream || d->opened || http_is_gone(d->http)) return;
    d->opened = true;
    http_stream_begin(d->http, 200, d->kind->stream_type);
}

static void on_progress(generation *g)
{
    choice *c = g->user;
    delivery *d = c->of;
    const size_t published = atomic_load_explicit(&g->out.published, memory_order_acquire);
    text_builder t = {0};

    c->runs = true;
    open_stream(d);
    observe_tokens(c, published, clock_ns());
    if (!d->request.stream || atomic_load(&g->cancel)) return;
    write_tokens(c, &t, published);
    if (t.n || t.failed) send_events(d, &t);
}

/* --- the end of all --- */

static void end_events(delivery *d)
{
    const reply_usage usage = delivery_usage(d);
    text_builder t = {0};

    d->kind->end_events(&t, &d->choices[0].reply, &usage);
    send_events(d, &t);
}

static reply_slice rest_of(const choice *c)
{
    return (reply_slice){.token_to = c->generation->out.n_tokens,
                         .text_to = c->generation->out.text_bytes,
                         .last = true};
}

static void write_answer(delivery *d, text_builder *t)
{
    reply_usage usage;

    d->kind->open_answer(t, &d->choices[0].reply);
    for (size_t i = 0; i < d->n; i++) {
        reply_slice whole = rest_of(&d->choices[i]);

        if (i % d->request.n >= d->request.told) continue;
        whole.first = true;
        take_pieces(&d->choices[i], &whole);
        if (i) text_add_string(t, ",");
        d->kind->write_choice(t, &d->choices[i].reply, &whole);
    }
    usage = delivery_usage(d); /* the parser has counted thoughts by now */
    d->kind->close_answer(t, &d->choices[0].reply, &usage);
}

/* The headers are out: an event is the only way left to say it. */
static void fail_events(delivery *d)
{
    const wire_error row = wire_error_for(d->result);
    const wire_form *form = wire_form_of(http_path(d->http));
    text_builder t = {0};
    char *body;

    if (d->kind->fail_events) {
        d->kind->fail_events(&t, &d->choices[0].reply, row.code, err_text(d->result));
    } else {
        body = form->body(row.status, row.type, row.code, NULL, err_text(d->result));
        if (body) text_addf(&t, "%s%s%s", form->open, body, form->close);
        free(body);
    }
    send_events(d, &t);
}

/* "24h". A pool that has no room for it goes on as if it had not been asked for. */
static void retain(const delivery *d)
{
    enum { RETAIN_SECONDS = 24 * 60 * 60 };
    sessions *t = d->server->sessions;
    session *s = d->request.retained ? sessions_find(t, &d->request.who, d->request.session)
                                     : NULL;

    if (s) sessions_retain(t, s, (uint64_t)time(NULL) + RETAIN_SECONDS);
}

/* What was computed is what the session's next turn begins with, if it was canceled too. Of
 * several answers the first is the one that goes on. */
static void note_turn(const delivery *d)
{
    const generation *g = d->choices[0].generation;
    const size_t n = g->out.n_tokens;
    int32_t *answer;

    if (!d->request.session[0] || !g->out.first_ns || d->request.n_prompts > 1) return;
    answer = malloc((n + 1) * sizeof *answer);
    if (!answer) return; /* then the next turn is found by content alone */
    for (size_t i = 0; i < n; i++) answer[i] = g->out.tokens[i].id;
    sessions_note(d->server->sessions, &d->request.who, d->request.session, g->in.ids,
                  g->in.n_ids, answer, n);
    free(answer);
    retain(d);
}

static void keep(const delivery *d)
{
    const reply_usage usage = delivery_usage(d);

    if (d->kind->keep) d->kind->keep(d->server, &d->choices[0].reply, &usage);
}

/* Frees d before the request's one answer. */
static void end_whole(delivery *d)
{
    http_request *r = d->http;
    text_builder t = {0};
    err e;

    if (d->result == ERR_OK) write_answer(d, &t);
    if (d->result == ERR_OK) keep(d);
    e = d->result;
    delivery_free(d);
    if (e == ERR_OK) {
        answer_json(r, &t);
        return;
    }
    text_free(&t);
    delivery_fail(r, e);
}

/* Whole and streamed answers part here; an error before the headers is a whole answer. */
static void end_all(delivery *d)
{
    http_request *r = d->http;

    if (d->request.in.scored && d->result == ERR_OK) delivery_order(d);
    note_turn(d);
    if (d->result == ERR_OK) open_stream(d);
    if (!d->opened) {
        end_whole(d);
        return;
    }
    if (d->result == ERR_OK) end_events(d);
    if (d->result == ERR_OK) keep(d);
    if (d->result != ERR_OK) fail_events(d);
    delivery_free(d);
    http_stream_end(r);
}

/* --- the end of one --- */

static void log_end(const choice *c, const char *finish)
{
    const generation *g = c->generation;
    const http_request *r = c->of->http;
    const uint64_t now_ns = clock_ns(), arrived_ns = http_arrived_ns(r);
    const uint64_t started_ns = g->out.started_ns ? g->out.started_ns : now_ns;
    const double ttft_ms = clock_ms_between(arrived_ns, g->out.first_ns);

    log_line(LOG_INFO, "generation", "req_id", LOG_TEXT(http_id(r)), "choice",
             LOG_INT(c->reply.index), "route", LOG_TEXT(http_route(r)), "prompt_tokens",
             LOG_INT(g->in.n_ids), "cached_tokens", LOG_INT(g->out.cached_tokens),
             "recomputed_tokens", LOG_INT(g->out.rewound_tokens), "completion_tokens",
             LOG_INT(g->out.n_tokens), "cache_bytes", LOG_INT(g->out.cache_bytes), "queue_ms",
             LOG_NUM(clock_ms_between(g->out.queued_ns, started_ns)), "ttft_ms",
             LOG_NUM(g->out.first_ns ? ttft_ms : -1), "total_ms",
             LOG_NUM(clock_ms_between(arrived_ns, now_ns)), "finish", LOG_TEXT(finish), NULL);
}

/* The events that a choice still owes. */
static void end_choice(choice *c)
{
    reply_slice s = rest_of(c);
    text_builder t = {0};

    if (s.token_to) write_tokens(c, &t, s.token_to - 1);
    write_slice(c, &t, &s);
    send_events(c->of, &t);
}

/* One that fails ends all: half of the choices is no answer to n. Its own cancel comes back as
 * CANCELED, which is no second failure. */
static void on_done(generation *g, err e)
{
    choice *c = g->user;
    delivery *d = c->of;
    const uint64_t now_ns = clock_ns(), arrived_ns = http_arrived_ns(d->http);
    const bool failed = e != ERR_OK && e != ERR_CANCELED;

    c->runs = false;
    if (e == ERR_OK && g->out.finish == FINISH_ABORT) e = ERR_CANCELED;
    observe_tokens(c, g->out.n_tokens, now_ns);
    metrics_count_generation(d->server->metrics, g, failed, arrived_ns, now_ns);
    d->used_tokens += g->in.n_ids - g->out.cached_tokens + g->out.n_tokens;
    log_end(c, failed ? "error" : generation_finish_name(g->out.finish));
    if (e == ERR_OK) open_stream(d);
    if (e == ERR_OK && d->opened && d->result == ERR_OK) end_choice(c);
    if (e != ERR_OK) fail(d, e);
    if (--d->left == 0) end_all(d);
}

/* --- the beginning --- */

static void on_gone(http_request *r)
{
    cancel(http_user(r));
}

/* Fill in choice i. */
static err make_choice(delivery *d, const request_env *env, const reply *common, size_t i)
{
    choice *c = &d->choices[i];
    generation_in in;

    TRY(request_choice(&d->request, env, i, &in));
    TRY(generation_new(&c->generation, env->tokens, &in));
    TRY(pieces_open(&c->pieces, &d->request));
    c->of = d;
    c->reply = *common;
    c->reads = i % d->request.n == 0;
    c->reply.index = i;
    c->reply.prompt = &d->request.prompts[i / d->request.n];
    c->reply.blocks = &c->blocks;
    c->reply.generation = c->generation;
    c->generation->user = c;
    c->generation->progress = on_progress;
    c->generation->done = on_done;
    return ERR_OK;
}

/* How many answers to a prompt may run together: all, or as many as there could be room for. */
static err size_groups(const delivery *d, size_t prompt, size_t max_tokens, size_t *together)
{
    err e = ERR_NOROOM;

    for (*together = d->request.n; *together; --*together) {
        e = sched_check(d->server->sched, prompt, max_tokens, *together);
        if (e != ERR_NOROOM) break;
    }
    return e;
}

/* What is handed to the scheduler. */
typedef struct groups {
    generation **members;    /* [d->n] of the group that is being made */
    generation_group **list; /* [d->n] */
    size_t n;
} groups;

/* The choices of prompt number p, as few groups as may be. */
static err make_choices(delivery *d, const request_env *env, const reply *common, size_t p,
                        groups *out, delivery_refusal *why)
{
    const request_prompt *prompt = &d->request.prompts[p];
    const size_t from = p * d->request.n, n = d->request.n;
    size_t together;

    *why = (delivery_refusal){.prompt = prompt->n,
                              .max_tokens = request_max_tokens(&d->request, env, prompt)};
    TRY(size_groups(d, why->prompt, why->max_tokens, &together));
    for (size_t i = 0, k = 0; i < n; i++) {
        TRY(make_choice(d, env, common, from + i));
        out->members[k++] = d->choices[from + i].generation;
        if (k < together && i + 1 < n) continue;
        TRY(generation_group_new(&out->list[out->n], out->members, k));
        out->n++;
        k = 0;
    }
    return ERR_OK;
}

/* All choices have one id and one creation time: they are one answer. */
/* Against the key's limits counts the worst case, as against the pool's; what was computed of
 * it is the minute's in the end. */
static err count_for_key(delivery *d, key *x, delivery_refusal *why)
{
    uint64_t tokens = 0;

    if (!x) return ERR_OK;
    for (size_t i = 0; i < d->n; i++)
        tokens += d->choices[i].generation->in.n_ids + d->choices[i].generation->in.max_tokens;
    why->key = keys_admit(x, tokens, clock_ns());
    if (why->key.limit) return ERR_BUSY;
    d->key = x;
    d->held_tokens = tokens;
    return ERR_OK;
}

static err submit(delivery *d, const request_env *env, groups *l, delivery_refusal *why)
{
    sched *to = d->server->sched;
    reply common = {.model = env->model_name,
                    .created = (uint64_t)time(NULL),
                    .request = &d->request,
                    .arrived_ns = http_arrived_ns(d->http)};

    if (d->request.id[0])
        memcpy(common.id, d->request.id, sizeof common.id);
    else
        random_id(common.id, d->kind->id_prefix);
    for (size_t p = 0; p < d->request.n_prompts; p++)
        TRY(make_choices(d, env, &common, p, l, why));
    TRY(count_for_key(d, env->key, why));
    return l->n <= sched_queue_limit(to) ? sched_submit(to, l->list, l->n) : ERR_TOOMANY;
}

err delivery_start(http_request *r, const completion_kind *kind, const request_env *env,
                   request *q, delivery_refusal *why)
{
    delivery *d = calloc(1, sizeof *d);
    groups l = {0};
    err e = ERR_NOMEM;

    if (!d) return e;
    *d = (delivery){.http = r, .kind = kind, .server = http_server(r), .request = *q};
    d->n = d->left = q->n_prompts * q->n;
    d->choices = calloc(d->n, sizeof *d->choices);
    l.members = calloc(d->n, sizeof(generation *));
    l.list = calloc(d->n, sizeof(generation_group *));
    if (d->choices && l.members && l.list) e = submit(d, env, &l, why);
    free(l.members);
    free(l.list);
    if (e == ERR_OK) {
        delivery_list(d);
        http_hold(r, on_gone, d);
        *q = (request){0};
        return ERR_OK;
    }
    d->request = (request){0};
    delivery_free(d);
    return e;
}
