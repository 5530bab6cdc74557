/* attention.c - rows of a step meet their contexts.
 *
 * A row alone, as in decoding, is one task: its keys and values join its context, and the
 * blocks follow one after the other, so what a core has just written it reads itself. Where
 * such tasks would be too few or too long, and for prompts, blocks are tasks instead: in
 * waves, the partial results of a few blocks are made by any worker, then merged per head.
 * Both ways fold blocks in ascending order with the same roundings, so the split never shows
 * in the result. */
#include <string.h>

#include "engine/model/forward_state.h"

enum {
    STRIP = 16, /* rows placed at a time: a line of transposed keys */
    SHARES = 2  /* no task has more than this part of a worker's work */
};

typedef struct attend_job {
    forward *f;
    int layer;
    size_t window; /* of the layer; 0: none */
    size_t n;      /* units of this wave */
    bool codes;    /* a row that is a task ends as codes */
} attend_job;

/* --- the plan of a step --- */

/* Blocks that a part's last row sees, without a window. */
static size_t blocks_of(const forward *f, const part *p)
{
    return p->piece->pos / f->block_tokens + 1;
}

static void cut(forward *f, const part *p)
{
    for (size_t at = 0, T; at < p->piece->T; at += T) {
        T = p->piece->T - at < STRIP ? p->piece->T - at : STRIP;
        f->strips[f->n_strips++] = (strip){p, at, T};
    }
}

void attention_plan(forward *f)
{
    size_t work = 0;

    for (size_t i = 0; i < f->n_parts; i++)
        work += f->parts[i].piece->T * blocks_of(f, &f->parts[i]);
    f->n_strips = 0;
    for (size_t i = 0; i < f->n_parts; i++) {
        part *p = &f->parts[i];

        p->alone = p->piece->T == 1 &&
                   blocks_of(f, p) * SHARES * (size_t)f->team->slots <= work;
        if (p->alone) cut(f, p);
    }
    f->n_alone = f->n_strips;
    for (size_t i = 0; i < f->n_parts; i++)
        if (!f->parts[i].alone) cut(f, &f->parts[i]);
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

/* Partial attention of the query heads of one part that share keys and values g. All heads
 * of a single row see the same keys, so they can be the kernel's rows. */
static void attend_group(const forward *f, const unit *u, size_t g, attend_call *call,
                         kern_attend *a)
{
    const model *m = f->m;
    const size_t each = m->H / m->G, Q = m->H * m->C, T = u->part->piece->T;
    const size_t heads = T == 1 ? each : 1; /* of one call */

    a->T = T * heads;
    a->q_stride = a->o_stride = T == 1 ? m->C : Q;
    a->ml_stride = T == 1 ? 1 : m->H;
    for (size_t h = g * each; h < (g + 1) * each; h += heads) {
        a->q = f->q + u->part->row * Q + h * m->C;
        a->m = f->part_m + u->row * m->H + h;
        a->l = f->part_l + u->row * m->H + h;
        a->o = f->part_o + u->row * Q + h * m->C;
        call(a);
    }
}

/* A block of n keys as the queries of its part see it. */
static kern_attend view(const attend_job *job, const unit *u, size_t n)
{
    const forward *f = job->f;
    const size_t pos = u->part->piece->pos, own = pos / f->block_tokens;
    const ptrdiff_t start = (ptrdiff_t)(u->block * f->block_tokens);

    return (kern_attend){
        .C = f->m->C,
        .n = n,
        .first = u->block == own ? pos % f->block_tokens + 1 : n,
        .low = job->window ? (ptrdiff_t)(pos + 1) - (ptrdiff_t)job->window - start : 0,
        .slide = job->window &&
                 u->part->piece->T > 1, /* heads of one row look from one place */
        .scale = f->m->score_scale,
        .cap = f->m->score_cap};
}

/* The first block that a query at `pos` sees. */
static size_t first_seen(const attend_job *job, size_t pos)
{
    return job->window && pos + 1 > job->window ? (pos + 1 - job->window) / job->f->block_tokens
                                                : 0;
}

/* The first block whose tile a part asks for. */
static size_t first_asked(const attend_job *job, const part *p)
{
    return p->piece->context->every_tile ? 0 : first_seen(job, p->piece->pos);
}

/* Partial attention of all heads of one part over one block; nothing but the tile is asked for
 * where none of its rows sees the block. */
static void attend_block(const attend_job *job, const unit *u, int slot_id)
{
    const forward *f = job->f;
    const forward_piece *piece = u->part->piece;
    const context_ops *ops = piece->context->ops;
    const bool seen = first_seen(job, piece->pos) <= u->block;
    double *seconds = f->slots[slot_id].seconds;
    const double start = forward_now();
    double ready;
    kv_tile tile;
    const size_t n = ops->tile(piece->context, job->layer, u->block, slot_id, &tile);
    kern_attend a = view(job, u, n);

    ready = forward_now();
    seconds[FORWARD_TILE] += ready - start;
    for (size_t g = 0; seen && g < f->m->G; g++) {
        point_at_head(f, &tile, g, piece->T == 1, &a);
        attend_group(f, u, g, call_for(f->kern, tile.format), &a);
    }
    ops->release(piece->context, slot_id);
    seconds[FORWARD_ATTEND] += forward_now() - ready;
}

/* Fold the partial result of head h of the t-th row of a unit into the running one, from the
 * first block that the row sees; the last divides by the sum. */
static void fold(const attend_job *job, const unit *u, size_t t, size_t h)
{
    const forward *f = job->f;
    const size_t H = f->m->H, C = f->m->C, first = first_seen(job, u->part->piece->pos + t);
    const size_t at = (u->part->row + t) * H + h, from = (u->row + t) * H + h;
    const float m = f->part_m[from], *in = f->part_o + from * C;
    float *top = &f->top[at], *sum = &f->sum[at], *o = f->heads + at * C;

    if (u->block < first) return;
    if (u->block == first) {
        *top = m;
        *sum = f->part_l[from];
        memcpy(o, in, C * sizeof *o);
    } else {
        const float best = m > *top ? m : *top; /* exp 0 is 1 */
        const float old = *top == best ? 1 : kern_exp(*top - best);
        const float new = m == best ? 1 : kern_exp(m - best);

        *top = best;
        *sum = *sum * old + f->part_l[from] * new;
        f->kern->mix(o, in, C, old, new);
    }
    if (u->block + 1 == blocks_of(f, u->part))
        for (size_t c = 0; c < C; c++) o[c] /= *sum;
}

/* --- rows --- */

/* Queries of a strip get their positions; keys and values go to its context. */
static void place(const attend_job *job, const strip *s)
{
    const forward *f = job->f;
    const model *m = f->m;
    const forward_piece *p = s->part->piece;
    const size_t row = s->part->row + s->first;

    for (size_t t = 0; t < s->T; t++)
        rope_turn(m->layers[job->layer].rope, f->kern, f->q + (row + t) * m->H * m->C, m->H,
                  m->C, p->pos + s->first + t);
    p->context->ops->append(p->context, job->layer, s->first, f->x + row * m->D,
                            f->k + row * m->E, f->v + row * m->E, s->T);
}

/* All of a row's attention, in the slot's own partial result. */
static void attend_alone(const attend_job *job, const part *p, int slot_id)
{
    const forward *f = job->f;
    const size_t Q = f->m->H * f->m->C;
    unit u = {p, first_asked(job, p), f->wave_rows + (size_t)slot_id};

    for (; u.block < blocks_of(f, p); u.block++) {
        attend_block(job, &u, slot_id);
        for (size_t h = 0; h < f->m->H; h++) fold(job, &u, 0, h);
    }
    if (job->codes) forward_code_row(f, f->heads + p->row * Q, p->row, Q);
}

static void start_strip(void *arg, int i, int slot_id)
{
    const attend_job *job = arg;
    const strip *s = &job->f->strips[i];

    place(job, s);
    if (s->part->alone) attend_alone(job, s->part, slot_id);
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
        const unit *u = &job->f->units[i];

        for (size_t t = 0; t < u->part->piece->T; t++) fold(job, u, t, (size_t)h);
    }
}

static void run_wave(attend_job *job)
{
    team *t = job->f->team;

    t->run(t, attend_unit, job, (int)job->n);
    t->run(t, merge_head, job, (int)job->f->m->H);
    job->n = 0;
}

static void run_waves(attend_job *job)
{
    forward *f = job->f;
    size_t rows = 0;

    for (size_t i = 0; i < f->n_parts; i++) {
        const part *p = &f->parts[i];
        const size_t T = p->piece->T, end = p->alone ? 0 : blocks_of(f, p);

        for (size_t b = first_asked(job, p); b < end; b++) {
            if (rows + T > f->wave_rows) {
                run_wave(job);
                rows = 0;
            }
            f->units[job->n++] = (unit){p, b, rows};
            rows += T;
        }
    }
    if (job->n) run_wave(job);
}

bool attention_run(forward *f, int layer, bool codes)
{
    const bool all_alone = f->n_alone == f->n_parts;
    attend_job job = {.f = f,
                      .layer = layer,
                      .window = f->m->layers[layer].window,
                      .codes = codes && all_alone};

    f->team->run(f->team, start_strip, &job, (int)f->n_strips);
    if (!all_alone) run_waves(&job);
    return job.codes;
}
