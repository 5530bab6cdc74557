/* forward.c - the network, one function a layer, top to bottom.
 *
 * Products are shared as tasks of some panels of a matrix; attention.c has the rest. */
#include "engine/model/forward.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/model/forward_state.h"

enum {
    LOGIT_ROWS = 16, /* rows of the output product at a time */
    ROWS = 4         /* of a task that does the same to each row */
};

double forward_now(void)
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
    const size_t R = f->max_rows, W = f->wave_rows + (size_t)f->team->slots, Q = m->H * m->C,
                 f4 = sizeof(float);
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
    f->parts = carve(p, &at, R * sizeof *f->parts);
    f->strips = carve(p, &at, R * sizeof *f->strips);
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

/* --- rows --- */

/* What is done to each row by itself, in this order; what is not asked for is left out. */
typedef struct row_job {
    forward *f;
    size_t T, width;   /* of x */
    float *sum;        /* [T,D] h += sum... */
    const float *post; /* or its norm, where the architecture has one there */
    const float *gain; /* x = norm of h */
    float *x;
    bool gate;   /* x = silu(x) * up, or GELU's */
    bool codes;  /* q8 = x in eight bits */
    size_t each; /* rows a task */
} row_job;

/* y[d] = g[d] * x[d] / sqrt(mean over d of x[d]^2 + eps). arXiv:1910.07467 */
static void norm(const forward *f, const float *x, const float *gain, float *y)
{
    f->kern->rms_norm(x, gain, f->m->D, f->m->eps, y);
}

static void add_row(const forward *f, float *row, const float *post, float *h)
{
    if (post) norm(f, row, post, row);
    for (size_t d = 0; d < f->m->D; d++) h[d] += row[d];
}

void forward_code_row(const forward *f, const float *x, size_t t, size_t D)
{
    const size_t groups = D / KERN_GROUP;

    f->kern->quantize_q8(x, D, f->q8 + t * D, f->q8_scale + t * groups, f->q8_sum + t * groups);
}

static void do_row(const row_job *job, size_t t)
{
    const forward *f = job->f;
    const size_t D = job->width;
    float *x = job->x + t * D, *h = f->h + t * f->m->D;

    if (job->sum) add_row(f, job->sum + t * f->m->D, job->post, h);
    if (job->gain) norm(f, h, job->gain, x);
    if (job->gate && f->m->arch->has & ARCH_GELU)
        f->kern->gelu_mul(x, f->up + t * D, D, x);
    else if (job->gate)
        f->kern->silu_mul(x, f->up + t * D, D, x);
    if (job->codes) forward_code_row(f, x, t, D);
}

static void do_rows(void *arg, int i, int slot_id)
{
    const row_job *job = arg;
    const size_t first = (size_t)i * job->each, left = job->T - first;

    (void)slot_id;
    for (size_t t = 0; t < left && t < job->each; t++) do_row(job, first + t);
}

/* A barrier costs as much as the codes of some rows, or all that is done to a few. */
static void over_rows(row_job job)
{
    team *t = job.f->team;

    job.each = job.gain || job.gate ? ROWS : 2 * ROWS;
    t->run(t, do_rows, &job, (int)((job.T + job.each - 1) / job.each));
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
    size_t panels; /* of all of them */
    size_t chunk;  /* panels a task */
} multiply_job;

/* Task i: panels i*chunk .. of all products, counted through. */
static void multiply_chunk(void *arg, int i, int s)
{
    const multiply_job *job = arg;
    const double start = forward_now();
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
    job->f->slots[s].seconds[FORWARD_GEMM] += forward_now() - start;
}

/* Rows that a product reads. */
typedef struct source {
    float *x; /* [T,D] */
    size_t T;
    bool coded; /* q8 is x already */
} source;

static bool wants_codes(const product *list, int n)
{
    for (int j = 0; j < n; j++)
        if (matrix_wants_int8(list[j].m)) return true;
    return false;
}

/* y = x W^T for up to three matrices that share their input x, to be run in chunks. */
static multiply_job open_multiply(forward *f, source from, const product *list, int n)
{
    multiply_job job = {.f = f, .list = list, .n = n};
    const size_t D = list[0].m->cols,
                 tasks = (size_t)f->team->slots * (f->team->slots > 1 ? 2 : 1);

    job.in = (matrix_input){.x = from.x, .T = from.T, .D = D};
    if (wants_codes(list, n)) {
        if (!from.coded)
            over_rows((row_job){.f = f, .T = from.T, .width = D, .x = from.x, .codes = true});
        job.in.q = f->q8;
        job.in.q_scale = f->q8_scale;
        job.in.q_sum = f->q8_sum;
    }
    for (int j = 0; j < n; j++) job.panels += list[j].m->panels;
    job.chunk = (job.panels + tasks - 1) / tasks;
    return job;
}

static void run_chunks(const multiply_job *job, team_task *task, void *arg)
{
    team *t = job->f->team;

    t->run(t, task, arg, (int)((job->panels + job->chunk - 1) / job->chunk));
}

static void multiply(forward *f, source from, const product *list, int n)
{
    multiply_job job = open_multiply(f, from, list, n);

    run_chunks(&job, multiply_chunk, &job);
}

/* --- layers --- */

/* What half a layer makes, [R,D]: it joins h where the next one begins. */
static void leave(forward *f, float *made, const float *post)
{
    f->made = made;
    f->post = post;
}

/* h += what the half before made; x = norm of h, and its codes for the products of the list. */
static source enter(forward *f, const float *gain, const product *list, int n)
{
    const source x = {f->x, f->rows, wants_codes(list, n)};

    over_rows((row_job){.f = f,
                        .T = f->rows,
                        .width = f->m->D,
                        .sum = f->made,
                        .post = f->post,
                        .gain = gain,
                        .x = f->x,
                        .codes = x.coded});
    return x;
}

/* h += Wo attention(norm h) */
static void attention_layer(forward *f, size_t l)
{
    const model_layer *layer = &f->m->layers[l];
    const product qkv[] = {{&layer->q, f->q}, {&layer->k, f->k}, {&layer->v, f->v}},
                  o = {&layer->o, f->x};

    multiply(f, enter(f, layer->attn_norm, qkv, 3), qkv, 3);
    model_finish_q(f->m, f->kern, l, f->q, f->rows);
    model_finish_kv(f->m, f->kern, l, f->k, f->v, f->rows);
    multiply(f, (source){f->heads, f->rows, attention_run(f, (int)l, wants_codes(&o, 1))}, &o,
             1);
    leave(f, f->x, layer->attn_post);
}

/* x [T,D] = Wdown (silu(Wgate x) * Wup x), or GELU's. arXiv:2002.05202 */
static void run_ffn(forward *f, const product *in, source x, const product *down)
{
    const bool codes = wants_codes(down, 1);

    multiply(f, x, in, 2);
    over_rows((row_job){
        .f = f, .T = x.T, .width = f->m->F, .x = f->gate, .gate = true, .codes = codes});
    multiply(f, (source){f->gate, x.T, codes}, down, 1);
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

    for (size_t t = 0; t < f->rows; t++)
        experts_choose(f->route + t * m->X, m->X, m->used, f->shares + t * m->used);
    memset(f->mixed, 0, f->rows * m->D * sizeof *f->mixed);
    for (size_t e = 0; e < m->X; e++) {
        const model_ffn *ffn = &layer->experts[e];
        const source picked = {f->picked, pick_rows(f, e), false};

        if (picked.T)
            run_ffn(f, (product[]){{&ffn->gate, f->gate}, {&ffn->up, f->up}}, picked,
                    &(product){&ffn->down, f->picked});
        for (size_t i = 0; i < picked.T; i++)
            for (size_t d = 0; d < m->D; d++)
                f->mixed[f->picks[i].row * m->D + d] += f->picks[i].weight *
                                                        f->picked[i * m->D + d];
    }
}

/* h += ffn(norm h) */
static void ffn_layer(forward *f, size_t l)
{
    const model_layer *layer = &f->m->layers[l];
    const model_ffn *ffn = &layer->ffn;
    const product in[] = {{&ffn->gate, f->gate}, {&ffn->up, f->up}},
                  router = {&layer->router, f->route};

    if (f->m->X) {
        multiply(f, enter(f, layer->ffn_norm, &router, 1), &router, 1);
        run_experts(f, layer);
    } else {
        run_ffn(f, in, enter(f, layer->ffn_norm, in, 2), &(product){&ffn->down, f->x});
    }
    leave(f, f->m->X ? f->mixed : f->x, layer->ffn_post);
}

/* --- scores --- */

/* Where a step's scores go. */
typedef struct score_job {
    multiply_job multiply; /* of the output matrix */
    float *const *out;     /* [T] */
} score_job;

/* A chunk of the scores, capped, and brought by the core that has just made them. */
static void score_chunk(void *arg, int i, int s)
{
    score_job *job = arg;
    const forward *f = job->multiply.f;
    const size_t V = f->m->V, first = (size_t)i * job->multiply.chunk * KERN_PANEL,
                 left = V - first, most = job->multiply.chunk * KERN_PANEL,
                 n = left < most ? left : most;

    multiply_chunk(&job->multiply, i, s);
    for (size_t t = 0; t < job->multiply.in.T; t++) {
        float *y = f->logits + t * V + first;

        if (f->m->logit_cap > 0) f->kern->soft_cap(y, n, f->m->logit_cap);
        memcpy(job->out[t] + first, y, n * sizeof *y);
    }
}

/* The scores of the n rows gathered in x, to the places in out. */
static void flush_logits(forward *f, size_t n, float *const *out)
{
    const product scores = {&f->m->output, f->logits};
    score_job job = {.out = out};

    if (!n) return;
    job.multiply = open_multiply(f, (source){f->x, n, false}, &scores, 1);
    run_chunks(&job.multiply, score_chunk, &job);
}

static void scores(forward *f)
{
    const model *m = f->m;
    float *out[LOGIT_ROWS];
    size_t n = 0;

    for (size_t i = 0; i < f->n_parts; i++) {
        const forward_piece *p = f->parts[i].piece;

        for (size_t w = 0; w < p->wanted; w++) {
            norm(f, f->h + (f->parts[i].row + p->T - p->wanted + w) * m->D, m->output_norm,
                 f->x + n * m->D);
            out[n++] = p->logits + w * m->V;
            if (n < LOGIT_ROWS) continue;
            flush_logits(f, n, out);
            n = 0;
        }
    }
    flush_logits(f, n, out);
}

/* The pieces become the step's parts; h = the embeddings of all their rows. */
static void take(forward *f, const forward_piece *pieces, size_t n)
{
    f->n_parts = n;
    f->rows = 0;
    for (size_t i = 0; i < n; i++) {
        f->parts[i] = (part){.piece = &pieces[i], .row = f->rows};
        assert(f->rows + pieces[i].T <= f->max_rows);
        for (size_t t = 0; t < pieces[i].T; t++)
            model_embed(f->m, pieces[i].ids[t], f->h + f->rows++ * f->m->D);
    }
    assert(f->rows > 0);
}

void forward_step(forward *f, const forward_piece *pieces, size_t n)
{
    take(f, pieces, n);
    attention_plan(f);
    leave(f, NULL, NULL);
    for (size_t l = 0; l < f->m->L; l++) {
        attention_layer(f, l);
        ffn_layer(f, l);
    }
    enter(f, NULL, NULL, 0);
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
