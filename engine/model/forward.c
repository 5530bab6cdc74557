/* forward.c - the network, one function a layer, top to bottom.
 *
 *   h [R,D]  the residual stream         | = a barrier of the team
 *
 *   run_attention   h += residual; x = norm h; codes of x   |  over rows
 *                   q, k, v = x Wq, x Wk, x Wv              |  over panels, all three at once
 *                   heads = softmax(q K^T) V                |  over chunks or blocks
 *                   residual = heads Wo                     |  over panels
 *   layer_network   h += residual; x = norm h; codes of x   |  over rows
 *                   gate, up = x Wgate, x Wup               |  over panels, both at once
 *                   gate = silu(gate) * up; codes of gate   |  over rows
 *                   residual = gate Wdown                   |  over panels
 *
 * Where a network stands beside attention, it reads the same x, and both residuals wait.
 * product.c has products and passes over rows, layer.c what follows q, k and v, ffn.c networks
 * and experts, attention.c what lies between q, k, v and heads. */
#include "engine/model/forward.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/attention.h"
#include "engine/model/layer.h"
#include "engine/model/product.h"
#include "engine/model/step.h"

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

void forward_hear(forward *f, forward_hearer *hearer, void *arg)
{
    f->hearer = hearer;
    f->hearer_arg = arg;
}

/* --- layers --- */

/* Wo attention(norm h), deferred. */
static void run_attention(forward *f, size_t l)
{
    const model_layer *layer = &f->m->layers[l];
    const product qkv[] = {{&layer->q, f->q}, {&layer->k, f->k}, {&layer->v, f->v}};

    product_run(f, product_add_norm(f, &layer->attn_norm, qkv, 3), qkv, 3);
    model_finish_q(f->m, f->kern, l, f->q, f->rows);
    model_finish_kv(f->m, f->kern, l, f->k, f->v, f->rows);
    layer_attend(f, l);
}

/* --- logits --- */

/* A row whose logits are made: copied to a caller's place, shown to its chunk, or both. */
typedef struct logits_row {
    float *out; /* [V]; or NULL */
    const forward_chunk *chunk;
    size_t row; /* in it */
} logits_row;

/* Where logits of a step go. */
typedef struct logits_job {
    product_job multiply;   /* of the output matrix */
    const logits_row *rows; /* [T] */
} logits_job;

/* A share of the logits, capped, and brought by the core that has just made them. */
static void logits_share(void *arg, int i, int s)
{
    logits_job *job = arg;
    const forward *f = job->multiply.f;
    const size_t V = f->m->V, first = (size_t)i * job->multiply.share * KERN_PANEL,
                 left = V - first, most = job->multiply.share * KERN_PANEL,
                 n = left < most ? left : most;

    product_share(&job->multiply, i, s);
    for (size_t t = 0; t < job->multiply.in.T; t++) {
        float *y = f->logits + t * V + first;
        const float *bias = f->m->output_bias;

        for (size_t j = 0; bias && j < n; j++) y[j] += bias[first + j];
        if (f->m->logit_cap > 0) f->kern->soft_cap(y, n, f->m->logit_cap);
        if (job->rows[t].out) memcpy(job->rows[t].out + first, y, n * sizeof *y);
    }
}

static void show_row(void *arg, int i, int s)
{
    logits_job *job = arg;
    const forward *f = job->multiply.f;
    const logits_row *r = &job->rows[i];

    (void)s;
    if (r->chunk->see) r->chunk->see(r->chunk->user, r->row, f->logits + (size_t)i * f->m->V);
}

/* The logits of the n rows gathered in x, to the places in rows, and shown. */
static void flush_logits(forward *f, size_t n, const logits_row *rows)
{
    const product logits = {&f->m->output, f->logits};
    logits_job job = {.rows = rows};
    bool shown = false;

    if (!n) return;
    for (size_t i = 0; i < n; i++) shown |= rows[i].chunk->see != NULL;
    job.multiply = product_open(f, (product_source){f->x, n, false}, &logits, 1);
    product_run_shares(&job.multiply, logits_share, &job);
    if (shown) f->team->run(f->team, show_row, &job, (int)n);
}

/* Of the rows that are wanted or seen, in batches: callers' rows lie anywhere, and a vocabulary
 * wide buffer for every row of a step would be the largest of all. */
static void make_logits(forward *f)
{
    const model *m = f->m;
    logits_row rows[STEP_LOGIT_ROWS];
    size_t n = 0;

    for (size_t i = 0; i < f->n_chunks; i++) {
        const forward_chunk *c = f->chunks[i].in;
        const size_t first = c->T - c->wanted; /* that is wanted */

        for (size_t w = c->see ? 0 : first; w < c->T; w++) {
            const float *h = f->h + (f->chunks[i].row + w) * m->D;
            float *out = w >= first ? c->logits + (w - first) * m->V : NULL;

            model_norm_row(m, f->kern, &m->output_norm, h, f->x + n * m->D);
            rows[n++] = (logits_row){out, c, w};
            if (n < STEP_LOGIT_ROWS) continue;
            flush_logits(f, n, rows);
            n = 0;
        }
    }
    flush_logits(f, n, rows);
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
    f->n_deferred = 0; /* h is the embedding alone: nothing is to be added yet */
    for (size_t l = 0; l < f->m->L; l++) {
        if (stop && stop(arg)) return false;
        run_attention(f, l);
        layer_network(f, l);
    }
    product_add_norm(f, NULL, NULL, 0);
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
