/* loop.c - predict, find what is left, code, and on to the next layer.
 *
 *    state [N,D]:  x^_0 = x_0
 *      layer l:    predictor_fit  state, x_l -> base (c, down, up), rounded
 *                  project        state = P state, left = x_l - (state + c)
 *                  spectrum_find  left, metric l -> components, variances; c += mean left
 *                  spectrum_pack  B and sigmas of those that count
 *                  code           state = x^_l, by the codec's own encoder; symbols are counted
 *
 * Everything is rounded as the plan stores it before it is used, so that the tokens of the next
 * layer meet the errors that a running model will have. */
#include "xcache/calibrate/loop.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/calibrate/algebra.h"
#include "xcache/calibrate/errors.h"
#include "xcache/calibrate/inputs.h"
#include "xcache/calibrate/predictor.h"
#include "xcache/calibrate/spectrum.h"
#include "xcache/codec/klt.h"
#include "xcache/codec/whiten.h"

enum {
    BLOCK = CACHE_BLOCK_TOKENS,
    TRIED = 12, /* one row of so many is not learned from */
    LOOKED = 16 /* rows whose attention is looked at: more say nothing new of it */
};

/* A component counts that is this share of a step or more; klt.c's share, and some room. */
static const double least_sigma = 0.2;

struct loop {
    reader_model r;
    inputs inputs;
    size_t most, tried; /* rows of the text: that can be learned from, that are only tried */
    size_t learned, N;  /* rows that a run learns from, and their tokens */
    size_t looked;      /* rows whose attention is looked at */
    size_t bytes;
    errors errors;
    float *x;       /* [N,D] exact inputs of the layer at work */
    float *state;   /* [N,D] decoded input of the layer before; then its prediction, ... */
    float *left;    /* [N,D] ... which leaves this */
    float *temp;    /* [slots] klt_temp_floats */
    census *counts; /* [slots] */
    float bias[PLAN_TABLES];
    algebra algebra;
    spectrum spectrum;
};

static size_t width(const loop *k)
{
    return k->r.m->D;
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

/* Tokens by width, three times: gigabytes of a wide model. */
static err take_text(loop *k)
{
    const size_t floats = k->inputs.N * width(k);

    if (!k->x) k->x = malloc(floats * sizeof *k->x);
    if (!k->state) k->state = malloc(floats * sizeof *k->state);
    if (!k->left) k->left = malloc(floats * sizeof *k->left);
    return k->x && k->state && k->left ? ERR_OK : ERR_NOMEM;
}

void loop_rest(loop *k)
{
    free(k->x);
    free(k->state);
    free(k->left);
    k->x = k->state = k->left = NULL;
}

static err take_memory(loop *k)
{
    const size_t D = width(k), slots = (size_t)k->r.team->slots;
    bool ok = take_text(k) == ERR_OK;

    k->bytes += 3 * k->inputs.N * D * sizeof(float);
    k->temp = take(k, slots * klt_temp_floats(BLOCK, D), sizeof *k->temp, &ok);
    k->counts = take(k, slots, sizeof *k->counts, &ok);
    k->spectrum.vectors = take(k, D * D, sizeof *k->spectrum.vectors, &ok);
    k->spectrum.values = take(k, D, sizeof *k->spectrum.values, &ok);
    TRY(algebra_open(&k->algebra, k->r.team, D));
    k->bytes += k->algebra.bytes;
    return ok ? ERR_OK : ERR_NOMEM;
}

void loop_close(loop *k)
{
    if (!k) return;
    inputs_close(&k->inputs);
    errors_close(&k->errors);
    loop_rest(k);
    free(k->temp);
    free(k->counts);
    free(k->spectrum.vectors);
    free(k->spectrum.values);
    algebra_close(&k->algebra);
    free(k);
}

size_t loop_bytes(const loop *k)
{
    return k->bytes + k->errors.bytes;
}

double loop_scale(const loop *k)
{
    return k->errors.scale;
}

void loop_set_bias(loop *k, const float *bias)
{
    memcpy(k->bias, bias, sizeof k->bias);
}

/* --- blocks of the closed loop, shared by the team --- */

typedef struct block_job {
    loop *k;
    const klt_layer *layer;
    const klt_coder *coder;
    size_t first, rows; /* of the text */
} block_job;

/* The place of task i among all blocks. */
static size_t block_at(const block_job *job, int i)
{
    return job->first * job->k->inputs.row_tokens / BLOCK + (size_t)i;
}

static klt_block block_of(const block_job *job, int i, int slot)
{
    const loop *k = job->k;
    const size_t D = width(k);

    return (klt_block){.coder = job->coder,
                       .rows = BLOCK,
                       .state = k->state + block_at(job, i) * BLOCK * D,
                       .temp = k->temp + (size_t)slot * klt_temp_floats(BLOCK, D)};
}

static void project_block(void *arg, int i, int slot)
{
    const block_job *job = arg;
    const size_t D = width(job->k), at = block_at(job, i) * BLOCK * D;
    const klt_block b = block_of(job, i, slot);
    const float *x = job->k->x + at;
    float *left = job->k->left + at;

    klt_project(job->layer, &b);
    /* in floats: what is left has to be what the codec will find */
    for (size_t t = 0; t < BLOCK * D; t += D)
        for (size_t j = 0; j < D; j++)
            left[t + j] = x[t + j] - (b.state[t + j] + job->layer->c[j]);
}

/* From a prediction to what is decoded, counting what that takes. */
static void code_block(void *arg, int i, int slot)
{
    const block_job *job = arg;
    const klt_layer *l = job->layer;
    const float *x = job->k->x + block_at(job, i) * BLOCK * width(job->k);
    klt_block b = block_of(job, i, slot);
    kern_classes classes;

    klt_weigh(l, &b, x);
    klt_transform(l, &b, x);
    klt_quantize(l, &b, 0);
    classes = klt_classes(l, &b);
    census_add(&job->k->counts[slot], &classes, klt_codes(l, &b), klt_components(&b), b.inverse,
               0);
    klt_add(l, &b);
}

static void try_block(void *arg, int i, int slot)
{
    const block_job *job = arg;
    const klt_block b = block_of(job, i, slot);

    klt_project(job->layer, &b);
    code_block(arg, i, slot);
}

/* What slots counted, into *out. */
static void gather_counts(loop *k, census *out)
{
    *out = (census){0};
    for (int s = 0; s < k->r.team->slots; s++) census_merge(out, &k->counts[s]);
    memset(k->counts, 0, (size_t)k->r.team->slots * sizeof *k->counts);
}

/* Run a task over the blocks of some rows, with a layer as its bytes are: opened for each run,
 * so that it goes through the same rounding as when a plan is read. */
static err run_blocks(loop *k, team_task *task, size_t l, const plan_layer *from,
                      const klt_coder *coder, bool tried)
{
    klt_layer layer;
    block_job job = {.k = k,
                     .layer = &layer,
                     .coder = coder,
                     .first = tried ? k->inputs.rows - k->tried : 0,
                     .rows = tried ? k->tried : k->learned};

    TRY(klt_open(&layer, k->r.kern, k->r.m, l, from, (double)coder->step));
    k->r.team->run(k->r.team, task, &job, (int)(job.rows * k->inputs.row_tokens / BLOCK));
    klt_close(&layer);
    return ERR_OK;
}

/* --- layers --- */

/* Lay out a layer without components and predictor. */
static err begin_layer(loop *k, draft *d, size_t l, plan_layer *out)
{
    const model *m = k->r.m;
    void *bytes = calloc(1, plan_layer_bytes(&d->about, 0));
    plan_layer empty;
    err e;

    if (!bytes) return ERR_NOMEM;
    empty = plan_lay_out(bytes, &d->about, 0);
    memset(empty.diagonal, 0, m->D * sizeof *empty.diagonal);
    memcpy(empty.salience, errors_salience(&k->errors, l), (m->D + 1) * sizeof(float));
    *empty.floor = (float)k->errors.floors[l];
    plan_pack_form(m->C, errors_form(&k->errors, l), &empty.form);
    e = draft_add(d, l, &empty, 0, out);
    free(bytes);
    return e;
}

/* Predictor and spectrum of layer l; the state becomes what it predicts, but for c. */
static err find_layer(loop *k, size_t l, const klt_coder *coder, plan_layer *base)
{
    const metric m = errors_metric(&k->errors, l);
    const double *mean = k->algebra.values;
    double *weight = k->algebra.spare[3];
    const plan_kind kind = base->up.rows ? PLAN_RANK : base->down.rows ? PLAN_FULL : PLAN_NONE;

    if (kind == PLAN_RANK) errors_weight(&k->errors, k->r.team, l, k->algebra.spare[4], weight);
    TRY(predictor_fit(&k->algebra, weight, kind, k->state, k->x, k->N, base));
    TRY(run_blocks(k, project_block, l, base, coder, false));
    TRY(spectrum_find(&k->algebra, &m, k->left, k->N, &k->spectrum));
    /* the mean of what is left moves into c: components are of a zero mean, as a dead zone
     * wants */
    for (size_t i = 0; i < width(k); i++) base->c[i] = (float)(base->c[i] + mean[i]);
    return ERR_OK;
}

/* With R of the form as it is stored, which a reader of the plan will have. */
static err pack_basis(loop *k, size_t l, const metric *m, plan_layer *out)
{
    const model *of = k->r.m;
    const size_t numbers = 2 * of->E * (of->D + of->C);
    double *r = k->algebra.spare[4];
    float *w = malloc(numbers * sizeof *w), *form;
    err e;

    if (!w) return ERR_NOMEM;
    form = w + 2 * of->E * of->D;
    model_read_kv(of->layers[l].k_file, w);
    model_read_kv(of->layers[l].v_file, w + of->E * of->D);
    plan_unpack_form(k->r.kern, of->C, &out->form, form);
    e = whiten_find(&(whiten_form){of->D, of->E, of->C, w, form, (double)*out->floor}, r);
    if (e == ERR_OK) spectrum_pack(&k->algebra, m, r, &k->spectrum, out);
    free(w);
    return e;
}

static err run_layer(loop *k, draft *d, size_t l, const klt_coder *coder, double spare)
{
    const metric m = errors_metric(&k->errors, l);
    plan_layer base, out;
    void *bytes;
    size_t n;
    err e;

    TRY(begin_layer(k, d, l, &base));
    TRY(find_layer(k, l, coder, &base));
    /* K and V span 2E directions: what is left of others is there for the floor alone */
    n = spectrum_count(&k->spectrum, width(k) < 2 * k->r.m->E ? width(k) : 2 * k->r.m->E,
                       least_sigma * (double)coder->step * exp2(-spare));
    /* draft_add frees what base lies in */
    bytes = d->layers[l];
    d->layers[l] = NULL;
    e = draft_add(d, l, &base, n, &out);
    free(bytes);
    TRY(e);
    TRY(pack_basis(k, l, &m, &out));
    return run_blocks(k, code_block, l, &out, coder, false);
}

/* A coder without tables: symbols are counted here, not written. */
static klt_coder coder_at(const loop *k, double log2_step)
{
    klt_coder c = {.kern = k->r.kern, .step = (float)exp2(log2_step)};

    memcpy(c.bias, k->bias, sizeof c.bias);
    klt_set_prices(&c.prices);
    return c;
}

static void read_learned(loop *k, size_t l, float *to)
{
    inputs_read_rows(&k->inputs, l, 0, k->learned, to);
}

static void read_tried(loop *k, size_t l, float *to)
{
    inputs_read_rows(&k->inputs, l, k->inputs.rows - k->tried, k->tried, to);
}

static void forget_counts(loop *k)
{
    memset(k->counts, 0, (size_t)k->r.team->slots * sizeof *k->counts);
}

err loop_run(loop *k, draft *d, double log2_step, double spare, bool half, census *by_layer,
             const stage *p)
{
    const size_t L = k->r.m->L;
    const klt_coder coder = coder_at(k, log2_step);

    TRY(take_text(k));
    k->learned = half ? (k->most + 1) / 2 : k->most;
    k->N = k->learned * k->inputs.row_tokens;
    read_learned(k, 0, k->state); /* x^_0 = x_0 */
    forget_counts(k);
    by_layer[0] = (census){0};
    for (size_t l = 1; l < L; l++) {
        read_learned(k, l, k->x);
        TRY(run_layer(k, d, l, &coder, spare));
        gather_counts(k, &by_layer[l]);
        stage_tell(p, (double)l / (double)(L - 1));
    }
    return inputs_check(&k->inputs);
}

err loop_try(loop *k, const draft *d, double log2_step, census *by_layer, const stage *p)
{
    const size_t L = k->r.m->L;
    const klt_coder coder = coder_at(k, log2_step);

    TRY(take_text(k));
    read_tried(k, 0, k->state);
    forget_counts(k);
    by_layer[0] = (census){0};
    for (size_t l = 1; l < L; l++) {
        const plan_layer layer = draft_layer(d, l);

        read_tried(k, l, k->x);
        TRY(run_blocks(k, try_block, l, &layer, &coder, true));
        gather_counts(k, &by_layer[l]);
        stage_tell(p, (double)l / (double)(L - 1));
    }
    return inputs_check(&k->inputs);
}

/* --- opening --- */

static err open_all(loop *k, const reader_text *learn, const stage *p)
{
    const stage read = stage_part(p, 0, 0.35), rest = stage_part(p, 0.35, 0.65);
    static const census nothing; /* what is expected before anything was counted */
    uint16_t frequency[PLAN_TABLES][PLAN_SYMBOLS];

    TRY(inputs_open(&k->inputs, &k->r, learn, &read));
    k->tried = learn->rows < TRIED ? 1 : learn->rows / TRIED;
    k->most = learn->rows > k->tried ? learn->rows - k->tried : learn->rows;
    k->learned = k->most;
    k->N = k->most * learn->row_tokens;
    k->looked = learn->rows < LOOKED ? learn->rows : LOOKED;
    TRY(take_memory(k));
    census_tables(&nothing, frequency, k->bias);
    return errors_open(&k->errors, &k->r, &k->inputs, k->looked, learn->ids, &k->algebra, k->x,
                       &rest);
}

err loop_open(loop **out, const reader_model *r, const reader_text *learn, const stage *p)
{
    loop *k = calloc(1, sizeof *k);
    err e;

    assert(learn->row_tokens % BLOCK == 0);
    if (!k) return ERR_NOMEM;
    k->r = *r;
    e = open_all(k, learn, p);
    if (e != ERR_OK) {
        loop_close(k);
        return e;
    }
    stage_tell(p, 1);
    *out = k;
    return ERR_OK;
}
