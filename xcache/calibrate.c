/* calibrate.c - from layer inputs to a plan, one theta after the other. */
#include "xcache/calibrate.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/dense.h"
#include "xcache/klt.h"
#include "xcache/remat.h"

enum { BLOCK = CACHE_BLOCK_TOKENS, CHUNK = 1024, WORKS = 5, BISECTIONS = 9 };
enum { RATIOS = 2 * (PLAN_RATIO_MAX - PLAN_RATIO_MIN) + 1, SEARCHES = 7 };

static const double least_eigenvalue = 1e-6; /* of a metric, as a share of its largest */
static const double least_variance = 1e-12;
static const double ridge = 1e-4; /* as a share of the mean of the diagonal */
static const double theta_least = -6, theta_most = 1; /* powers of ten */

struct calibration {
    reader_model r;
    reader_text held;
    plan_hash hash;
    size_t N; /* tokens */
    size_t bytes;
    float *x;            /* [L,N,D] exact layer inputs */
    double *metric;      /* [L,2,D,D] A and its inverse; layer 0 unused */
    float *state;        /* [N,D] decoded input of the layer before */
    float *left;         /* [N,D] what prediction leaves */
    float *temp;         /* [slots,2,BLOCK,D] */
    uint8_t *codes;      /* [slots,BLOCK*D] */
    uint16_t *scales;    /* [slots,BLOCK] */
    double *rows;        /* [CHUNK,D+1] */
    double *targets;     /* [CHUNK,D] */
    double *values;      /* [D] */
    double *work[WORKS]; /* [D+1,D+1] each */
    klt_books books;
};

/* A plan that grows layer by layer. */
typedef struct draft {
    plan_predictor predictor;
    double theta;
    size_t code_bits, budget;
    size_t *n;     /* [L] */
    void **layers; /* [L] owned */
} draft;

static size_t width(const calibration *c)
{
    return c->r.m->D;
}

static const double *metric_of(const calibration *c, size_t l)
{
    return c->metric + 2 * l * width(c) * width(c);
}

static const double *inverse_of(const calibration *c, size_t l)
{
    return metric_of(c, l) + width(c) * width(c);
}

/* --- memory --- */

static void *take(calibration *c, size_t n, size_t size, bool *ok)
{
    void *p = malloc(n * size);

    c->bytes += n * size;
    if (!p) *ok = false;
    return p;
}

static err take_memory(calibration *c)
{
    const size_t D = width(c), L = c->r.m->L, slots = (size_t)c->r.team->slots;
    bool ok = true;

    c->x = take(c, L * c->N * D, sizeof *c->x, &ok);
    c->metric = take(c, 2 * L * D * D, sizeof *c->metric, &ok);
    c->state = take(c, c->N * D, sizeof *c->state, &ok);
    c->left = take(c, c->N * D, sizeof *c->left, &ok);
    c->temp = take(c, slots * 2 * BLOCK * D, sizeof *c->temp, &ok);
    c->codes = take(c, slots * BLOCK * D, sizeof *c->codes, &ok);
    c->scales = take(c, slots * BLOCK, sizeof *c->scales, &ok);
    c->rows = take(c, CHUNK * (D + 1), sizeof *c->rows, &ok);
    c->targets = take(c, CHUNK * D, sizeof *c->targets, &ok);
    c->values = take(c, D, sizeof *c->values, &ok);
    for (int i = 0; i < WORKS; i++)
        c->work[i] = take(c, (D + 1) * (D + 1), sizeof *c->work[i], &ok);
    return ok ? ERR_OK : ERR_NOMEM;
}

void calibrate_close(calibration *c)
{
    if (!c) return;
    free(c->x);
    free(c->metric);
    free(c->state);
    free(c->left);
    free(c->temp);
    free(c->codes);
    free(c->scales);
    free(c->rows);
    free(c->targets);
    free(c->values);
    for (int i = 0; i < WORKS; i++) free(c->work[i]);
    free(c);
}

size_t calibrate_bytes(const calibration *c)
{
    return c->bytes;
}

/* --- sums over tokens --- */

/* out [D,D] = sum over tokens of (x - mean)(x - mean)^T, x [N,D]; mean [D] is left in
 * c->values. */
static void scatter(calibration *c, const float *x, double *out)
{
    const size_t D = width(c);
    double *mean = c->values;

    memset(mean, 0, D * sizeof *mean);
    memset(out, 0, D * D * sizeof *out);
    for (size_t t = 0; t < c->N; t++)
        for (size_t i = 0; i < D; i++) mean[i] += x[t * D + i];
    for (size_t i = 0; i < D; i++) mean[i] /= (double)c->N;
    for (size_t at = 0; at < c->N; at += CHUNK) {
        const size_t n = c->N - at < CHUNK ? c->N - at : CHUNK;

        for (size_t t = 0; t < n; t++)
            for (size_t i = 0; i < D; i++)
                c->targets[t * D + i] = x[(at + t) * D + i] - mean[i];
        dense_add_gram(c->r.team, c->targets, D, n, out);
    }
    dense_mirror(out, D);
}

/* gram [D+1,D+1] of rows [state, 1], and cross [D,D+1] of x - state with them. */
static void correlate(calibration *c, const float *x, double *gram, double *cross)
{
    const size_t D = width(c);

    memset(gram, 0, (D + 1) * (D + 1) * sizeof *gram);
    memset(cross, 0, D * (D + 1) * sizeof *cross);
    for (size_t at = 0; at < c->N; at += CHUNK) {
        const size_t n = c->N - at < CHUNK ? c->N - at : CHUNK;

        for (size_t t = 0; t < n; t++) {
            const float *state = c->state + (at + t) * D, *target = x + (at + t) * D;

            for (size_t i = 0; i < D; i++) {
                c->rows[t * (D + 1) + i] = state[i];
                c->targets[t * D + i] = (double)target[i] - state[i];
            }
            c->rows[t * (D + 1) + D] = 1;
        }
        dense_add_gram(c->r.team, c->rows, D + 1, n, gram);
        dense_add_products(c->r.team, c->targets, D, c->rows, D + 1, n, cross);
    }
    dense_mirror(gram, D + 1);
}

/* out = a s a for symmetric a and s [D,D]; temp [D,D]. */
static void surround(calibration *c, const double *a, const double *s, double *temp,
                     double *out)
{
    const size_t D = width(c), bytes = D * D * sizeof *out;

    memset(temp, 0, bytes);
    dense_add_products(c->r.team, s, D, a, D, D, temp);
    memset(out, 0, bytes);
    dense_add_products(c->r.team, a, D, temp, D, D, out);
}

/* --- metric --- */

/* metric += W^T W / v, v the mean variance of the channels of x W^T = <cov, W^T W> / E. */
static void add_metric(calibration *c, const float *w, const double *scattered, double *metric)
{
    const size_t D = width(c), E = c->r.m->E;
    double *product = c->work[2], variance = 0;

    memset(product, 0, D * D * sizeof *product);
    for (size_t at = 0; at < E; at += CHUNK) {
        const size_t n = E - at < CHUNK ? E - at : CHUNK;

        for (size_t i = 0; i < n * D; i++) c->targets[i] = w[at * D + i];
        dense_add_gram(c->r.team, c->targets, D, n, product);
    }
    dense_mirror(product, D);
    for (size_t i = 0; i < D * D; i++) variance += scattered[i] * product[i];
    variance /= (double)(c->N - 1) * (double)E;
    for (size_t i = 0; i < D * D; i++) metric[i] += product[i] / variance;
}

/* out [D,D] = sum over eigenpairs of values^power v v^T; vectors are the rows of v. */
static void rebuild(calibration *c, const double *v, double power, double *out)
{
    const size_t D = width(c);
    double *scaled = c->work[2];

    for (size_t i = 0; i < D; i++) {
        const double s = pow(c->values[i], power);

        for (size_t j = 0; j < D; j++) scaled[i * D + j] = s * v[i * D + j];
    }
    memset(out, 0, D * D * sizeof *out);
    dense_add_products(c->r.team, v, D, scaled, D, D, out);
}

static err find_metric(calibration *c, size_t l, const float *weights)
{
    const size_t D = width(c), E = c->r.m->E;
    double *scattered = c->work[0], *metric = c->work[1];
    double *a = c->metric + 2 * l * D * D;

    scatter(c, c->x + l * c->N * D, scattered);
    memset(metric, 0, D * D * sizeof *metric);
    add_metric(c, weights + 2 * l * E * D, scattered, metric);
    add_metric(c, weights + (2 * l + 1) * E * D, scattered, metric);
    TRY(dense_eigen(metric, D, c->values));
    for (size_t i = 0; i < D; i++)
        c->values[i] = fmax(c->values[i], least_eigenvalue * c->values[0]);
    rebuild(c, metric, 0.5, a);
    rebuild(c, metric, -0.5, a + D * D);
    return ERR_OK;
}

static err find_metrics(calibration *c, const stage *p)
{
    const size_t L = c->r.m->L;
    float *weights = remat_weights(c->r.m);
    err e = weights ? ERR_OK : ERR_NOMEM;

    for (size_t l = 1; e == ERR_OK && l < L; l++) {
        e = find_metric(c, l, weights);
        stage_tell(p, (double)l / (double)(L - 1));
    }
    free(weights);
    return e;
}

/* --- blocks of the closed loop, shared by the team --- */

typedef struct block_job {
    calibration *c;
    const klt_layer *layer;
    const float *x; /* [N,D] of the layer */
} block_job;

static klt_block block_of(const block_job *job, int i, int slot)
{
    const calibration *c = job->c;
    const size_t D = width(c), one = BLOCK * D;

    return (klt_block){.kern = c->r.kern,
                       .books = &c->books,
                       .rows = BLOCK,
                       .state = c->state + (size_t)i * one,
                       .temp = c->temp + (size_t)slot * 2 * one,
                       .codes = c->codes + (size_t)slot * one,
                       .scale = c->scales + (size_t)slot * BLOCK};
}

static void predict_block(void *arg, int i, int slot)
{
    const block_job *job = arg;
    const size_t n = BLOCK * width(job->c), at = (size_t)i * n;
    klt_block b = block_of(job, i, slot);

    b.state = job->c->left + at;
    memcpy(b.state, job->c->state + at, n * sizeof *b.state);
    klt_predict(job->layer, &b);
    for (size_t j = 0; j < n; j++) b.state[j] = job->x[at + j] - b.state[j];
}

static void code_block(void *arg, int i, int slot)
{
    const block_job *job = arg;
    const klt_block b = block_of(job, i, slot);

    klt_encode(job->layer, &b, job->x + (size_t)i * BLOCK * width(job->c));
}

/* Run a task over all blocks, with a layer of the draft as its bytes are. */
static err run_blocks(calibration *c, team_task *task, size_t l, const plan_layer *from)
{
    klt_layer layer;
    block_job job = {c, &layer, c->x + l * c->N * width(c)};

    TRY(klt_open(&layer, c->r.kern, width(c), from));
    c->r.team->run(c->r.team, task, &job, (int)(c->N / BLOCK));
    klt_close(&layer);
    return ERR_OK;
}

/* --- prediction --- */

/* Full: coefficients [D,D+1] as they are, the last column for c. */
static void keep_full(const calibration *c, const double *coefficients, plan_layer *out)
{
    const size_t D = width(c);
    double *down = c->work[3];

    for (size_t i = 0; i < D; i++) {
        memcpy(down + i * D, coefficients + i * (D + 1), D * sizeof *down);
        out->c[i] = (float)coefficients[i * (D + 1) + D];
    }
    plan_pack(D, down, &out->down);
}

/* Rank N: coefficients B become B A V V^T A^-1, V the leading right singular vectors of the
 * fitted values in the metric: eigenvectors of A B^T gram B A. work[1] is coefficients. */
static err keep_rank(calibration *c, size_t l, const double *gram, const double *coefficients,
                     plan_layer *out)
{
    const size_t D = width(c), N = out->up.rows;
    const double *a = metric_of(c, l);
    double *v = c->work[2], *first = c->work[3], *second = c->work[4];

    dense_multiply(c->r.team, coefficients, D, D + 1, gram, D + 1, false, first);
    dense_multiply(c->r.team, first, D, D + 1, coefficients, D, true, second);
    surround(c, a, second, first, v);
    TRY(dense_eigen(v, D, c->values));
    dense_multiply(c->r.team, v, N, D, inverse_of(c, l), D, false, first);
    plan_pack(D, first, &out->up);
    dense_multiply(c->r.team, v, N, D, a, D, false, second);
    dense_multiply(c->r.team, second, N, D, coefficients, D + 1, false, v); /* [N,D+1] */
    for (size_t i = 0; i < D; i++) {
        double sum = 0;

        for (size_t k = 0; k < N; k++) sum += v[k * (D + 1) + D] * first[k * D + i];
        out->c[i] = (float)sum;
    }
    for (size_t k = 0; k < N; k++) memcpy(second + k * D, v + k * (D + 1), D * sizeof *v);
    plan_pack(D, second, &out->down);
    return ERR_OK;
}

/* The ridge regression of x_l - state on [state, 1], rounded into out. */
static err fit_predictor(calibration *c, size_t l, plan_kind kind, plan_layer *out)
{
    const size_t D = width(c), n = D + 1;
    double *gram = c->work[0], *coefficients = c->work[1], *solved = c->work[2], trace = 0;

    if (kind == PLAN_NONE) {
        memset(out->c, 0, D * sizeof *out->c);
        return ERR_OK;
    }
    correlate(c, c->x + l * c->N * D, gram, coefficients);
    for (size_t i = 0; i < n; i++) trace += gram[i * n + i];
    memcpy(solved, gram, n * n * sizeof *gram);
    for (size_t i = 0; i < n; i++) solved[i * n + i] += ridge * trace / (double)n;
    TRY(dense_solve(solved, n, coefficients, D));
    if (kind == PLAN_RANK) return keep_rank(c, l, gram, coefficients, out);
    keep_full(c, coefficients, out);
    return ERR_OK;
}

/* --- transform and bits --- */

/* Reverse water-filling: another bit while it saves more than theta. */
static int bits_for(const calibration *c, double variance, double theta)
{
    int b = 0;

    while (b < PLAN_MAX_BITS &&
           variance * (c->books.of[b].distortion - c->books.of[b + 1].distortion) > theta)
        b++;
    return b;
}

/* rows [n,D] = diag(values^power) vectors m. */
static void scale_rows(const calibration *c, const double *vectors, size_t n, const double *m,
                       double power, double *rows)
{
    const size_t D = width(c);

    dense_multiply(c->r.team, vectors, n, D, m, D, false, rows);
    for (size_t i = 0; i < n; i++) {
        const double s = pow(c->values[i], power);

        for (size_t j = 0; j < D; j++) rows[i * D + j] *= s;
    }
}

/* F and B of the first n eigenpairs. */
static void keep_transform(const calibration *c, size_t l, const double *vectors,
                           plan_layer *out)
{
    double *rows = c->work[3];

    scale_rows(c, vectors, out->n, metric_of(c, l), -0.5, rows);
    plan_pack(width(c), rows, &out->f);
    scale_rows(c, vectors, out->n, inverse_of(c, l), 0.5, rows);
    plan_pack(width(c), rows, &out->b);
}

/* Eigenpairs of A C A of what prediction left: vectors in the rows of *vectors, values
 * clamped in c->values, the mean added to c_l. */
static err find_transform(calibration *c, size_t l, float *bias, double *vectors)
{
    const size_t D = width(c);
    double *covariance = c->work[1];

    scatter(c, c->left, covariance);
    for (size_t i = 0; i < D; i++) bias[i] = (float)(bias[i] + c->values[i]);
    for (size_t i = 0; i < D * D; i++) covariance[i] /= (double)c->N;
    surround(c, metric_of(c, l), covariance, c->work[2], vectors);
    TRY(dense_eigen(vectors, D, c->values));
    for (size_t i = 0; i < D; i++) c->values[i] = fmax(c->values[i], least_variance);
    return ERR_OK;
}

/* --- layers --- */

static void copy_matrix(size_t D, const plan_matrix *from, const plan_matrix *to)
{
    memcpy(to->scale, from->scale, from->rows * sizeof *to->scale);
    memcpy(to->half, from->half, from->rows * D * sizeof *to->half);
}

/* Layer l of the draft: its predictor so far (`base`, no components) with the transform. */
static err finish_layer(calibration *c, draft *d, size_t l, const plan_layer *base)
{
    const size_t D = width(c);
    double *vectors = c->work[0];
    plan_layer out;
    size_t n = 0;

    TRY(find_transform(c, l, base->c, vectors));
    while (n < D && bits_for(c, c->values[n], d->theta)) n++;
    d->n[l] = n;
    d->layers[l] = calloc(1, plan_layer_bytes(D, d->predictor, n));
    if (!d->layers[l]) return ERR_NOMEM;
    out = plan_lay_out(d->layers[l], D, d->predictor, n);
    memcpy(out.c, base->c, D * sizeof *out.c);
    copy_matrix(D, &base->down, &out.down);
    copy_matrix(D, &base->up, &out.up);
    for (size_t i = 0; i < n; i++) {
        out.bits[i] = (uint8_t)bits_for(c, c->values[i], d->theta);
        d->code_bits += out.bits[i];
    }
    if (d->code_bits > d->budget) return ERR_OK;
    keep_transform(c, l, vectors, &out);
    return l + 1 < c->r.m->L ? run_blocks(c, code_block, l, &out) : ERR_OK;
}

static err make_layer(calibration *c, draft *d, size_t l)
{
    void *bytes = calloc(1, plan_layer_bytes(width(c), d->predictor, 0));
    plan_layer base;
    err e;

    if (!bytes) return ERR_NOMEM;
    base = plan_lay_out(bytes, width(c), d->predictor, 0);
    e = fit_predictor(c, l, d->predictor.kind, &base);
    if (e == ERR_OK) e = run_blocks(c, predict_block, l, &base);
    if (e == ERR_OK) e = finish_layer(c, d, l, &base);
    free(bytes);
    return e;
}

static void drop_layers(const calibration *c, draft *d)
{
    for (size_t l = 0; d->layers && l < c->r.m->L; l++) {
        free(d->layers[l]);
        d->layers[l] = NULL;
    }
    d->code_bits = 0;
}

/* All layers at one theta, or those up to where the budget is spent. */
static err run_pass(calibration *c, draft *d, const stage *p)
{
    const size_t L = c->r.m->L;

    drop_layers(c, d);
    memcpy(c->state, c->x, c->N * width(c) * sizeof *c->state); /* x^_0 = x_0 */
    for (size_t l = 1; l < L && d->code_bits <= d->budget; l++) {
        TRY(make_layer(c, d, l));
        stage_tell(p, (double)l / (double)(L - 1));
    }
    return ERR_OK;
}

/* --- plans --- */

static void swap(draft *a, draft *b)
{
    const draft old = *a;

    *a = *b;
    *b = old;
}

static err open_draft(const calibration *c, draft *d, plan_predictor r, double ratio)
{
    const size_t L = c->r.m->L;

    *d = (draft){.predictor = r, .budget = plan_budget(c->r.m->E, L, ratio)};
    d->n = calloc(L, sizeof *d->n);
    d->layers = calloc(L, sizeof *d->layers);
    return d->n && d->layers ? ERR_OK : ERR_NOMEM;
}

static void close_draft(const calibration *c, draft *d)
{
    drop_layers(c, d);
    free(d->n);
    free(d->layers);
}

/* The last draft within the budget becomes *best; its code_bits are 0 if there was none. */
static err bisect(calibration *c, draft *best, draft *next, const stage *p)
{
    double low = theta_least, high = theta_most;

    for (int i = 0; i < BISECTIONS; i++) {
        const double middle = 0.5 * (low + high);
        const stage part = stage_part(p, (double)i / BISECTIONS, 1.0 / BISECTIONS);

        next->theta = pow(10, middle);
        TRY(run_pass(c, next, &part));
        if (next->code_bits > next->budget) {
            low = middle;
        } else {
            high = middle;
            swap(best, next);
        }
    }
    return ERR_OK;
}

static err measure(calibration *c, plan *made, double ratio, const stage *p)
{
    const size_t tokens = c->held.rows * (c->held.row_tokens - 1);
    char mode[16];
    double kl = 0;

    snprintf(mode, sizeof mode, "klt%g", ratio);
    TRY(reader_divergence(&c->r, &c->held, mode, made, p, &kl));
    plan_set_kl(made, kl, tokens);
    return ERR_OK;
}

static err make_plan(calibration *c, const draft *best, double ratio, const stage *p,
                     plan **out)
{
    const model *m = c->r.m;
    const plan_about about = {.model = c->hash,
                              .D = m->D,
                              .L = m->L,
                              .E = m->E,
                              .ratio = ratio,
                              .predictor = best->predictor,
                              .code_bits = best->code_bits,
                              .kl = -1};
    plan *made = NULL;
    err e;

    if (!best->code_bits) return ERR_MODEMODEL;
    TRY(plan_make(&made, &about, best->n, best->layers));
    e = c->held.rows ? measure(c, made, ratio, p) : ERR_OK;
    if (e != ERR_OK) {
        plan_close(made);
        return e;
    }
    *out = made;
    return ERR_OK;
}

err calibrate_make(calibration *c, double ratio, plan_predictor r, const stage *p, plan **out)
{
    const stage passes = stage_part(p, 0, 0.85), rest = stage_part(p, 0.85, 0.15);
    draft best = {0}, next = {0};
    err e = open_draft(c, &best, r, ratio);

    assert(r.kind != PLAN_RANK || (r.rank >= 1 && r.rank <= width(c)));
    if (e == ERR_OK) e = open_draft(c, &next, r, ratio);
    if (e == ERR_OK) e = bisect(c, &best, &next, &passes);
    if (e == ERR_OK) e = make_plan(c, &best, ratio, &rest, out);
    close_draft(c, &best);
    close_draft(c, &next);
    return e;
}

err calibrate_search(calibration *c, double max_kl, plan_predictor r, const stage *p,
                     plan **out)
{
    int low = -1, high = RATIOS; /* the divergence of `low` is within max_kl, of `high` not */
    plan *best = NULL;

    for (int i = 0; high - low > 1; i++) {
        const int middle = (low + high) / 2;
        const stage part = stage_part(p, (double)i / SEARCHES, 1.0 / SEARCHES);
        plan *made = NULL;
        const err e = calibrate_make(c, PLAN_RATIO_MIN + 0.5 * middle, r, &part, &made);

        if (e != ERR_OK && e != ERR_MODEMODEL) {
            plan_close(best);
            return e;
        }
        if (made && plan_read_about(made).kl <= max_kl) {
            low = middle;
            plan_close(best);
            best = made;
        } else {
            high = middle;
            plan_close(made);
        }
    }
    if (!best) return ERR_RANGE;
    *out = best;
    return ERR_OK;
}

static err open_all(calibration *c, const gguf *g, const reader_text *learn, const stage *p)
{
    const stage read = stage_part(p, 0, 0.9), rest = stage_part(p, 0.9, 0.1);

    if (c->r.m->L < 2) return ERR_MODEMODEL;
    TRY(plan_hash_model(g, &c->hash));
    TRY(take_memory(c));
    klt_make_books(&c->books);
    TRY(reader_record(&c->r, learn, &read, c->x));
    return find_metrics(c, &rest);
}

err calibrate_open(calibration **out, const gguf *g, const reader_model *r,
                   const reader_text *learn, const reader_text *held, const stage *p)
{
    calibration *c = calloc(1, sizeof *c);
    err e;

    assert(learn->row_tokens % BLOCK == 0);
    if (!c) return ERR_NOMEM;
    c->r = *r;
    c->held = *held;
    c->N = learn->rows * learn->row_tokens;
    e = open_all(c, g, learn, p);
    if (e != ERR_OK) {
        calibrate_close(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}
