/* comparison.c - steps every mode through the same tokens, and compares what comes out.
 *
 *   step:  kv32 -> exact [T,V];  then for each mode -> coded [T,V] -> T divergences -> its sum
 *
 * Two buffers of logits serve any number of modes, for a mode is compared before the next one
 * steps. Rows of a step are compared by all threads, and added up in their order by one: a sum
 * of doubles depends on the order. */
#include "xcache/calibrate/comparison.h"

#include <stdlib.h>

enum {
    ROWS = 128,  /* tokens of a step, or a block if that is shorter: it bounds the logits */
    DEPTHS = 48, /* positions 0..511, 512..1023, 1024..2047, ...: more than a size_t has */
    NEAREST = 9, /* log2 of where the first of them ends */
};

static const reader_mode exact_mode = {"kv32", NULL};

/* One mode: its cache, its context of the row being read, and its sum so far. */
typedef struct lane {
    cache *cache;
    context *context;
    divergence sum;
    double kl_at[DEPTHS]; /* its kl by depth: the tail is sorted, and has lost that */
    float *kl;            /* [positions] compared, and room for the rows being read */
} lane;

struct comparison {
    reader_model r;
    forward *forward;
    lane *lanes; /* [n], kv32 first */
    size_t n;
    size_t step;          /* tokens */
    float *exact, *coded; /* [step,V] */
    size_t positions;     /* compared */
    size_t at[DEPTHS];    /* of these, by depth */
};

/* --- one step --- */

typedef struct compare_job {
    const float *exact, *coded; /* [T,V] */
    const int32_t *next;        /* [T] */
    size_t V;
    divergence found[ROWS];
} compare_job;

static void compare_row(void *arg, int i, int slot)
{
    compare_job *job = arg;
    const size_t at = (size_t)i * job->V;

    (void)slot;
    job->found[i] = divergence_of(job->exact + at, job->coded + at, job->V, job->next[i]);
}

/* Which of DEPTHS a position of a row, or a border of theirs, belongs to. */
static size_t depth_of(size_t position)
{
    size_t d = 0;

    for (position >>= NEAREST; position; position >>= 1) d++;
    return d;
}

/* n positions of a lane, the first of which is `at` in its row; `next` are the tokens that
 * follow them. A step lies within one depth, whose borders are multiples of any step. */
static void compare_step(const comparison *c, lane *l, size_t at, const int32_t *next, size_t n)
{
    const float *coded = l == c->lanes ? c->exact : c->coded;
    compare_job job = {.exact = c->exact, .coded = coded, .next = next, .V = c->r.m->V};

    c->r.team->run(c->r.team, compare_row, &job, (int)n);
    for (size_t i = 0; i < n; i++) {
        l->sum = divergence_sum(l->sum, job.found[i]);
        l->kl_at[depth_of(at)] += job.found[i].kl;
        l->kl[c->positions + i] = (float)job.found[i].kl;
    }
}

/* The last token of a row is computed but not compared. */
static void read_step(comparison *c, const int32_t *ids, size_t at, size_t T, bool last)
{
    for (size_t i = 0; i < c->n; i++) {
        lane *l = &c->lanes[i];
        /* Lane 0 is the exact one, and goes first: the others are compared with what it has
         * just left. */
        float *logits = i ? c->coded : c->exact;
        forward_chunk p = {
            .context = l->context, .ids = ids + at, .T = T, .wanted = T, .logits = logits};

        reader_step(c->forward, &p, 1);
        compare_step(c, l, at, ids + at + 1, T - last);
    }
    c->positions += T - last;
    c->at[depth_of(at)] += T - last;
}

/* --- rows --- */

static void end_row(comparison *c)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->lanes[i].context) cache_end(c->lanes[i].context);
        c->lanes[i].context = NULL;
    }
}

static err begin_row(comparison *c, size_t tokens)
{
    for (size_t i = 0; i < c->n; i++) {
        /* no ids: what was found in the cache would not be computed, and not compared */
        const cache_request wanted = {.tokens = tokens};
        const err e = cache_begin(c->lanes[i].cache, &wanted, &c->lanes[i].context);

        if (e == ERR_OK) continue;
        end_row(c);
        return e;
    }
    return ERR_OK;
}

static err read_row(comparison *c, const int32_t *ids, size_t tokens, const stage *p)
{
    TRY(begin_row(c, tokens));
    for (size_t at = 0, T; at < tokens; at += T) {
        T = tokens - at < c->step ? tokens - at : c->step;
        read_step(c, ids, at, T, at + T == tokens);
        stage_tell(p, (double)(at + T) / (double)tokens);
    }
    end_row(c);
    return ERR_OK;
}

/* All of it before the first row, so that a text too long for memory fails at once. */
static err reserve_positions(comparison *c, const reader_text *text)
{
    const size_t n = c->positions + text->rows * (text->row_tokens - 1);

    for (size_t i = 0; i < c->n; i++) {
        float *kl = reallocarray(c->lanes[i].kl, n, sizeof *kl);

        if (!kl) return ERR_NOMEM;
        c->lanes[i].kl = kl;
    }
    return ERR_OK;
}

err comparison_read(comparison *c, const reader_text *text, const stage *p)
{
    const double rows = (double)text->rows;

    TRY(reserve_positions(c, text));

    for (size_t i = 0; i < text->rows; i++) {
        const stage part = stage_part(p, (double)i / rows, 1 / rows);

        TRY(read_row(c, text->ids + i * text->row_tokens, text->row_tokens, &part));
    }
    return ERR_OK;
}

divergence comparison_mean(const comparison *c, size_t i)
{
    return divergence_mean(c->lanes[i].sum, c->positions);
}

double comparison_mean_between(const comparison *c, size_t i, size_t from, size_t to,
                               size_t *positions)
{
    double sum = 0;

    *positions = 0;
    for (size_t d = depth_of(from); d < depth_of(to); d++) {
        sum += c->lanes[i].kl_at[d];
        *positions += c->at[d];
    }
    return *positions ? sum / (double)*positions : 0;
}

divergence_tail comparison_tail(comparison *c, size_t i)
{
    return divergence_tail_of(c->lanes[i].kl, c->positions);
}

void comparison_read_stats(const comparison *c, size_t i, cache_stats *out)
{
    cache_read_stats(c->lanes[i].cache, out);
}

/* --- opening --- */

static err open_lanes(comparison *c, const reader_mode *modes, const reader_room *room,
                      const char **at)
{
    reader_room one = *room;

    /* rows follow one another; the cache of each mode is as large as one of them */
    one.contexts = 1;
    c->lanes = calloc(c->n, sizeof *c->lanes);
    if (!c->lanes) return ERR_NOMEM;
    for (size_t i = 0; i < c->n; i++) {
        const reader_mode *mode = i ? &modes[i - 1] : &exact_mode;

        *at = mode->name;
        TRY(reader_open_cache(&c->r, mode, &one, &c->lanes[i].cache));
    }
    *at = NULL;
    return ERR_OK;
}

static err open_all(comparison *c, const reader_mode *modes, const reader_room *room,
                    const char **at)
{
    const reader_model *r = &c->r;

    TRY(open_lanes(c, modes, room, at));
    c->exact = malloc(2 * c->step * r->m->V * sizeof *c->exact);
    if (!c->exact) return ERR_NOMEM;
    c->coded = c->exact + c->step * r->m->V;
    return forward_open(&c->forward, r->m, r->kern, r->team, c->step, r->block_tokens);
}

err comparison_open(comparison **out, const reader_model *r, const reader_mode *modes, size_t n,
                    const reader_room *room, const char **at)
{
    comparison *c = calloc(1, sizeof *c);
    err e;

    *at = NULL;
    if (!c) return ERR_NOMEM;
    c->r = *r;
    c->n = 1 + n;
    c->step = r->block_tokens < ROWS ? r->block_tokens : ROWS;
    e = open_all(c, modes, room, at);
    if (e != ERR_OK) {
        comparison_close(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void comparison_close(comparison *c)
{
    if (!c) return;
    for (size_t i = 0; c->lanes && i < c->n; i++) {
        cache_close(c->lanes[i].cache);
        free(c->lanes[i].kl);
    }
    forward_close(c->forward);
    free(c->lanes);
    free(c->exact);
    free(c);
}
