/* forward.c - the network, one function a layer, top to bottom.
 *
 *   h [R,D]  the residual stream         | = a barrier of the team
 *
 *   attention_layer   h += residual; x = norm h; codes of x   |  over rows
 *                     q, k, v = x Wq, x Wk, x Wv              |  over panels, all three at once
 *                     heads = softmax(q K^T) V                |  over chunks or blocks
 *                     residual = heads Wo                     |  over panels
 *   ffn_layer         h += residual; x = norm h; codes of x   |  over rows
 *                     gate, up = x Wgate, x Wup               |  over panels, both at once
 *                     gate = silu(gate) * up; codes of gate   |  over rows
 *                     residual = gate Wdown                   |  over panels
 *
 * What half a layer makes is not added to h where it is made: a task there has some columns of
 * every row, and a norm needs whole rows. The addition is deferred to the next half, whose pass
 * over rows adds, norms and codes a row while it is in the core's cache (residual_add_norm):
 * one barrier and one walk through h less in each half.
 *
 * A product's tasks are runs of panels of a matrix, not rows: a weight is then read by one
 * core, once a step, whatever the number of rows. attention.c has what lies between q, k, v and
 * heads. */
#include "engine/model/forward.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/model/attention.h"
#include "engine/model/step.h"

enum { ROWS = 4 }; /* of a task that does the same to each row */

err forward_open(forward **out, const model *m, const kern *k, team *t, size_t max_rows,
                 size_t block_tokens)
{
    forward *f = calloc(1, sizeof *f);

    if (!f) return ERR_NOMEM;
    assert(block_tokens <= KERN_KEYS && block_tokens % 16 == 0);
    *f = (forward){.m = m, .kern = k, .team = t, .max_rows = max_rows};
    f->block_tokens = block_tokens;
    /* a block for each worker even where one chunk is the whole step; partial results of more
     * would only leave the caches before they are merged */
    f->wave_rows = max_rows * (t->slots > 1 ? (size_t)t->slots : 2);
    if (step_open(f) != ERR_OK) {
        forward_close(f);
        return ERR_NOMEM;
    }
    *out = f;
    return ERR_OK;
}

void forward_close(forward *f)
{
    if (!f) return;
    step_close(f);
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

/* The norm behind a half is one more step of the same pass, over a row that is at hand. */
static void add_row(const forward *f, float *row, const float *post, float *h)
{
    if (post) norm(f, row, post, row);
    for (size_t d = 0; d < f->m->D; d++) h[d] += row[d];
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
    if (job->codes) step_code_row(f, x, t, D);
}

static void do_rows(void *arg, int i, int slot_id)
{
    const row_job *job = arg;
    const size_t first = (size_t)i * job->each, left = job->T - first;

    (void)slot_id;
    for (size_t t = 0; t < left && t < job->each; t++) do_row(job, first + t);
}

/* A barrier costs as much as the codes of some rows, or all that is done to a few: fewer rows
 * than that are one task, which the caller runs without waking anybody. */
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
    size_t share;  /* panels a task */
} multiply_job;

/* Task i: panels i*share .. of all products, counted through. So Wk and Wv, which are small
 * with grouped heads, are no tasks of their own that end early. */
static void multiply_share(void *arg, int i, int s)
{
    const multiply_job *job = arg;
    const double start = clock_seconds();
    size_t first = (size_t)i * job->share, left = job->share;

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
    job->f->slots[s].seconds[FORWARD_GEMM] += clock_seconds() - start;
}

/* Rows that a product reads. */
typedef struct source {
    float *x; /* [T,D] */
    size_t T;
    bool coded; /* q8 is x already */
} source;

/* Weight types may differ between matrices that share an input; each reads the form it knows.
 */
static bool wants_codes(const product *list, int n)
{
    for (int j = 0; j < n; j++)
        if (matrix_wants_int8(list[j].m)) return true;
    return false;
}

/* y = x W^T for up to three matrices that share their input x, to be run in shares: two for
 * each worker, so that one that was interrupted is helped out and nobody waits long for the
 * last. */
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
    job.share = (job.panels + tasks - 1) / tasks;
    return job;
}

static void run_shares(const multiply_job *job, team_task *task, void *arg)
{
    team *t = job->f->team;

    t->run(t, task, arg, (int)((job->panels + job->share - 1) / job->share));
}

static void multiply(forward *f, source from, const product *list, int n)
{
    multiply_job job = open_multiply(f, from, list, n);

    run_shares(&job, multiply_share, &job);
}

/* --- layers --- */

/* What half a layer makes, [R,D]: it is added to h where the next one begins. `post` is the
 * gain of its own norm, where the architecture has one. */
static void defer_residual(forward *f, float *made, const float *post)
{
    f->residual = made;
    f->post = post;
}

/* h += the residual that was deferred; x = norm of h, and its codes for the products of the
 * list. Without a gain x is left alone: after the last layer only rows whose logits are wanted
 * have a norm. */
static source residual_add_norm(forward *f, const float *gain, const product *list, int n)
{
    const source x = {f->x, f->rows, wants_codes(list, n)};

    over_rows((row_job){.f = f,
                        .T = f->rows,
                        .width = f->m->D,
                        .sum = f->residual,
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

    multiply(f, residual_add_norm(f, layer->attn_norm, qkv, 3), qkv, 3);
    model_finish_q(f->m, f->kern, l, f->q, f->rows);
    model_finish_kv(f->m, f->kern, l, f->k, f->v, f->rows);
    multiply(f, (source){f->heads, f->rows, attention_run(f, (int)l, wants_codes(&o, 1))}, &o,
             1);
    defer_residual(f, f->x, layer->attn_post);
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

/* The rows of x that expert e computes, to picked; returns how many. Gathered, they are one
 * product over all rows that chose it, and its weights are read once. */
static size_t pick_rows(forward *f, size_t e)
{
    const size_t D = f->m->D, used = f->m->used;
    size_t n = 0;

    for (size_t t = 0; t < f->rows; t++)
        for (size_t i = 0; i < used; i++) {
            const expert_share *s = &f->shares[t * used + i];

            if (s->expert != e) continue;
            memcpy(f->picked + n * D, f->x + t * D, D * sizeof *f->x);
            f->picks[n++] = (step_pick){t, s->weight};
        }
    return n;
}

/* mixed = sum over a row's experts of weight * ffn(x), in ascending order of experts: a row's
 * sum has one order whatever rows share the step (row purity). */
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
        multiply(f, residual_add_norm(f, layer->ffn_norm, &router, 1), &router, 1);
        run_experts(f, layer);
    } else {
        run_ffn(f, in, residual_add_norm(f, layer->ffn_norm, in, 2),
                &(product){&ffn->down, f->x});
    }
    defer_residual(f, f->m->X ? f->mixed : f->x, layer->ffn_post);
}

/* --- logits --- */

/* Where logits of a step go. */
typedef struct logits_job {
    multiply_job multiply; /* of the output matrix */
    float *const *out;     /* [T] */
} logits_job;

/* A share of the logits, capped, and brought by the core that has just made them. */
static void logits_share(void *arg, int i, int s)
{
    logits_job *job = arg;
    const forward *f = job->multiply.f;
    const size_t V = f->m->V, first = (size_t)i * job->multiply.share * KERN_PANEL,
                 left = V - first, most = job->multiply.share * KERN_PANEL,
                 n = left < most ? left : most;

    multiply_share(&job->multiply, i, s);
    for (size_t t = 0; t < job->multiply.in.T; t++) {
        float *y = f->logits + t * V + first;

        if (f->m->logit_cap > 0) f->kern->soft_cap(y, n, f->m->logit_cap);
        memcpy(job->out[t] + first, y, n * sizeof *y);
    }
}

/* The logits of the n rows gathered in x, to the places in out. */
static void flush_logits(forward *f, size_t n, float *const *out)
{
    const product logits = {&f->m->output, f->logits};
    logits_job job = {.out = out};

    if (!n) return;
    job.multiply = open_multiply(f, (source){f->x, n, false}, &logits, 1);
    run_shares(&job.multiply, logits_share, &job);
}

/* Of the rows that are wanted, in batches: callers' rows lie anywhere, and a vocabulary wide
 * buffer for every row of a step would be the largest of all. */
static void make_logits(forward *f)
{
    const model *m = f->m;
    float *out[STEP_LOGIT_ROWS];
    size_t n = 0;

    for (size_t i = 0; i < f->n_chunks; i++) {
        const forward_chunk *c = f->chunks[i].in;

        for (size_t w = 0; w < c->wanted; w++) {
            norm(f, f->h + (f->chunks[i].row + c->T - c->wanted + w) * m->D, m->output_norm,
                 f->x + n * m->D);
            out[n++] = c->logits + w * m->V;
            if (n < STEP_LOGIT_ROWS) continue;
            flush_logits(f, n, out);
            n = 0;
        }
    }
    flush_logits(f, n, out);
}

/* The chunks get their rows, in the caller's order; h = the embeddings of all of them. */
static void take(forward *f, const forward_chunk *chunks, size_t n)
{
    f->n_chunks = n;
    f->rows = 0;
    for (size_t i = 0; i < n; i++) {
        f->chunks[i] = (step_chunk){.in = &chunks[i], .row = f->rows};
        assert(f->rows + chunks[i].T <= f->max_rows);
        for (size_t t = 0; t < chunks[i].T; t++)
            model_embed(f->m, chunks[i].ids[t], f->h + f->rows++ * f->m->D);
    }
    assert(f->rows > 0);
}

bool forward_step_unless(forward *f, const forward_chunk *chunks, size_t n, forward_stop *stop,
                         void *arg)
{
    take(f, chunks, n);
    attention_plan(f);
    defer_residual(f, NULL, NULL); /* h is the embedding alone: nothing is to be added yet */
    for (size_t l = 0; l < f->m->L; l++) {
        if (stop && stop(arg)) return false;
        attention_layer(f, l);
        ffn_layer(f, l);
    }
    residual_add_norm(f, NULL, NULL, 0);
    make_logits(f);
    return true;
}

void forward_step(forward *f, const forward_chunk *chunks, size_t n)
{
    forward_step_unless(f, chunks, n, NULL, NULL);
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
