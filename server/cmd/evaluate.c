/* evaluate.c - reads a text in every mode at once and compares what comes out.
 *
 *   rows      the text teacher forced, all modes side by side (xcache/calibrate/comparison):
 *             perplexity, KL, top-1; then the caches' own figures, while they hold the last row
 *   answers   greedy, a mode at a time: kv32's are kept, each mode's set beside them
 *
 * Rows say how far a distribution is off where every mode has read the same; answers, how soon
 * a conversation goes another way, which a small KL at the wrong token decides. Both share the
 * bar by the tokens they read. Caches of the rows are closed before the first answer, so what
 * is resident at once is one of the two. */
#include "server/cmd/evaluate.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/model_load.h"
#include "engine/model/sample.h"
#include "xcache/calibrate/comparison.h"

enum {
    TOGETHER = 8, /* greedy answers in one step: a product of 8 rows costs little over one */
};

static const reader_mode reference = {"kv32", NULL};

typedef struct evaluation {
    const runtime *runtime;
    const evaluate_in *in;
    reader_model parts;
    reader_room room; /* of rows and of answers, but for their lengths */
    stage rows, answers;
    double read;   /* share of the answers that is done */
    float *logits; /* [TOGETHER,V] of the answers */
} evaluation;

/* --- rows of text --- */

static void fill_depths(const comparison *c, size_t i, evaluate_result *out)
{
    size_t from = 0, to = EVALUATE_NEAREST, n;

    for (; out->n_at < EVALUATE_DEPTHS; from = to, to *= 2) {
        const double kl = comparison_mean_between(c, i, from, to, &n);

        if (!n) return;
        out->kl_at[out->n_at++] = kl;
    }
}

/* Bytes a token and the ratio are by what the pool really holds: whole blocks, with their
 * scales, ids and rounding. The open block of the row is in none of them. */
static void fill_result(const evaluation *x, comparison *c, size_t i, evaluate_result *out)
{
    const divergence mean = comparison_mean(c, i);
    const divergence_tail tail = comparison_tail(c, i);
    const double L = (double)x->runtime->weights->L;
    cache_stats stats;
    double used, tokens, rebuilt;

    comparison_read_stats(c, i, &stats);
    used = (double)(stats.codes_bytes + stats.scales_bytes + stats.index_bytes);
    tokens = (double)(stats.active_tokens + stats.idle_tokens);
    rebuilt = (double)stats.remat_tokens / L;
    *out = (evaluate_result){.ppl = exp(mean.nll),
                             .kl = mean.kl,
                             .kl_p99 = tail.p99,
                             .kl_max = tail.max,
                             .top1 = mean.top1,
                             .bits_per_element = stats.bits_per_element,
                             .bytes_per_token = used / tokens,
                             .ratio = (double)stats.fp16_bytes / used,
                             .rebuild_us = rebuilt > 0 ? stats.rebuild_seconds * 1e6 / rebuilt
                                                       : 0};
    snprintf(out->mode, sizeof out->mode, "%s", stats.mode);
    fill_depths(c, i, out);
}

static err compare_rows(evaluation *x, evaluate_result *results, const char **at)
{
    const evaluate_in *in = x->in;
    comparison *c = NULL;
    err e;

    x->room.tokens = in->text.row_tokens;
    TRY(comparison_open(&c, &x->parts, in->modes, in->n_modes, &x->room, at));
    e = comparison_read(c, &in->text, &x->rows);
    for (size_t i = 0; e == ERR_OK && i <= in->n_modes; i++) fill_result(x, c, i, &results[i]);
    comparison_close(c);
    return e;
}

/* --- greedy answers --- */

/* The contexts that answer together; chunk i continues context i. */
typedef struct answers {
    forward_chunk chunks[TOGETHER];
    int32_t *ids[TOGETHER]; /* [EVALUATE_ANSWER_TOKENS] each */
    size_t n;
} answers;

/* Counted over all modes, for the bar of the whole part. */
static void advance(evaluation *x, size_t tokens)
{
    const size_t modes = 1 + x->in->n_modes;

    x->read += (double)tokens / (double)(modes * x->in->n_prompts * EVALUATE_GREEDY_CTX);
    stage_tell(&x->answers, x->read);
}

/* A prompt at a time: a step of one context's block fills the machine. */
static void read_prompts(evaluation *x, answers *a, size_t first)
{
    for (size_t i = 0; i < a->n; i++) {
        a->chunks[i].ids = x->in->prompts + (first + i) * EVALUATE_PROMPT_TOKENS;
        a->chunks[i].logits = x->logits + i * x->runtime->weights->V;
        reader_run(x->runtime->forward, &a->chunks[i], 1, EVALUATE_PROMPT_TOKENS,
                   x->runtime->block_tokens);
        advance(x, EVALUATE_PROMPT_TOKENS);
    }
}

/* Choose token number `at` of every answer, and compute it unless it is the last. */
static void answer_step(evaluation *x, answers *a, size_t at)
{
    for (size_t i = 0; i < a->n; i++) {
        a->ids[i][at] = sample_best_id(a->chunks[i].logits, x->runtime->weights->V);
        a->chunks[i].ids = &a->ids[i][at];
    }
    advance(x, a->n);
    if (at + 1 < EVALUATE_ANSWER_TOKENS) reader_run(x->runtime->forward, a->chunks, a->n, 1, 1);
}

/* Prompts first .. first+TOGETHER-1, if there are so many; ids [prompts,answer tokens]. */
static err answer_some(evaluation *x, cache *c, size_t first, int32_t *ids)
{
    const cache_request wanted = {.tokens = EVALUATE_GREEDY_CTX - 1};
    answers a = {0};
    err e = ERR_OK;

    while (a.n < TOGETHER && first + a.n < x->in->n_prompts) {
        e = cache_begin(c, &wanted, &a.chunks[a.n].context);
        if (e != ERR_OK) break;
        a.ids[a.n] = ids + (first + a.n) * EVALUATE_ANSWER_TOKENS;
        a.n++;
    }
    if (e == ERR_OK) {
        read_prompts(x, &a, first);
        for (size_t at = 0; at < EVALUATE_ANSWER_TOKENS; at++) answer_step(x, &a, at);
    }
    for (size_t i = 0; i < a.n; i++) cache_end(a.chunks[i].context);
    return e;
}

static err answer_all(evaluation *x, const reader_mode *mode, int32_t *ids)
{
    reader_room room = x->room;
    cache *c = NULL;
    err e = ERR_OK;

    room.contexts = TOGETHER;
    room.tokens = EVALUATE_GREEDY_CTX;
    TRY(reader_open_cache(&x->parts, mode, &room, &c));
    for (size_t i = 0; i < x->in->n_prompts && e == ERR_OK; i += TOGETHER)
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
    const evaluate_in *in = x->in;
    const size_t n = in->n_prompts * EVALUATE_ANSWER_TOKENS;
    int32_t *ids = malloc(2 * n * sizeof *ids); /* of kv32, and of the mode beside it */
    err e = ERR_OK;

    x->logits = malloc(TOGETHER * x->runtime->weights->V * sizeof *x->logits);
    if (!ids || !x->logits) e = ERR_NOMEM;
    for (size_t i = 0; i <= in->n_modes && e == ERR_OK; i++) {
        e = answer_all(x, i ? &in->modes[i - 1] : &reference, i ? ids + n : ids);
        if (e == ERR_OK) compare_answers(ids, i ? ids + n : ids, in->n_prompts, &results[i]);
    }
    free(x->logits);
    free(ids);
    return e;
}

/* --- all of it --- */

err evaluate_modes(const runtime *r, const evaluate_in *in, evaluate_result *results,
                   const char **at)
{
    const double rows = (double)(in->text.rows * in->text.row_tokens);
    const double share = rows / (rows + (double)(in->n_prompts * EVALUATE_GREEDY_CTX));
    const stage all = {in->progress, in->arg, 0, 1};
    evaluation x = {.runtime = r,
                    .in = in,
                    .parts = {r->weights, &r->kern, r->team, r->block_tokens},
                    .room = {.page_format = in->page_format,
                             .streaming = in->streaming,
                             .tuning = in->tuning},
                    .rows = stage_part(&all, 0, share),
                    .answers = stage_part(&all, share, 1 - share)};

    assert(in->text.rows && in->text.row_tokens >= 2);
    *at = NULL;
    TRY(compare_rows(&x, results, at));
    return in->n_prompts ? answer_in_every_mode(&x, results) : ERR_OK;
}

/* --- the floor --- */

static err measure_floor(const runtime *r, const evaluate_in *in, double *kl)
{
    static const reader_mode kv16 = {"kv16", NULL};
    const evaluate_in one = {.text = {in->text.ids, 1, in->text.row_tokens},
                             .modes = &kv16,
                             .n_modes = 1,
                             .progress = in->progress,
                             .arg = in->arg};
    evaluate_result out[2];
    const char *at;

    TRY(evaluate_modes(r, &one, out, &at));
    *kl = out[1].kl;
    return ERR_OK;
}

/* Another model of the same file, for as long as it takes. The mapping's pages come back and
 * go again. */
err evaluate_floor(const runtime *r, const evaluate_in *in, double *kl)
{
    const model_options packed = {.ctx = r->weights->ctx};
    runtime served = *r;
    model *m = NULL;
    err e;

    if (!r->exact_products) return measure_floor(r, in, kl);
    TRY(model_open_with(&m, r->file, &packed, NULL));
    gguf_drop_pages(r->file);
    served.weights = m;
    e = measure_floor(&served, in, kl);
    model_close(m);
    return e;
}
