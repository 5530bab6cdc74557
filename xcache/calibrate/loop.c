/* loop.c - predict, find what is left, code, and on to the next layer.
 *
 *    state [N,D]:  x^_0 = x_0
 *      layer l:    predictor_fit  state, x_l -> base (c, down, up), rounded
 *                  project        state = P state, left = x_l - (state + c)
 *                  spectrum_find  left, metric l -> components, variances; c += mean left
 *                  spectrum_bits  theta -> bits; the draft stops beyond its budget
 *                  code           state = x^_l, by the codec's own encoder
 *
 * Everything is rounded as the plan stores it before it is used, so that the tokens of the next
 * layer meet the errors that a running model will have. */
#include "xcache/calibrate/loop.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/calibrate/algebra.h"
#include "xcache/calibrate/metric.h"
#include "xcache/calibrate/predictor.h"
#include "xcache/calibrate/spectrum.h"
#include "xcache/codec/remat.h"

enum { BLOCK = CACHE_BLOCK_TOKENS };

/* What was found out about one layer: all but the bits. */
typedef struct finding {
    void *bytes;
    plan_layer base; /* the predictor in bytes; no components */
    spectrum spectrum;
} finding;

struct loop {
    reader_model r;
    size_t N; /* tokens */
    size_t bytes;
    float *x;         /* [L,N,D] exact layer inputs */
    double *metrics;  /* [L,2,D,D] A and its inverse; layer 0 unused */
    float *state;     /* [N,D] decoded input of the layer before; then its prediction, ... */
    float *left;      /* [N,D] ... which leaves this */
    float *temp;      /* [slots,2,BLOCK,D] */
    uint8_t *codes;   /* [slots,BLOCK*D] */
    uint16_t *scales; /* [slots,BLOCK] */
    klt_books books;
    algebra algebra;
    plan_predictor predictor; /* of the findings */
    finding first, later;     /* layer 1, the same for every theta; and the one at work */
    bool first_known;
};

static size_t width(const loop *k)
{
    return k->r.m->D;
}

static metric metric_of(const loop *k, size_t l)
{
    const size_t square = width(k) * width(k);
    double *a = k->metrics + 2 * l * square;

    return (metric){a, a + square};
}

static const float *inputs_of(const loop *k, size_t l)
{
    return k->x + l * k->N * width(k);
}

/* --- memory --- */

/* Goes on after a failure: one check and one close do for all. */
static void *take(loop *k, size_t n, size_t size, bool *ok)
{
    void *p = malloc(n * size);

    k->bytes += n * size;
    if (!p) *ok = false;
    return p;
}

static void take_spectrum(loop *k, spectrum *s, bool *ok)
{
    s->vectors = take(k, width(k) * width(k), sizeof *s->vectors, ok);
    s->values = take(k, width(k), sizeof *s->values, ok);
}

static err take_memory(loop *k)
{
    const size_t D = width(k), L = k->r.m->L, slots = (size_t)k->r.team->slots;
    bool ok = true;

    k->x = take(k, L * k->N * D, sizeof *k->x, &ok);
    k->metrics = take(k, 2 * L * D * D, sizeof *k->metrics, &ok);
    k->state = take(k, k->N * D, sizeof *k->state, &ok);
    k->left = take(k, k->N * D, sizeof *k->left, &ok);
    k->temp = take(k, slots * 2 * BLOCK * D, sizeof *k->temp, &ok);
    k->codes = take(k, slots * BLOCK * D, sizeof *k->codes, &ok);
    k->scales = take(k, slots * BLOCK, sizeof *k->scales, &ok);
    take_spectrum(k, &k->first.spectrum, &ok);
    take_spectrum(k, &k->later.spectrum, &ok);
    TRY(algebra_open(&k->algebra, k->r.team, D));
    k->bytes += k->algebra.bytes;
    return ok ? ERR_OK : ERR_NOMEM;
}

static void free_finding(finding *f)
{
    free(f->bytes);
    free(f->spectrum.vectors);
    free(f->spectrum.values);
}

void loop_close(loop *k)
{
    if (!k) return;
    free(k->x);
    free(k->metrics);
    free(k->state);
    free(k->left);
    free(k->temp);
    free(k->codes);
    free(k->scales);
    free_finding(&k->first);
    free_finding(&k->later);
    algebra_close(&k->algebra);
    free(k);
}

size_t loop_bytes(const loop *k)
{
    return k->bytes;
}

static err lay_out_base(const loop *k, finding *f, plan_predictor r)
{
    free(f->bytes);
    f->bytes = calloc(1, plan_layer_bytes(width(k), r, 0));
    if (!f->bytes) return ERR_NOMEM;
    f->base = plan_lay_out(f->bytes, width(k), r, 0);
    return ERR_OK;
}

err loop_choose_predictor(loop *k, plan_predictor r)
{
    assert(r.kind != PLAN_RANK || (r.rank >= 1 && r.rank <= width(k)));
    /* what was found of layer 1 holds for one form of predictor only */
    if (k->first.bytes && k->later.bytes && r.kind == k->predictor.kind &&
        r.rank == k->predictor.rank)
        return ERR_OK;
    k->first_known = false;
    k->predictor = r;
    TRY(lay_out_base(k, &k->first, r));
    return lay_out_base(k, &k->later, r);
}

/* --- blocks of the closed loop, shared by the team --- */

typedef struct block_job {
    loop *k;
    const klt_layer *layer;
    const float *x; /* [N,D] of the layer */
} block_job;

static klt_block block_of(const block_job *job, int i, int slot)
{
    const loop *k = job->k;
    const size_t D = width(k), one = BLOCK * D;

    return (klt_block){.kern = k->r.kern,
                       .books = &k->books,
                       .rows = BLOCK,
                       .state = k->state + (size_t)i * one,
                       .temp = k->temp + (size_t)slot * 2 * one,
                       .codes = k->codes + (size_t)slot * one,
                       .scale = k->scales + (size_t)slot * BLOCK};
}

static void project_block(void *arg, int i, int slot)
{
    const block_job *job = arg;
    const size_t D = width(job->k), at = (size_t)i * BLOCK * D;
    const klt_block b = block_of(job, i, slot);
    const float *x = job->x + at;
    float *left = job->k->left + at;

    klt_project(job->layer, &b);
    /* in floats: what is left has to be what the codec will find */
    for (size_t t = 0; t < BLOCK * D; t += D)
        for (size_t j = 0; j < D; j++)
            left[t + j] = x[t + j] - (b.state[t + j] + job->layer->c[j]);
}

static void code_block(void *arg, int i, int slot)
{
    const block_job *job = arg;
    const klt_block b = block_of(job, i, slot);

    klt_code(job->layer, &b, job->x + (size_t)i * BLOCK * width(job->k));
}

/* Run a task over all blocks, with a layer as its bytes are. */
/* Opened for each run, from bytes: the same rounding that a plan's layer goes through when it
 * is read. */
static err run_blocks(loop *k, team_task *task, size_t l, const plan_layer *from)
{
    klt_layer layer;
    block_job job = {k, &layer, inputs_of(k, l)};

    TRY(klt_open(&layer, k->r.kern, width(k), from));
    k->r.team->run(k->r.team, task, &job, (int)(k->N / BLOCK));
    klt_close(&layer);
    return ERR_OK;
}

/* --- layers --- */

/* Predictor and spectrum of layer l; the state becomes what it predicts, but for c. */
static err find_layer(loop *k, size_t l, finding *f)
{
    const metric m = metric_of(k, l);
    const double *mean = k->algebra.values;

    TRY(predictor_fit(&k->algebra, &m, k->predictor.kind, k->state, inputs_of(k, l), k->N,
                      &f->base));
    TRY(run_blocks(k, project_block, l, &f->base));
    TRY(spectrum_find(&k->algebra, &m, k->left, k->N, &f->spectrum));
    /* the mean of what is left moves into c: components are of a zero mean, as Lloyd-Max levels
     * want */
    for (size_t i = 0; i < width(k); i++) f->base.c[i] = (float)(f->base.c[i] + mean[i]);
    return ERR_OK;
}

/* Layer 1 follows x_0, which no theta has touched: it is found once. */
static err find_first(loop *k)
{
    if (k->first_known) return run_blocks(k, project_block, 1, &k->first.base);
    TRY(find_layer(k, 1, &k->first));
    k->first_known = true;
    return ERR_OK;
}

/* Give layer l of the draft its components; code the tokens with it, if a layer follows. */
static err finish_layer(loop *k, draft *d, size_t l, const finding *f)
{
    const metric m = metric_of(k, l);
    plan_layer out;
    size_t n = 0;

    /* bits never rise with the index, so the first without any ends the layer */
    while (n < width(k) && spectrum_bits(&f->spectrum, &k->books, n, d->theta)) n++;
    TRY(draft_add(d, l, &f->base, n, &out));
    for (size_t i = 0; i < n; i++) {
        out.bits[i] = (uint8_t)spectrum_bits(&f->spectrum, &k->books, i, d->theta);
        d->code_bits += out.bits[i];
    }
    /* beyond the budget: bisection wants to know no more, and the rest of the pass is saved */
    if (!draft_fits(d)) return ERR_OK;
    spectrum_pack(&k->algebra, &m, &f->spectrum, &out);
    return l + 1 < k->r.m->L ? run_blocks(k, code_block, l, &out) : ERR_OK;
}

err loop_run(loop *k, draft *d, double theta, const stage *p)
{
    const size_t L = k->r.m->L;

    draft_restart(d, theta);
    memcpy(k->state, k->x, k->N * width(k) * sizeof *k->state); /* x^_0 = x_0 */
    for (size_t l = 1; l < L && draft_fits(d); l++) {
        finding *f = l == 1 ? &k->first : &k->later;

        TRY(l == 1 ? find_first(k) : find_layer(k, l, f));
        TRY(finish_layer(k, d, l, f));
        stage_tell(p, (double)l / (double)(L - 1));
    }
    return ERR_OK;
}

/* --- opening --- */

static err find_metrics(loop *k, const stage *p)
{
    const size_t L = k->r.m->L, E = k->r.m->E, one = E * width(k);
    /* all layers' at once, for one reading of the file; freed before the passes */
    float *weights = remat_weights(k->r.m);
    err e = weights ? ERR_OK : ERR_NOMEM;

    for (size_t l = 1; e == ERR_OK && l < L; l++) {
        const float *w = weights + 2 * l * one;
        const metric out = metric_of(k, l);

        e = metric_find(&k->algebra, &(metric_layer){inputs_of(k, l), k->N, w, w + one, E},
                        &out);
        stage_tell(p, (double)l / (double)(L - 1));
    }
    free(weights);
    return e;
}

static err open_all(loop *k, const reader_text *learn, const stage *p)
{
    const stage read = stage_part(p, 0, 0.9), rest = stage_part(p, 0.9, 0.1);

    TRY(take_memory(k));
    klt_make_books(&k->books);
    TRY(reader_record(&k->r, learn, &read, k->x));
    return find_metrics(k, &rest);
}

err loop_open(loop **out, const reader_model *r, const reader_text *learn, const stage *p)
{
    loop *k = calloc(1, sizeof *k);
    err e;

    assert(learn->row_tokens % BLOCK == 0);
    if (!k) return ERR_NOMEM;
    k->r = *r;
    k->N = learn->rows * learn->row_tokens;
    e = open_all(k, learn, p);
    if (e != ERR_OK) {
        loop_close(k);
        return e;
    }
    *out = k;
    return ERR_OK;
}
