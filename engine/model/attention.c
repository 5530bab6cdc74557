/* attention.c - rows of a step meet their contexts: softmax(q K^T scale) V, block by block.
 *
 * A context is read one block b of up to B tokens at a time. For a row and a head, one block
 * gives a partial result, of s_j = scale * q k_j (arXiv:2205.14135, section 3.1):
 *
 *   m_b = max s_j      l_b = sum exp(s_j - m_b)      o_b = sum exp(s_j - m_b) v_j
 *
 * and partials are merged into a running max M, a running sum S and O, b ascending:
 *
 *   M' = max(M, m_b)   S' = S exp(M - M') + l_b exp(m_b - M')   O' likewise;   at the end O / S
 *
 * Who works on what:
 *   a strip   16 rows of a chunk: their k, v join the context, q turns to its positions
 *   a row alone (decode)      one task has all its blocks, one after the other: what a core has
 *                             just written it reads itself, and there is no second barrier
 *   a unit (prefill, or a     one block of one chunk, all heads. A wave of units makes partials
 *   context too long for      on any worker; then each head is a task that merges the wave's.
 *   one worker's share)       Waves follow each other until all blocks are read.
 *
 * Both ways merge the same partials in the same order with the same roundings, so neither the
 * split nor the number of workers shows in the result (row purity). The order matters: float
 * addition is not associative, and a tree of merges would depend on the length of the context.
 */
#include "engine/model/attention.h"

#include <string.h>

#include "engine/clock.h"
#include "engine/model/rope.h"
#include "engine/model/step.h"

typedef struct forward forward;

enum {
    STRIP = 16, /* rows placed at a time: a line of transposed keys */
    SHARES = 2  /* no task has more than 1 / SHARES of a worker's work */
};

typedef struct attend_job {
    forward *f;
    int layer;
    size_t n;   /* units of this wave */
    bool codes; /* a row that is a task ends as codes */
} attend_job;

/* --- the plan of a step --- */

/* Blocks that a chunk's last row sees, without a window. */
static size_t blocks_of(const forward *f, const step_chunk *p)
{
    return (p->in->sees ? p->in->sees - 1 : p->in->pos) / f->block_tokens + 1;
}

/* Into strips; a strip stays inside its chunk, so it has one context. */
static void cut(forward *f, const step_chunk *p)
{
    for (size_t at = 0, T; at < p->in->T; at += T) {
        T = p->in->T - at < STRIP ? p->in->T - at : STRIP;
        f->strips[f->n_strips++] = (step_strip){p, at, T};
    }
}

/* A decode row is a task of its own unless its context is so long that the others would wait
 * for it: no task may have more than a half of a worker's share. Those alone come first among
 * the strips, since they are the long tasks. */
void attention_plan(forward *f)
{
    size_t work = 0;

    for (size_t i = 0; i < f->n_chunks; i++)
        work += f->chunks[i].in->T * blocks_of(f, &f->chunks[i]);
    f->n_strips = 0;
    for (size_t i = 0; i < f->n_chunks; i++) {
        step_chunk *p = &f->chunks[i];

        p->alone = p->in->T == 1 && blocks_of(f, p) * SHARES * (size_t)f->team->slots <= work;
        if (p->alone) cut(f, p);
    }
    f->n_alone = f->n_strips;
    for (size_t i = 0; i < f->n_chunks; i++)
        if (!f->chunks[i].alone) cut(f, &f->chunks[i]);
}

/* --- one block --- */

typedef void attend_call(const kern_attend *a);

static attend_call *call_for(const kern *k, kv_format format)
{
    attend_call *const calls[] = {
        [KV_FLOAT] = k->attend_float, [KV_HALF] = k->attend_half, [KV_INT8] = k->attend_int8};

    return calls[format];
}

static const char *keys_of(const forward *f, const kv_tile *tile, size_t g)
{
    return (const char *)tile->k +
           g * f->m->C * f->block_tokens * kv_number_bytes(tile->format);
}

static const char *values_of(const kv_tile *tile, size_t g)
{
    return (const char *)tile->v + g * tile->v_head * kv_number_bytes(tile->format);
}

/* Where the keys and values of head g are. They are read in place: widening them first was
 * tried, and gains 4 % of attention at 96 rows but loses as much at 24. A single row reads them
 * once, so those of the next head are asked for meanwhile. */
static void point_at_head(const forward *f, const kv_tile *tile, size_t g, bool once,
                          kern_attend *a)
{
    const size_t B = f->block_tokens;
    const bool next = once && g + 1 < f->m->G;

    a->kt = keys_of(f, tile, g);
    a->v = values_of(tile, g);
    a->next_kt = next ? keys_of(f, tile, g + 1) : NULL;
    a->next_v = next ? values_of(tile, g + 1) : NULL;
    a->v_stride = tile->v_stride;
    a->k_scale = tile->k_scale ? tile->k_scale + g * B : NULL;
    a->v_scale = tile->v_scale ? tile->v_scale + g * B : NULL;
}

/* Partial attention of the query heads of one chunk that share keys and values g. All heads
 * of a single row see the same keys, so they can be the kernel's rows. */
static void attend_group(const forward *f, const step_unit *u, size_t g, attend_call *call,
                         kern_attend *a)
{
    const model *m = f->m;
    const size_t each = m->H / m->G, Q = m->H * m->C, T = u->chunk->in->T - u->skip;
    const size_t heads = T == 1 ? each : 1; /* of one call */
    const size_t row = u->chunk->row + u->skip, part = u->row + u->skip;

    a->T = T * heads;
    a->q_stride = a->o_stride = T == 1 ? m->C : Q;
    a->ml_stride = T == 1 ? 1 : m->H;
    for (size_t h = g * each; h < (g + 1) * each; h += heads) {
        a->q = f->q + row * Q + h * m->C;
        a->m = f->partial_m + part * m->H + h;
        a->l = f->partial_l + part * m->H + h;
        a->o = f->partial_o + part * Q + h * m->C;
        call(a);
    }
}

static size_t first_key(const attend_job *job, size_t pos)
{
    return model_first_key(job->f->m, (size_t)job->layer, pos);
}

/* The last key that the query at `pos` of a chunk sees: its own, where none looks ahead. */
static size_t last_key(const attend_job *job, const forward_chunk *in, size_t pos)
{
    return in->sees ? model_last_key(job->f->m, (size_t)job->layer, pos, in->sees) : pos;
}

/* The first key of a window at `pos`, which may begin before position 0, where the kernel's
 * rows count from. */
static ptrdiff_t window_key(const attend_job *job, size_t pos)
{
    const model *m = job->f->m;
    const size_t window = m->layers[job->layer].window;

    if (m->arch->has & ARCH_CHUNKED) return (ptrdiff_t)first_key(job, pos);
    if (m->both_ways) return (ptrdiff_t)pos - (ptrdiff_t)(window / 2);
    return (ptrdiff_t)(pos + 1) - (ptrdiff_t)window;
}

/* Rows of a chunk see all keys of an earlier block, and of their own those up to themselves,
 * or as far as they look ahead. With a window, `low` is the first key that the chunk's first
 * row sees, counted from the block: it may lie before the block or behind it. The unit's first
 * rows are skipped where their windows end before the block.
 *
 * A block of n keys as the queries of its chunk see it. */
static kern_attend view(const attend_job *job, const step_unit *u, size_t n)
{
    const forward *f = job->f;
    const size_t pos = u->chunk->in->pos + u->skip, start = u->block * f->block_tokens;
    const bool windows = f->m->layers[job->layer].window > 0;
    const bool chunked = f->m->arch->has & ARCH_CHUNKED;

    return (kern_attend){.C = f->m->C,
                         .n = n,
                         .first = last_key(job, u->chunk->in, pos) + 1 - start,
                         .low = windows ? window_key(job, pos) - (ptrdiff_t)start : 0,
                         /* heads of one row look from one place, as do all rows of one chunk of
                          * keys: a block is never in two */
                         .slide = windows && !chunked && u->chunk->in->T - u->skip > 1,
                         .scale = f->m->score_scale,
                         .cap = f->m->score_cap};
}

/* Rows of a unit's chunk, its first, whose windows end before the block. */
static size_t skipped(const attend_job *job, const step_unit *u)
{
    const size_t last = last_key(job, u->chunk->in, u->chunk->in->pos);
    const size_t start = u->block * job->f->block_tokens;

    return last < start ? start - last : 0; /* the windows of later rows end a key later each */
}

/* The first block that a query at `pos` sees. */
static size_t first_seen(const attend_job *job, size_t pos)
{
    return first_key(job, pos) / job->f->block_tokens;
}

/* The first block whose tile a chunk asks for. */
static size_t first_asked(const attend_job *job, const step_chunk *p)
{
    return p->in->context->every_tile ? 0 : first_seen(job, p->in->pos);
}

/* The block of the last key that the t-th row of a chunk sees. */
static size_t last_seen(const attend_job *job, const step_chunk *p, size_t t)
{
    return last_key(job, p->in, p->in->pos + t) / job->f->block_tokens;
}

/* Behind the last block whose tile a chunk asks for. */
static size_t end_asked(const attend_job *job, const step_chunk *p)
{
    return last_seen(job, p, p->in->T - 1) + 1;
}

/* Partial attention of all heads of one chunk over one block; nothing but the tile is asked for
 * where none of its rows sees the block. */
static void attend_block(const attend_job *job, step_unit *u, int slot_id)
{
    const forward *f = job->f;
    const forward_chunk *in = u->chunk->in;
    const context_ops *ops = in->context->ops;
    const bool seen = first_seen(job, in->pos) <= u->block;
    double *seconds = f->slots[slot_id].seconds;
    const double start = clock_seconds();
    double ready;
    kv_tile tile;
    const size_t n = ops->tile(in->context, job->layer, u->block, slot_id, &tile);
    kern_attend a;

    u->skip = skipped(job, u);
    a = view(job, u, n);
    ready = clock_seconds();
    seconds[FORWARD_TILE] += ready - start;
    for (size_t g = 0; seen && g < f->m->G; g++) {
        point_at_head(f, &tile, g, in->T - u->skip == 1, &a);
        attend_group(f, u, g, call_for(f->kern, tile.format), &a);
    }
    ops->release(in->context, slot_id);
    seconds[FORWARD_ATTEND] += clock_seconds() - ready;
}

/* A score that no key has takes its part of the softmax, as if its value were 0: last of all,
 * whatever blocks there were. arXiv:2309.17453 */
static void add_sink(const forward *f, float sink, size_t at)
{
    float *run_max = &f->run_max[at], *run_sum = &f->run_sum[at], *o = f->heads + at * f->m->C;

    if (sink > *run_max) {
        const float old = kern_exp(*run_max - sink);

        *run_sum = *run_sum * old + 1;
        for (size_t c = 0; c < f->m->C; c++) o[c] *= old;
    } else {
        *run_sum += kern_exp(sink - *run_max);
    }
}

/* Merge the partial result of head h of the t-th row of a unit into the running one, from the
 * first block that the row sees; the last divides by the sum. A block that the row does not see
 * is left out rather than merged with a weight of 0, so that where a window begins does not
 * depend on the rows that share the chunk. */
static void merge_partial(const attend_job *job, const step_unit *u, size_t t, size_t h)
{
    const forward *f = job->f;
    const size_t H = f->m->H, C = f->m->C, first = first_seen(job, u->chunk->in->pos + t),
                 last = last_seen(job, u->chunk, t);
    const size_t at = (u->chunk->row + t) * H + h, from = (u->row + t) * H + h;
    const float m = f->partial_m[from], *in = f->partial_o + from * C;
    float *run_max = &f->run_max[at], *run_sum = &f->run_sum[at], *o = f->heads + at * C;

    if (u->block < first || u->block > last) return;
    if (u->block == first) {
        *run_max = m;
        *run_sum = f->partial_l[from];
        memcpy(o, in, C * sizeof *o);
    } else {
        const float max = m > *run_max ? m : *run_max; /* exp 0 is 1 */
        const float old = *run_max == max ? 1 : kern_exp(*run_max - max);
        const float new = m == max ? 1 : kern_exp(m - max);

        *run_max = max;
        *run_sum = *run_sum * old + f->partial_l[from] * new;
        f->kern->mix(o, in, C, old, new);
    }
    if (u->block < last) return;
    if (f->m->layers[job->layer].sinks) add_sink(f, f->m->layers[job->layer].sinks[h], at);
    for (size_t c = 0; c < C; c++) o[c] /= *run_sum;
}

/* --- rows --- */

/* Queries of a strip get their positions; keys and values go to its context. */
static void place(const attend_job *job, const step_strip *s)
{
    const forward *f = job->f;
    const model *m = f->m;
    const forward_chunk *p = s->chunk->in;
    const size_t row = s->chunk->row + s->first;

    for (size_t t = 0; t < s->T; t++) {
        const size_t pos = p->pos + s->first + t, Q = m->H * m->C;
        const float by = model_query_scale(m, (size_t)job->layer, pos);
        float *q = f->q + (row + t) * Q;

        rope_turn(m->layers[job->layer].rope, f->kern, q, m->H, m->C, pos);
        for (size_t i = 0; by != 1 && i < Q; i++) q[i] *= by;
    }
    p->context->ops->append(p->context, job->layer, s->first, f->x + row * m->D,
                            f->k + row * m->E, f->v + row * m->E, s->T);
}

/* All of a row's attention, in the slot's own partial result. */
static void attend_alone(const attend_job *job, const step_chunk *p, int slot_id)
{
    const forward *f = job->f;
    const size_t Q = f->m->H * f->m->C;
    step_unit u = {p, first_asked(job, p), f->wave_rows + (size_t)slot_id, 0};

    for (; u.block < end_asked(job, p); u.block++) {
        attend_block(job, &u, slot_id);
        for (size_t h = 0; h < f->m->H; h++) merge_partial(job, &u, 0, h);
    }
    if (job->codes) step_code_row(f, f->heads + p->row * Q, p->row, Q);
}

static void start_strip(void *arg, int i, int slot_id)
{
    const attend_job *job = arg;
    const step_strip *s = &job->f->strips[i];

    place(job, s);
    if (s->chunk->alone) attend_alone(job, s->chunk, slot_id);
}

/* --- waves of blocks --- */

static void attend_unit(void *arg, int i, int slot_id)
{
    const attend_job *job = arg;

    attend_block(job, &job->f->units[i], slot_id);
}

static void merge_head(void *arg, int h, int slot_id)
{
    const attend_job *job = arg;

    (void)slot_id;
    for (size_t i = 0; i < job->n; i++) {
        const step_unit *u = &job->f->units[i];

        for (size_t t = 0; t < u->chunk->in->T; t++) merge_partial(job, u, t, (size_t)h);
    }
}

/* Units first, heads after the barrier: a head's partials come from any worker, but are merged
 * by one, in the order in which the units stand, which is ascending in blocks. */
static void run_wave(attend_job *job)
{
    team *t = job->f->team;

    t->run(t, attend_unit, job, (int)job->n);
    t->run(t, merge_head, job, (int)job->f->m->H);
    job->n = 0;
}

/* A wave is full when its rows are: a unit has T of them, so a short chunk's wave has more
 * blocks. */
static void run_waves(attend_job *job)
{
    forward *f = job->f;
    size_t rows = 0;

    for (size_t i = 0; i < f->n_chunks; i++) {
        const step_chunk *p = &f->chunks[i];
        const size_t T = p->in->T, end = p->alone ? 0 : end_asked(job, p);

        for (size_t b = first_asked(job, p); b < end; b++) {
            if (rows + T > f->wave_rows) {
                run_wave(job);
                rows = 0;
            }
            f->units[job->n++] = (step_unit){p, b, rows, 0};
            rows += T;
        }
    }
    if (job->n) run_wave(job);
}

bool attention_run(forward *f, int layer, bool codes)
{
    const bool all_alone = f->n_alone == f->n_chunks;
    attend_job job = {.f = f, .layer = layer, .codes = codes && all_alone};

    f->team->run(f->team, start_strip, &job, (int)f->n_strips);
    if (!all_alone) run_waves(&job);
    return job.codes;
}
