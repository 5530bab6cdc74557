/* batch.c - who takes part in a step, with how many rows, and how its time is shared out.
 *
 * With D = what a step of decoding alone lately took (decode_seconds), a step that also serves
 * others is to last at most STRETCH * D, so that a stream slows down by about that factor:
 *
 *   |<-- D -->|<------------------ (STRETCH - 1) * D ------------------>|
 *   | decode  | seal     | rebuild     | prefill    | embed   | masks   | degrade |
 *
 * Each takes from what the one before has left: sealing first, because a run whose block is
 * full waits for it; then pages that a context lacks; then prefill, the oldest request first;
 * then pieces of texts that become vectors; then masks of answers that are held to a form,
 * which are nearly always small (what is left bounds a grammar that was made to be slow); and
 * degrading, which nobody waits for, last. None starves: sealing and rebuilding go on by a
 * layer at least, prefill by LEAST_ROWS rows where nothing was sealed, and masks by
 * LEAST_MASK_SECONDS. While nobody decodes there is nobody to slow down, and each takes all it
 * can use.
 *
 * Tenants that have had more than others stand back (precedence.h), and a step is given up for
 * one that comes and goes first: between two layers, and between two pieces of sealing, we ask.
 * What a step that was given up has computed lies behind the tokens that count.
 *
 * How much fits is asked of the past: seconds a layer or a row, averages that follow the
 * machine (a change has half its weight after three steps). Those of layers are measured beside
 * decoding rows only, where the cut matters. Cutting changes no results: rows are computed
 * alike in any company. */
#include "server/sched/batch.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "xcache/degrade.h"
#include "xcache/seal.h"

enum { LEAST_ROWS = 8 };

/* Where somebody may come who goes first: rows of prefill in a step, and layers that are sealed
 * at once, while nobody decodes. About 3 ms to the next layer of the embedded model on two
 * threads; four times as many rows are no faster a row. */
enum { FEW_ROWS = 128, FEW_LAYERS = 4 };

/* Rows of a piece of an embedding, beside others and alone: half of one layer's work each, so a
 * fraction of what a step of decoding takes. And the time for pieces while nobody else
 * computes, after which it is looked at who has come. */
enum { EMBED_ROWS = 32, EMBED_ROWS_ALONE = 256 };
#define EMBED_SECONDS .01

/* Of the time for masks: for all of them, beside others whose step has left none, and while
 * nobody decodes, which is when a request is looked at that may go first. */
#define LEAST_MASK_SECONDS .001
#define ALONE_MASK_SECONDS .01

#define STRETCH 2.5 /* a step with prefill, against one of decoding alone */
#define LATELY  0.2 /* weight of the newest of what is averaged */

err batch_open(batch *b, runtime *r, size_t most)
{
    *b = (batch){.runtime = r, .most = most};
    b->runs = calloc(most, sizeof(run *));
    b->owners = calloc(most, sizeof(run *));
    b->sealing = calloc(most, sizeof(context *));
    b->chunks = calloc(most, sizeof *b->chunks);
    b->news = calloc(most, sizeof(generation *));
    if (b->runs && b->owners && b->sealing && b->chunks && b->news &&
        embed_open(&b->embed, r->encoder) == ERR_OK)
        return ERR_OK;
    batch_close(b);
    return ERR_NOMEM;
}

void batch_close(batch *b)
{
    free(b->runs);
    free(b->owners);
    free(b->sealing);
    free(b->chunks);
    free(b->news);
    embed_close(&b->embed);
    *b = (batch){0};
}

/* One more run: of member i of w. The first reads the prompt, and leads the others. */
static err add_run(batch *b, const generation_group *w, size_t i, bool modest)
{
    run *x = malloc(sizeof *x);
    err e;

    if (!x) return ERR_NOMEM;
    if (w->members[0]->in.n_texts) {
        run_open_texts(x, b->runtime, w->members[0]);
        b->runs[b->n++] = x;
        return ERR_OK;
    }
    e = i ? run_open_copy(x, b->runs[b->n - i], w->members[i])
          : run_open(x, b->runtime, w->members[0], w->n - 1, modest);
    if (e == ERR_OK)
        b->runs[b->n++] = x;
    else
        free(x);
    return e;
}

static void close_run(batch *b, size_t i)
{
    embed_forget(&b->embed, b->runs[i]);
    run_close(b->runs[i]);
    free(b->runs[i]);
    memmove(b->runs + i, b->runs + i + 1, (--b->n - i) * sizeof(run *));
}

bool batch_has(const batch *b, uint64_t tenant)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->runs[i]->generation->in.tenant == tenant) return true;
    return false;
}

err batch_add(batch *b, const generation_group *w)
{
    const uint64_t tenant = w->members[0]->in.tenant;
    const bool modest = tenant != GENERATION_ANYBODY && batch_has(b, tenant);
    const size_t first = b->n;
    err e = ERR_OK;

    if (b->n + w->n + modest > b->most) return ERR_BUSY;
    for (size_t i = 0; i < w->n && e == ERR_OK; i++) e = add_run(b, w, i, modest);
    while (e != ERR_OK && b->n > first) close_run(b, b->n - 1);
    return e;
}

generation *batch_take(batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        generation *g = b->runs[i]->generation;

        if (!run_is_finished(b->runs[i])) continue;
        close_run(b, i);
        return g;
    }
    return NULL;
}

/* --- a step --- */

static void average(double *lately, double seconds)
{
    *lately = *lately > 0 ? *lately + LATELY * (seconds - *lately) : seconds;
}

bool batch_gives_way(const batch *b, uint64_t tenant)
{
    return b->n < b->most &&
           precedence_interrupts(&b->precedence, b->runs, b->n, tenant, clock_seconds());
}

/* Asked between two pieces of a step. */
static bool is_given_up(void *arg)
{
    batch *b = arg;

    if (!b->given_up && b->precedence.tenants && b->is_wanted)
        b->given_up = b->is_wanted(b->user);
    return b->given_up;
}

/* Rows of prefill that a step may take in so many seconds beside rows that decode; when it has
 * done nothing for prefills yet, a few in any case. The buffers have room for a row of each run
 * that decodes besides. */
static size_t prefill_rows(const batch *b, size_t decoding, double left, bool idle)
{
    const size_t room = forward_max_rows(b->runtime->forward) - b->most;
    const size_t most = b->precedence.tenants && FEW_ROWS < room ? FEW_ROWS : room;
    const size_t least = idle ? LEAST_ROWS : 0;
    double rows;

    if (!decoding || b->row_seconds <= 0) return decoding ? LEAST_ROWS : most;
    rows = left / b->row_seconds;
    return rows < (double)least ? least : rows > (double)most ? most : (size_t)rows;
}

/* The chunk of x is number *n of the step. */
static void add_chunk(batch *b, run *x, size_t max_rows, size_t *n)
{
    b->chunks[*n] = run_next_chunk(x, max_rows);
    b->owners[(*n)++] = x;
}

static bool takes_part(const batch *b, const run *x)
{
    return run_is_ready(x) && !precedence_stands_back(&b->precedence, x);
}

/* The rows of those that decode come first; compute relies on it. Canceled runs end here,
 * before they cost another row. */
static size_t schedule_decode(batch *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        run *x = b->runs[i];

        if (atomic_load(&x->generation->cancel))
            run_cancel(x);
        else if (run_is_decoding(x) && takes_part(b, x))
            add_chunk(b, x, 1, &n);
    }
    return n;
}

/* So many layers fit the time, one at least; all when nobody decodes. */
static int count_layers(double left, double layer_seconds, bool alone)
{
    const double fit = layer_seconds > 0 ? left / layer_seconds : 1;

    return alone || fit > INT_MAX ? INT_MAX : fit < 1 ? 1 : (int)fit;
}

/* Rebuild some of the pages x lacks, beside rows that decode as much as fits the time. */
static bool rebuild(batch *b, run *x, bool alone, double left)
{
    const int layers = count_layers(left, b->rebuild_seconds, alone);
    const double start = clock_seconds();

    if (alone) return run_rebuild(x);
    if (run_rebuild_layers(x, layers)) return true;
    average(&b->rebuild_seconds, (clock_seconds() - start) / layers);
    return false;
}

/* Then chunks of prefills, the oldest first and last those who are behind, as long as rows are
 * left. While others decode, the pages of only one context are rebuilt in a step: who came
 * first is complete first. */
static size_t schedule_prefill(batch *b, size_t n, size_t rows, double left)
{
    const bool alone = n == 0;
    size_t taken = 0;

    for (size_t i = 0; i < 2 * b->n && taken < rows; i++) {
        run *x = b->runs[i % b->n];

        if (x->behind != (i >= b->n) || !takes_part(b, x) || run_is_decoding(x)) continue;
        if (!rebuild(b, x, alone, left)) {
            if (alone) continue;
            break;
        }
        add_chunk(b, x, rows - taken, &n);
        taken += b->chunks[n - 1].T;
    }
    return n;
}

/* x may have sampled a token, or will once its mask is made. A prompt that is only to be cached
 * (max_tokens 0) has none. */
static void note_news(batch *b, run *x, double sampled_before)
{
    b->stats.sample_seconds += x->sample_seconds - sampled_before;
    if (!x->generation->in.max_tokens || x->masking) return;
    b->stats.new_tokens++;
    b->news[b->n_news++] = x->generation;
}

static void commit(batch *b, size_t decoding)
{
    for (size_t i = 0; i < b->n_chunks; i++) {
        run *x = b->owners[i];
        const double sampled = x->sample_seconds;

        run_commit(x, &b->chunks[i]);
        if (b->chunks[i].wanted) note_news(b, x, sampled);
        if (i >= decoding) b->stats.prompt_tokens += b->chunks[i].T;
    }
}

/* Copies whose leader's prefill is done part from it. After the step, so that they decode in
 * the next one beside their leader. */
static void fork_copies(batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->runs[i]->leader && run_fork(b->runs[i])) note_news(b, b->runs[i], 0);
}

/* The masks of answers that are held to a form, each for its share of the time that is left. */
static void make_masks(batch *b, bool alone, double left)
{
    size_t masking = 0;

    for (size_t i = 0; i < b->n; i++) masking += b->runs[i]->masking;
    if (!masking) return;
    left = fmax(alone ? ALONE_MASK_SECONDS : left, LEAST_MASK_SECONDS) / (double)masking;
    for (size_t i = 0; i < b->n; i++) {
        run *x = b->runs[i];
        const double sampled = x->sample_seconds;
        const uint64_t now = clock_ns();

        if (!x->masking) continue;
        run_make_mask(x, now + (uint64_t)(left * 1e9));
        share_charge(&b->precedence.share, x->generation->in.tenant,
                     clock_seconds_between(now, clock_ns()), clock_seconds());
        note_news(b, x, sampled);
    }
}

/* What a step of so many rows of prefill took says how to size the next ones. A step that was
 * faster than decoding alone lately (noise) says nothing of its rows. */
static void learn(batch *b, size_t decoding, size_t rows, double seconds)
{
    if (!rows)
        average(&b->decode_seconds, seconds);
    else if (!decoding)
        average(&b->row_seconds, seconds / (double)rows);
    else if (seconds > b->decode_seconds)
        average(&b->row_seconds, (seconds - b->decode_seconds) / (double)rows);
}

static void count_size(batch *b, size_t rows)
{
    size_t i = 0;

    while (i < BATCH_SIZES && rows > (size_t)1 << i) i++;
    b->stats.sizes[i]++;
    b->stats.rows += rows;
}

/* The contexts that are sealing, the oldest first, as many as there are workers; all if nobody
 * waits for them. */
static size_t list_sealing(batch *b, bool all)
{
    const size_t most = all ? b->n : (size_t)b->runtime->team->slots;
    size_t n = 0;

    for (size_t i = 0; i < b->n && n < most; i++)
        if (run_is_sealing(b->runs[i]) && !precedence_stands_back(&b->precedence, b->runs[i]))
            b->sealing[n++] = b->runs[i]->context;
    return n;
}

/* What some of those who run have had. */
static void charge_sealing(batch *b, size_t n, double seconds)
{
    const double now = clock_seconds();

    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < n; k++)
            if (b->runs[i]->context == b->sealing[k])
                share_charge(&b->precedence.share, b->runs[i]->generation->in.tenant,
                             seconds / (double)n, now);
}

/* A row that decodes costs more than one of prefill, but so little of what a prompt costs that
 * rows are counted alike. */
static void charge_rows(batch *b, double seconds)
{
    const double now = clock_seconds();
    size_t rows = 0;

    for (size_t i = 0; i < b->n_chunks; i++) rows += b->chunks[i].T;
    for (size_t i = 0; i < b->n_chunks; i++)
        share_charge(&b->precedence.share, b->owners[i]->generation->in.tenant,
                     seconds * (double)b->chunks[i].T / (double)rows, now);
}

/* Beside rows that decode as many layers as fit the time, at least one. */
static void seal_some(batch *b, size_t n, double left)
{
    const double start = clock_seconds();
    const int layers = seal_layers(b->runtime->cache, b->sealing, n,
                                   count_layers(left, b->layer_seconds, false));
    const double seconds = clock_seconds() - start;

    average(&b->layer_seconds, seconds / layers);
    charge_sealing(b, n, seconds);
}

/* While nobody decodes, all; in pieces, where somebody may come who goes first. */
static void seal_all(batch *b)
{
    const int layers = b->precedence.tenants ? FEW_LAYERS : INT_MAX;

    for (size_t n; !is_given_up(b) && (n = list_sealing(b, true));) {
        const double start = clock_seconds();

        seal_layers(b->runtime->cache, b->sealing, n, layers);
        charge_sealing(b, n, clock_seconds() - start);
    }
}

/* True: there was something to seal. */
static bool seal(batch *b, size_t decoding, double left)
{
    const size_t n = list_sealing(b, !decoding);

    if (n && decoding)
        seal_some(b, n, left);
    else if (n)
        seal_all(b);
    return n > 0;
}

/* Make room ahead of need, as much as fits the time beside rows that decode. */
static void degrade(batch *b, size_t decoding, double left)
{
    const double start = clock_seconds();
    const int done = degrade_step(b->runtime->cache,
                                  count_layers(left, b->degrade_seconds, !decoding));

    if (done && decoding) average(&b->degrade_seconds, (clock_seconds() - start) / done);
}

/* Compute the chunks: those that decode first, then those of prefills. */
static void compute(batch *b, size_t decoding, double start)
{
    size_t rows = 0;

    for (size_t i = decoding; i < b->n_chunks; i++) rows += b->chunks[i].T;
    if (!forward_step_unless(b->runtime->forward, b->chunks, b->n_chunks, is_given_up, b)) {
        for (size_t i = 0; i < b->n_chunks; i++) run_take_back(b->owners[i]);
        return;
    }
    count_size(b, decoding + rows);
    learn(b, decoding, rows, clock_seconds() - start);
    charge_rows(b, clock_seconds() - start);
    commit(b, decoding);
}

/* Pieces while there is time for one more like the last; one at least. Beside prefills alone
 * texts have as much time as those have taken. */
static void embed_some(batch *b, size_t decoding, double left, double begun)
{
    const bool alone = !decoding && !b->n_chunks;
    const double start = clock_seconds(),
                 time = alone      ? EMBED_SECONDS
                        : decoding ? left - (start - begun - b->decode_seconds)
                                   : start - begun;
    double last = 0;

    while (!is_given_up(b) && embed_begin(&b->embed, b->runs, b->n, b->precedence.everybody)) {
        if (last > 0 && clock_seconds() - start + last > time) break;
        last = embed_step(&b->embed, alone ? EMBED_ROWS_ALONE : EMBED_ROWS,
                          &b->precedence.share);
    }
    b->stats.embedded_texts = b->embed.texts;
    b->stats.embedded_tokens = b->embed.tokens;
}

/* After those that decode: sealing, pages, prefill, and all rows. */
static void share_step(batch *b, size_t decoding, double left, double begun)
{
    const bool sealed = seal(b, decoding, left);
    const double start = clock_seconds(), rest = left - (start - begun);

    if (b->given_up) return; /* nobody decodes, then: no context has been told of a token */
    b->n_chunks = schedule_prefill(b, decoding, prefill_rows(b, decoding, rest, !sealed), rest);
    if (b->n_chunks) compute(b, decoding, start);
}

void batch_step(batch *b)
{
    const double begun = clock_seconds(), left = (STRETCH - 1) * b->decode_seconds;
    size_t decoding;

    b->n_news = b->n_chunks = 0;
    b->given_up = false;
    precedence_begin(&b->precedence, b->runs, b->n, begun);
    decoding = schedule_decode(b);
    share_step(b, decoding, left, begun);
    if (!b->given_up) embed_some(b, decoding, left, begun);
    precedence_end(&b->precedence, clock_seconds() - begun, b->given_up);
    if (b->given_up) return;
    fork_copies(b);
    make_masks(b, !decoding, left - (clock_seconds() - begun - b->decode_seconds));
    degrade(b, decoding, left - (clock_seconds() - begun - b->decode_seconds));
}
