/* evaluate.c - reads a text in every mode at once and compares what comes out. */
#include "server/cmd/evaluate.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/workspace.h"

enum {
    ROWS = 128,   /* tokens of a step, or a block if that is shorter */
    TOGETHER = 8, /* greedy answers in one step: a product of 8 rows costs little over one */
};

static const evaluate_mode reference = {"kv32", NULL};

/* What one position adds to a mode's figures. */
typedef struct score {
    double kl, nll;
    bool same; /* best token */
} score;

/* One mode: its cache, its context of the row being read, and its sums so far. */
typedef struct subject {
    evaluate_mode mode;
    cache *cache;
    context *context;
    double kl, nll;
    size_t same;
} subject;

typedef struct evaluation {
    const runtime *runtime;
    const evaluate_in *in;
    subject *subjects; /* [n], the reference first */
    size_t n;
    size_t step;          /* tokens */
    float *exact, *coded; /* [ROWS,V] logits of a step */
    double work, done;    /* in tokens read */
} evaluation;

/* A pool that holds `tokens` in any mode: it is filled lazily, so a generous bound costs
 * nothing. No codec stores more than exact K and V and 16 bits for each layer input. The
 * workspace holds what runs, and no more. */
static err open_cache(const evaluation *x, const evaluate_mode *mode, size_t contexts,
                      size_t tokens, cache **out)
{
    const runtime *r = x->runtime;
    const model *m = r->weights;
    const size_t token_bytes = m->L * (2 * m->E * sizeof(float) + 2 * m->D) + 8;
    const size_t B = r->block_tokens, page = workspace_page_bytes(m, B, x->in->page_format);
    const cache_options o = {
        .mode = mode->name,
        .plan = mode->plan,
        .tuning = x->in->tuning,
        .budget_bytes = contexts * (tokens + B) * token_bytes,
        .workspace_bytes = x->in->streaming ? 0 : contexts * (tokens / B + 1) * page,
        .page_format = x->in->page_format,
        .max_running = (int)contexts,
        .team = r->team,
        .ctx_tokens = tokens,
        .block_tokens = B};

    return cache_open(out, m, &r->kern, &o);
}

static void advance(evaluation *x, size_t tokens)
{
    x->done += (double)tokens;
    if (x->in->progress) x->in->progress(x->in->arg, x->done / x->work);
}

/* --- comparison --- */

/* sum over i of exp(x[i] - top); each term rounded to float, the sum not. */
static double sum_exp(const float *x, size_t V, float top)
{
    double sum = 0;

    for (size_t i = 0; i < V; i++) sum += (double)expf(x[i] - top);
    return sum;
}

/* The best id; the lower of equals. */
static size_t best(const float *x, size_t V)
{
    size_t at = 0;

    for (size_t i = 1; i < V; i++)
        if (x[i] > x[at]) at = i;
    return at;
}

/* sum over i of exp(a[i] - top) (a[i] - b[i]). */
static double sum_weighted(const float *a, const float *b, size_t V, float top)
{
    double sum = 0;

    for (size_t i = 0; i < V; i++)
        sum += (double)expf(a[i] - top) * ((double)a[i] - (double)b[i]);
    return sum;
}

/* KL(a || b) = sum p (a - b) - log Z(a) + log Z(b), p = softmax a: of equal rows exactly 0. */
static score compare(const float *a, const float *b, size_t V, int32_t next)
{
    const size_t best_a = best(a, V), best_b = best(b, V);
    const float top_a = a[best_a], top_b = b[best_b];
    const double sum_a = sum_exp(a, V, top_a);
    const double log_a = (double)top_a + log(sum_a);
    const double log_b = (double)top_b + log(sum_exp(b, V, top_b));

    return (score){.kl = sum_weighted(a, b, V, top_a) / sum_a - log_a + log_b,
                   .nll = log_b - (double)b[next],
                   .same = best_a == best_b};
}

typedef struct compare_job {
    const float *exact, *coded; /* [n,V] */
    const int32_t *next;        /* [n] */
    size_t V;
    score scores[ROWS];
} compare_job;

static void compare_row(void *arg, int i, int slot)
{
    compare_job *job = arg;
    const size_t at = (size_t)i * job->V;

    (void)slot;
    job->scores[i] = compare(job->exact + at, job->coded + at, job->V, job->next[i]);
}

/* Add n positions to a subject; `next` are the tokens that follow them. Summed in their
 * order, so that threads do not show. */
static void add_scores(const evaluation *x, subject *s, const float *coded, const int32_t *next,
                       size_t n)
{
    team *t = x->runtime->team;
    compare_job job = {
        .exact = x->exact, .coded = coded, .next = next, .V = x->runtime->weights->V};

    t->run(t, compare_row, &job, (int)n);
    for (size_t i = 0; i < n; i++) {
        s->kl += job.scores[i].kl;
        s->nll += job.scores[i].nll;
        s->same += job.scores[i].same;
    }
}

/* --- rows of text --- */

/* T tokens inside one block go through the network; logits of the last `wanted`. */
static void compute(const runtime *r, context *c, const int32_t *ids, size_t T, size_t wanted,
                    float *logits)
{
    const forward_chunk p = {.context = c,
                             .ids = ids,
                             .T = T,
                             .pos = cache_context_tokens(c),
                             .wanted = wanted,
                             .logits = wanted ? logits : NULL};

    cache_push(c, ids, T);
    forward_step(r->forward, &p, 1);
    cache_commit(c);
}

/* A step of the row in every mode. The last token of a row is computed but not compared. */
static void read_step(evaluation *x, const int32_t *ids, size_t T, bool last)
{
    for (size_t i = 0; i < x->n; i++) {
        subject *s = &x->subjects[i];
        float *logits = i ? x->coded : x->exact;

        compute(x->runtime, s->context, ids, T, T, logits);
        add_scores(x, s, logits, ids + 1, T - last);
        advance(x, T);
    }
}

static void end_row(evaluation *x)
{
    for (size_t i = 0; i < x->n; i++)
        if (x->subjects[i].context) cache_end(x->subjects[i].context);
    for (size_t i = 0; i < x->n; i++) x->subjects[i].context = NULL;
}

static err begin_row(evaluation *x)
{
    for (size_t i = 0; i < x->n; i++) {
        const cache_request wanted = {.tokens = x->in->ctx};
        const err e = cache_begin(x->subjects[i].cache, &wanted, &x->subjects[i].context);

        if (e == ERR_OK) continue;
        end_row(x);
        return e;
    }
    return ERR_OK;
}

static err read_row(evaluation *x, const int32_t *ids)
{
    const size_t ctx = x->in->ctx;

    TRY(begin_row(x));
    for (size_t at = 0; at < ctx; at += x->step) {
        const size_t T = ctx - at < x->step ? ctx - at : x->step;

        read_step(x, ids + at, T, at + T == ctx);
    }
    end_row(x);
    return ERR_OK;
}

static void fill_result(const evaluation *x, const subject *s, evaluate_result *out)
{
    const double n = (double)(x->in->rows * (x->in->ctx - 1));
    const double L = (double)x->runtime->weights->L;
    cache_stats stats;
    double used, tokens, rebuilt;

    cache_read_stats(s->cache, &stats);
    used = (double)(stats.codes_bytes + stats.scales_bytes + stats.index_bytes);
    tokens = (double)(stats.active_tokens + stats.idle_tokens);
    rebuilt = (double)stats.remat_tokens / L;
    *out = (evaluate_result){.ppl = exp(s->nll / n),
                             .kl = s->kl / n,
                             .top1 = (double)s->same / n,
                             .bits_per_element = stats.bits_per_element,
                             .bytes_per_token = used / tokens,
                             .ratio = (double)stats.fp16_bytes / used,
                             .rebuild_us = rebuilt > 0 ? stats.rebuild_seconds * 1e6 / rebuilt
                                                       : 0};
    snprintf(out->mode, sizeof out->mode, "%s", stats.mode);
}

/* --- greedy answers --- */

/* The contexts that answer together, and where their tokens go. */
typedef struct answers {
    context *context[TOGETHER];
    int32_t *ids[TOGETHER]; /* [EVALUATE_ANSWER_TOKENS] each */
    size_t n;
} answers;

static void read_prompts(evaluation *x, answers *a, size_t first)
{
    const size_t step = (x->in->n_ids - EVALUATE_PROMPT_TOKENS) / x->in->prompts;
    const size_t V = x->runtime->weights->V;

    for (size_t i = 0; i < a->n; i++) {
        const int32_t *prompt = x->in->ids + (first + i) * step;

        for (size_t at = 0; at < EVALUATE_PROMPT_TOKENS; at += x->step)
            compute(x->runtime, a->context[i], prompt + at, x->step,
                    at + x->step == EVALUATE_PROMPT_TOKENS, x->coded + i * V);
        advance(x, EVALUATE_PROMPT_TOKENS);
    }
}

/* Choose token number `at` of every answer, and compute it unless it is the last. */
static void answer_step(evaluation *x, answers *a, size_t at)
{
    const size_t V = x->runtime->weights->V;
    forward_chunk pieces[TOGETHER];

    for (size_t i = 0; i < a->n; i++) {
        float *logits = x->coded + i * V;

        a->ids[i][at] = (int32_t)best(logits, V);
        pieces[i] = (forward_chunk){.context = a->context[i],
                                    .ids = &a->ids[i][at],
                                    .T = 1,
                                    .pos = cache_context_tokens(a->context[i]),
                                    .wanted = 1,
                                    .logits = logits};
    }
    advance(x, a->n);
    if (at + 1 == EVALUATE_ANSWER_TOKENS) return;
    for (size_t i = 0; i < a->n; i++) cache_push(a->context[i], pieces[i].ids, 1);
    forward_step(x->runtime->forward, pieces, a->n);
    for (size_t i = 0; i < a->n; i++) cache_commit(a->context[i]);
}

/* Prompts first .. first+TOGETHER-1, if there are so many; ids [prompts,answer tokens]. */
static err answer_some(evaluation *x, cache *c, size_t first, int32_t *ids)
{
    const cache_request wanted = {.tokens = EVALUATE_GREEDY_CTX - 1};
    answers a = {0};
    err e = ERR_OK;

    while (a.n < TOGETHER && first + a.n < x->in->prompts) {
        e = cache_begin(c, &wanted, &a.context[a.n]);
        if (e != ERR_OK) break;
        a.ids[a.n] = ids + (first + a.n) * EVALUATE_ANSWER_TOKENS;
        a.n++;
    }
    if (e == ERR_OK) {
        read_prompts(x, &a, first);
        for (size_t at = 0; at < EVALUATE_ANSWER_TOKENS; at++) answer_step(x, &a, at);
    }
    for (size_t i = 0; i < a.n; i++) cache_end(a.context[i]);
    return e;
}

static err answer_all(evaluation *x, const evaluate_mode *mode, int32_t *ids)
{
    cache *c = NULL;
    err e = ERR_OK;

    TRY(open_cache(x, mode, TOGETHER, EVALUATE_GREEDY_CTX, &c));
    for (size_t i = 0; i < x->in->prompts && e == ERR_OK; i += TOGETHER)
        e = answer_some(x, c, i, ids);
    cache_close(c);
    return e;
}

/* a, b [prompts,answer tokens] */
static void compare_answers(const int32_t *a, const int32_t *b, size_t prompts,
                            evaluate_result *out)
{
    const size_t n = EVALUATE_ANSWER_TOKENS;
    size_t equal = 0, first = 0;

    for (size_t i = 0; i < prompts; i++, a += n, b += n) {
        size_t until = 0;

        while (until < n && a[until] == b[until]) until++;
        first += until;
        for (size_t t = 0; t < n; t++) equal += a[t] == b[t];
    }
    out->greedy_equal = (double)equal / (double)(prompts * n);
    out->greedy_first = (double)first / (double)prompts;
}

static err answer_in_every_mode(evaluation *x, evaluate_result *results)
{
    const size_t n = x->in->prompts * EVALUATE_ANSWER_TOKENS;
    int32_t *ids = malloc(2 * n * sizeof *ids);
    err e = ERR_OK;

    if (!ids) return ERR_NOMEM;
    for (size_t i = 0; i < x->n && e == ERR_OK; i++) {
        e = answer_all(x, &x->subjects[i].mode, i ? ids + n : ids);
        if (e == ERR_OK) compare_answers(ids, i ? ids + n : ids, x->in->prompts, &results[i]);
    }
    free(ids);
    return e;
}

/* --- all of it --- */

static err open_subjects(evaluation *x, const char **at)
{
    x->n = 1 + x->in->n_modes;
    x->subjects = calloc(x->n, sizeof *x->subjects);
    if (!x->subjects) return ERR_NOMEM;
    for (size_t i = 0; i < x->n; i++) {
        subject *s = &x->subjects[i];

        s->mode = i ? x->in->modes[i - 1] : reference;
        *at = s->mode.name;
        TRY(open_cache(x, &s->mode, 1, x->in->ctx, &s->cache));
    }
    *at = NULL;
    return ERR_OK;
}

static err open_buffers(evaluation *x)
{
    const size_t n = ROWS * x->runtime->weights->V;
    const double rows = (double)(x->in->rows * x->in->ctx);
    const double greedy = (double)(x->in->prompts * EVALUATE_GREEDY_CTX);

    x->work = (double)x->n * (rows + greedy);
    x->exact = malloc(2 * n * sizeof *x->exact);
    x->coded = x->exact ? x->exact + n : NULL;
    return x->exact ? ERR_OK : ERR_NOMEM;
}

static void close_all(evaluation *x)
{
    for (size_t i = 0; x->subjects && i < x->n; i++) cache_close(x->subjects[i].cache);
    free(x->subjects);
    free(x->exact);
}

static err evaluate(evaluation *x, evaluate_result *results, const char **at)
{
    TRY(open_subjects(x, at));
    TRY(open_buffers(x));
    for (size_t i = 0; i < x->in->rows; i++) TRY(read_row(x, x->in->ids + i * x->in->ctx));
    for (size_t i = 0; i < x->n; i++) fill_result(x, &x->subjects[i], &results[i]);
    return x->in->prompts ? answer_in_every_mode(x, results) : ERR_OK;
}

err evaluate_modes(const runtime *r, const evaluate_in *in, evaluate_result *results,
                   const char **at)
{
    evaluation x = {.runtime = r, .in = in};
    err e;

    assert(in->ctx >= 2 && in->rows * in->ctx <= in->n_ids);
    assert(!in->prompts || in->n_ids >= EVALUATE_PROMPT_TOKENS + in->prompts);
    *at = NULL;
    x.step = r->block_tokens < ROWS ? r->block_tokens : ROWS;
    e = evaluate(&x, results, at);
    close_all(&x);
    return e;
}
