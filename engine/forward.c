/* forward.c - the network, one function a layer, top to bottom.
 *
 * Work is shared as (panels of a matrix) and (block of a piece) tasks. Attention runs in
 * waves: the partial results of a few blocks are made by any worker, then merged per head
 * in ascending block order, so the split never shows in the result. */
#include "engine/forward.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/experts.h"

enum { LOGIT_ROWS = 16 }; /* rows of the output product at a time */

/* One block of one piece: attention's unit of work. */
typedef struct unit {
    size_t piece, block, blocks; /* blocks: of its piece, in all */
    size_t row;                  /* first of its rows in the partial buffers */
    size_t window;               /* of the layer; 0: none */
} unit;

/* A row that an expert computes, and how much it counts there. */
typedef struct pick {
    size_t row;
    float weight;
} pick;

typedef struct slot {
    double seconds[FORWARD_PHASES];
    char pad[64]; /* slots never share a cache line */
} slot;

struct forward {
    const model *m;
    const kern *kern;
    team *team;
    size_t max_rows, block_tokens, wave_rows, n_units, bytes;
    char *memory;             /* all of the below, one allocation */
    float *h, *x, *q, *k, *v; /* [R,D] [R,widest] [R,H*C] [R,E] [R,E] */
    float *heads, *gate, *up; /* [R,H*C] [R,F] [R,F] */
    float *top, *sum;         /* [R,H] running maximum and sum of attention */
    float *part_m, *part_l;   /* [wave_rows,H] */
    float *part_o;            /* [wave_rows,H,C] */
    float *logits;            /* [LOGIT_ROWS,V] */
    float *route;             /* [R,X] scores of experts */
    expert_share *shares;     /* [R,used] */
    pick *picks;              /* [R] rows of the expert at hand... */
    float *picked, *mixed;    /* [R,D] these rows; [R,D] what all experts make */
    int8_t *q8;               /* [R,widest] */
    float *q8_scale;
    kern_sums *q8_sum; /* [R,widest/32] */
    unit *units;       /* [wave_rows] */
    slot *slots;
    const forward_piece *pieces; /* of the step that runs */
    size_t n_pieces, rows;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- memory: one allocation, carved in order --- */

static void *carve(char *memory, size_t *at, size_t bytes)
{
    void *p = memory ? memory + *at : NULL;

    *at += (bytes + 63) / 64 * 64;
    return p;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Lay the buffers out from f->memory, or only count when it is NULL. Returns the bytes. */
static size_t lay_out(forward *f)
{
    const model *m = f->m;
    const size_t R = f->max_rows, W = f->wave_rows, Q = m->H * m->C, f4 = sizeof(float);
    const size_t widest = larger(larger(m->D, Q), m->F);
    const size_t groups = (widest + KERN_GROUP - 1) / KERN_GROUP;
    char *p = f->memory;
    size_t at = 0;

    f->h = carve(p, &at, R * m->D * f4);
    f->x = carve(p, &at, R * widest * f4);
    f->q = carve(p, &at, R * Q * f4);
    f->k = carve(p, &at, R * m->E * f4);
    f->v = carve(p, &at, R * m->E * f4);
    f->heads = carve(p, &at, R * Q * f4);
    f->gate = carve(p, &at, R * m->F * f4);
    f->up = carve(p, &at, R * m->F * f4);
    f->top = carve(p, &at, R * m->H * f4);
    f->sum = carve(p, &at, R * m->H * f4);
    f->part_m = carve(p, &at, W * m->H * f4);
    f->part_l = carve(p, &at, W * m->H * f4);
    f->part_o = carve(p, &at, W * Q * f4);
    f->logits = carve(p, &at, LOGIT_ROWS * m->V * f4);
    f->route = carve(p, &at, R * m->X * f4);
    f->shares = carve(p, &at, R * m->used * sizeof *f->shares);
    f->picks = carve(p, &at, m->X ? R * sizeof *f->picks : 0);
    f->picked = carve(p, &at, m->X ? R * m->D * f4 : 0);
    f->mixed = carve(p, &at, m->X ? R * m->D * f4 : 0);
    f->q8 = carve(p, &at, R * widest);
    f->q8_scale = carve(p, &at, R * groups * f4);
    f->q8_sum = carve(p, &at, R * groups * f4);
    f->units = carve(p, &at, W * sizeof *f->units);
    f->slots = carve(p, &at, (size_t)f->team->slots * sizeof *f->slots);
    return at;
}

err forward_open(forward **out, const model *m, const kern *k, team *t, size_t max_rows,
                 size_t block_tokens)
{
    forward *f = calloc(1, sizeof *f);

    if (!f) return ERR_NOMEM;
    assert(block_tokens <= KERN_KEYS && block_tokens % 16 == 0);
    *f = (forward){.m = m, .kern = k, .team = t, .max_rows = max_rows};
    f->block_tokens = block_tokens;
    f->wave_rows = max_rows * (t->slots > 1 ? (size_t)t->slots : 2);
    f->bytes = lay_out(f);
    f->memory = aligned_alloc(64, f->bytes);
    if (!f->memory) {
        free(f);
        return ERR_NOMEM;
    }
    lay_out(f);
    memset(f->slots, 0, (size_t)t->slots * sizeof *f->slots);
    *out = f;
    return ERR_OK;
}

void forward_close(forward *f)
{
    if (!f) return;
    free(f->memory);
    free(f);
}

/* --- products --- */

typedef struct product {
    const matrix *m;
    float *y; /* [T,m->rows] */
} product;

typedef struct multiply_job {
    forward *f;
    matrix_input in;
    const product *list;
    int n;
    size_t chunk; /* panels a task */
} multiply_job;

/* Task i: panels i*chunk .. of all products, counted through. */
static void multiply_chunk(void *arg, int i, int s)
{
    const multiply_job *job = arg;
    const double start = now();
    size_t first = (size_t)i * job->chunk, left = job->chunk;

    for (int j = 0; j < job->n && left; j++) {
        const matrix *m = job->list[j].m;
        size_t last;

        if (first >= m->panels) {
            first -= m->panels;
            continue;
        }
        last = first + left < m->panels ? first + left : m->panels;
        matrix_multiply(m, job->f->kern, &job->in, first, last, job->list[j].y, m->rows);
        left -= last - first;
        first = 0;
    }
    job->f->slots[s].seconds[FORWARD_GEMM] += now() - start;
}

/* y = x W^T for up to three matrices that share their input x [T,D]. */
static void multiply(forward *f, const float *x, size_t T, const product *list, int n)
{
    multiply_job job = {.f = f, .list = list, .n = n};
    const size_t D = list[0].m->cols;
    size_t panels = 0, tasks;

    job.in = (matrix_input){.x = x, .T = T, .D = D};
    for (int j = 0; j < n; j++) {
        panels += list[j].m->panels;
        if (!matrix_wants_int8(list[j].m) || job.in.q) continue;
        job.in.q = f->q8;
        job.in.q_scale = f->q8_scale;
        job.in.q_sum = f->q8_sum;
        for (size_t t = 0; t < T; t++)
            f->kern->quantize_q8(x + t * D, D, f->q8 + t * D,
                                 f->q8_scale + t * (D / KERN_GROUP),
                                 f->q8_sum + t * (D / KERN_GROUP));
    }
    tasks = (size_t)f->team->slots * (f->team->slots > 1 ? 2 : 1);
    job.chunk = (panels + tasks - 1) / tasks;
    f->team->run(f->team, multiply_chunk, &job, (int)((panels + job.chunk - 1) / job.chunk));
}

/* --- attention --- */

typedef struct attend_job {
    forward *f;
    int layer;
    size_t n; /* units of this wave */
} attend_job;

static size_t first_row(const forward *f, size_t piece)
{
    size_t row = 0;

    for (size_t i = 0; i < piece; i++) row += f->pieces[i].T;
    return row;
}

typedef void attend_call(const kern_attend *a);

static attend_call *call_for(const kern *k, kv_format format)
{
    attend_call *const calls[] = {
        [KV_FLOAT] = k->attend_float, [KV_HALF] = k->attend_half, [KV_INT8] = k->attend_int8};

    return calls[format];
}

/* The first position that a query at `pos` sees. */
static size_t first_seen(size_t pos, size_t window)
{
    return window && pos + 1 > window ? pos + 1 - window : 0;
}

/* Where the keys and values of head g are. They are read in place: widening them first was
 * tried, and gains 4 % of attention at 96 rows but loses as much at 24. */
static void point_at_head(const forward *f, const kv_tile *tile, size_t g, kern_attend *a)
{
    static const size_t bytes[] = {[KV_FLOAT] = 4, [KV_HALF] = 2, [KV_INT8] = 1};
    const size_t C = f->m->C, B = f->block_tokens, number = bytes[tile->format];

    a->kt = (const char *)tile->k + g * C * B * number;
    a->v = (const char *)tile->v + g * C * number;
    a->k_scale = tile->k_scale ? tile->k_scale + g * B : NULL;
    a->v_scale = tile->v_scale ? tile->v_scale + g * B : NULL;
}

/* Partial attention of the query heads of one piece that share keys and values g. All heads
 * of a single row see the same keys, so they can be the kernel's rows. */
static void attend_group(const forward *f, const unit *u, size_t g, attend_call *call,
                         kern_attend *a)
{
    const model *m = f->m;
    const size_t each = m->H / m->G, Q = m->H * m->C, T = f->pieces[u->piece].T;
    const size_t heads = T == 1 ? each : 1; /* of one call */

    a->T = T * heads;
    a->q_stride = a->o_stride = T == 1 ? m->C : Q;
    a->ml_stride = T == 1 ? 1 : m->H;
    a->slide = u->window && T > 1; /* heads of one row look from one place */
    for (size_t h = g * each; h < (g + 1) * each; h += heads) {
        a->q = f->q + first_row(f, u->piece) * Q + h * m->C;
        a->m = f->part_m + u->row * m->H + h;
        a->l = f->part_l + u->row * m->H + h;
        a->o = f->part_o + u->row * Q + h * m->C;
        call(a);
    }
}

/* Block b of a piece as its queries see it. */
static kern_attend view(const forward *f, const unit *u, size_t n)
{
    const model *m = f->m;
    const size_t pos = f->pieces[u->piece].pos, own = pos / f->block_tokens;
    const ptrdiff_t start = (ptrdiff_t)(u->block * f->block_tokens);

    return (kern_attend){.kt_stride = f->block_tokens,
                         .v_stride = m->E,
                         .C = m->C,
                         .n = n,
                         .first = u->block == own ? pos % f->block_tokens + 1 : n,
                         .low = u->window ? (ptrdiff_t)(pos + 1) - (ptrdiff_t)u->window - start
                                          : 0,
                         .scale = m->score_scale,
                         .cap = m->score_cap};
}

/* Partial attention of all heads of one piece over one block; nothing but the tile is asked for
 * where none of its rows sees the block. */
static void attend_unit(void *arg, int i, int slot_id)
{
    const attend_job *job = arg;
    const forward *f = job->f;
    const model *m = f->m;
    const unit *u = &f->units[i];
    const forward_piece *piece = &f->pieces[u->piece];
    const context_ops *ops = piece->context->ops;
    slot *s = &f->slots[slot_id];
    const bool seen = first_seen(piece->pos, u->window) / f->block_tokens <= u->block;
    const double start = now();
    double ready;
    kv_tile tile;
    const size_t n = ops->tile(piece->context, job->layer, u->block, slot_id, &tile);
    kern_attend a = view(f, u, n);

    ready = now();
    s->seconds[FORWARD_TILE] += ready - start;
    for (size_t g = 0; seen && g < m->G; g++) {
        point_at_head(f, &tile, g, &a);
        attend_group(f, u, g, call_for(f->kern, tile.format), &a);
    }
    ops->release(piece->context, slot_id);
    s->seconds[FORWARD_ATTEND] += now() - ready;
}

/* Fold one partial result, a row and head of the wave, into the running one at the row and head
 * `at`, from the `first` block that the row sees; the last divides by the sum. */
static void merge_row(const forward *f, const unit *u, size_t first, size_t at, size_t part)
{
    const size_t C = f->m->C;
    const float m = f->part_m[part], *in = f->part_o + part * C;
    float *top = &f->top[at], *sum = &f->sum[at], *o = f->heads + at * C;

    if (u->block < first) return;
    if (u->block == first) {
        *top = m;
        *sum = f->part_l[part];
        memcpy(o, in, C * sizeof *o);
    } else {
        const float best = m > *top ? m : *top; /* exp 0 is 1 */
        const float old = *top == best ? 1 : kern_exp(*top - best);
        const float new = m == best ? 1 : kern_exp(m - best);

        *top = best;
        *sum = *sum * old + f->part_l[part] * new;
        f->kern->mix(o, in, C, old, new);
    }
    if (u->block + 1 == u->blocks)
        for (size_t c = 0; c < C; c++) o[c] /= *sum;
}

static void merge_head(void *arg, int h, int slot_id)
{
    const attend_job *job = arg;
    const forward *f = job->f;
    const size_t H = f->m->H;

    (void)slot_id;
    for (size_t i = 0; i < job->n; i++) {
        const unit *u = &f->units[i];
        const forward_piece *p = &f->pieces[u->piece];
        const size_t row = first_row(f, u->piece);

        for (size_t t = 0; t < p->T; t++) {
            const size_t at = (row + t) * H + (size_t)h, part = (u->row + t) * H + (size_t)h;
            const size_t first = first_seen(p->pos + t, u->window) / f->block_tokens;

            merge_row(f, u, first, at, part);
        }
    }
}

static void run_wave(attend_job *job)
{
    forward *f = job->f;

    f->team->run(f->team, attend_unit, job, (int)job->n);
    f->team->run(f->team, merge_head, job, (int)f->m->H);
    job->n = 0;
}

/* heads [R,H,C] = softmax(q K^T scale) V, every row over its own context, or the window that
 * slides over it. */
static void attend(forward *f, int layer)
{
    attend_job job = {.f = f, .layer = layer};
    const size_t window = f->m->layers[layer].window;
    size_t rows = 0;

    for (size_t i = 0; i < f->n_pieces; i++) {
        const forward_piece *p = &f->pieces[i];
        const size_t blocks = p->pos / f->block_tokens + 1;
        const size_t first = first_seen(p->pos, window) / f->block_tokens;

        for (size_t b = p->context->every_tile ? 0 : first; b < blocks; b++) {
            if (rows + p->T > f->wave_rows) {
                run_wave(&job);
                rows = 0;
            }
            f->units[job.n++] = (unit){i, b, blocks, rows, window};
            rows += p->T;
        }
    }
    run_wave(&job);
}

/* --- layers --- */

/* y[t,d] = g[d] * x[t,d] / sqrt(mean over d of x[t,d]^2 + eps). arXiv:1910.07467 */
static void norm(const forward *f, const float *x, const float *gain, size_t T, float *y)
{
    for (size_t t = 0; t < T; t++)
        f->kern->rms_norm(x + t * f->m->D, gain, f->m->D, f->m->eps, y + t * f->m->D);
}

/* h += y, or its norm where the architecture has one there. y [R,D] is changed. */
static void add(forward *f, float *y, const float *gain)
{
    const size_t n = f->rows * f->m->D;

    if (gain) norm(f, y, gain, f->rows, y);
    for (size_t i = 0; i < n; i++) f->h[i] += y[i];
}

/* Products with Wq, Wk, Wv of f->x become queries and keys before rotary positions. */
static void project(forward *f, size_t l)
{
    const model_layer *layer = &f->m->layers[l];

    multiply(f, f->x, f->rows,
             (product[]){{&layer->q, f->q}, {&layer->k, f->k}, {&layer->v, f->v}}, 3);
    model_finish_q(f->m, f->kern, l, f->q, f->rows);
    model_finish_kv(f->m, f->kern, l, f->k, f->v, f->rows);
}

/* h += Wo attention(norm h) */
static void attention_layer(forward *f, size_t l)
{
    const model *m = f->m;
    const model_layer *layer = &m->layers[l];
    size_t row = 0;

    norm(f, f->h, layer->attn_norm, f->rows, f->x);
    project(f, l);
    for (size_t i = 0; i < f->n_pieces; i++) {
        const forward_piece *p = &f->pieces[i];

        for (size_t t = 0; t < p->T; t++)
            rope_turn(layer->rope, f->kern, f->q + (row + t) * m->H * m->C, m->H, m->C,
                      p->pos + t);
        p->context->ops->append(p->context, (int)l, f->x + row * m->D, f->k + row * m->E,
                                f->v + row * m->E, p->T);
        row += p->T;
    }
    attend(f, (int)l);
    multiply(f, f->heads, f->rows, (product[]){{&layer->o, f->x}}, 1);
    add(f, f->x, layer->attn_post);
}

/* x [T,D] = Wdown (silu(Wgate x) * Wup x), or GELU's. arXiv:2002.05202 */
static void run_ffn(forward *f, const model_ffn *ffn, float *x, size_t T)
{
    const size_t n = T * f->m->F;

    multiply(f, x, T, (product[]){{&ffn->gate, f->gate}, {&ffn->up, f->up}}, 2);
    if (f->m->arch->has & ARCH_GELU)
        f->kern->gelu_mul(f->gate, f->up, n, f->gate);
    else
        f->kern->silu_mul(f->gate, f->up, n, f->gate);
    multiply(f, f->gate, T, (product[]){{&ffn->down, x}}, 1);
}

/* The rows of x that expert e computes, to picked; returns how many. */
static size_t pick_rows(forward *f, size_t e)
{
    const size_t D = f->m->D, used = f->m->used;
    size_t n = 0;

    for (size_t t = 0; t < f->rows; t++)
        for (size_t i = 0; i < used; i++) {
            const expert_share *s = &f->shares[t * used + i];

            if (s->expert != e) continue;
            memcpy(f->picked + n * D, f->x + t * D, D * sizeof *f->x);
            f->picks[n++] = (pick){t, s->weight};
        }
    return n;
}

/* mixed = sum over a row's experts of weight * ffn(x), in ascending order of experts. */
static void run_experts(forward *f, const model_layer *layer)
{
    const model *m = f->m;

    multiply(f, f->x, f->rows, (product[]){{&layer->router, f->route}}, 1);
    for (size_t t = 0; t < f->rows; t++)
        experts_choose(f->route + t * m->X, m->X, m->used, f->shares + t * m->used);
    memset(f->mixed, 0, f->rows * m->D * sizeof *f->mixed);
    for (size_t e = 0; e < m->X; e++) {
        const size_t n = pick_rows(f, e);

        if (n) run_ffn(f, &layer->experts[e], f->picked, n);
        for (size_t i = 0; i < n; i++)
            for (size_t d = 0; d < m->D; d++)
                f->mixed[f->picks[i].row * m->D + d] += f->picks[i].weight *
                                                        f->picked[i * m->D + d];
    }
}

/* h += ffn(norm h) */
static void ffn_layer(forward *f, size_t l)
{
    const model *m = f->m;
    const model_layer *layer = &m->layers[l];

    norm(f, f->h, layer->ffn_norm, f->rows, f->x);
    if (m->X)
        run_experts(f, layer);
    else
        run_ffn(f, &layer->ffn, f->x, f->rows);
    add(f, m->X ? f->mixed : f->x, layer->ffn_post);
}

/* --- scores --- */

/* The rows gathered in x, n of them, to the places in out. */
static void flush_logits(forward *f, size_t n, float *const *out)
{
    if (!n) return;
    multiply(f, f->x, n, (product[]){{&f->m->output, f->logits}}, 1);
    if (f->m->logit_cap > 0) f->kern->soft_cap(f->logits, n * f->m->V, f->m->logit_cap);
    for (size_t i = 0; i < n; i++)
        memcpy(out[i], f->logits + i * f->m->V, f->m->V * sizeof(float));
}

static void scores(forward *f)
{
    const model *m = f->m;
    float *out[LOGIT_ROWS];
    size_t n = 0, row = 0;

    for (size_t i = 0; i < f->n_pieces; i++) {
        const forward_piece *p = &f->pieces[i];

        for (size_t w = 0; w < p->wanted; w++) {
            norm(f, f->h + (row + p->T - p->wanted + w) * m->D, m->output_norm, 1,
                 f->x + n * m->D);
            out[n++] = p->logits + w * m->V;
            if (n < LOGIT_ROWS) continue;
            flush_logits(f, n, out);
            n = 0;
        }
        row += p->T;
    }
    flush_logits(f, n, out);
}

void forward_step(forward *f, const forward_piece *pieces, size_t n)
{
    size_t row = 0;

    f->pieces = pieces;
    f->n_pieces = n;
    f->rows = first_row(f, n);
    assert(f->rows > 0 && f->rows <= f->max_rows);
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < pieces[i].T; t++)
            model_embed(f->m, pieces[i].ids[t], f->h + row++ * f->m->D);
    for (size_t l = 0; l < f->m->L; l++) {
        attention_layer(f, l);
        ffn_layer(f, l);
    }
    scores(f);
}

size_t forward_max_rows(const forward *f)
{
    return f->max_rows;
}

size_t forward_bytes(const forward *f)
{
    return f->bytes;
}

double forward_seconds(const forward *f, forward_phase p)
{
    double sum = 0;

    for (int i = 0; i < f->team->slots; i++) sum += f->slots[i].seconds[p];
    return sum;
}
