/* influence.c - attention of sampled queries, differentiated.
 *
 * A task is a layer. For each row of the text:
 *
 *    x [T,D] --> raw keys, values [T,E] --> k finished and turned, v        scale r_j of norms
 *    x of every 8th token --> q [n,H*C], as it is and turned
 *    head h:   s [n,T] = q k^T                        p = softmax(scale s)         o = p v
 *              d [n,T] = |Wo (v_j - o_i)|^2 = v G v + o G o - 2 v G o,   G = Wo^T Wo
 *              p = 0 in the query's own block, which is exact, and at sinks
 *              w = p^2 d scale^2    --> weights of keys: sum_i w |q_i|^2;  samples of the form
 *              p^2                  --> weights of values, and the form: sum p^2 times G
 *
 * Where heads of keys have a norm, what moves a key k along itself is lost to it: derivatives
 * are r gain (I - k k^T / |k|^2), and attention looks at those keys most that point its way. */
#include "xcache/calibrate/influence.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/rope.h"
#include "xcache/calibrate/raw_keys.h"
#include "xcache/codec/projection.h"
#include "xcache/codec/remat.h"
#include "xcache/sink_table.h"

enum {
    STRIDE = 8,   /* of the queries; every 16th gave .00181 where every second gives .00159 */
    SAMPLES = 16, /* keys of a query that the form of keys is made of */
    BLOCK = CACHE_BLOCK_TOKENS
};

/* One layer at work: a row of the text. */
typedef struct work {
    const model *m;
    const kern *kern;
    const model_layer *layer;
    const projection *projection;
    size_t at, T, n;   /* layer, tokens of a row, queries */
    float *memory;     /* all of the below */
    float *x;          /* [T,D] */
    float *k, *v;      /* [T,E] keys turned, values */
    raw_keys raw;      /* of the layer; unused where heads have no norm */
    float *xq;         /* [n,D] */
    float *q, *turned; /* [n,H*C] before and after rotary positions */
    float *s;          /* [n,T] q k^T; unused where heads have no norm */
    float *p, *d, *vo; /* [n,T] */
    float *o, *og;     /* [n,C] */
    float *vg, *vgv;   /* [T,C], [T] */
    float *g;          /* [H,C,C] Wo^T Wo */
    float *wo;         /* [C,D] columns of Wo */
    float *unit;       /* [C,H*C] */
    float *z;          /* [n*SAMPLES,C] */
    float *sum;        /* [C,C] */
    float *temp;       /* of int8 codes */
} work;

/* --- memory --- */

/* Called twice with the same list: once to count, without memory, and once to deal it out. */
static void carve(const work *w, size_t *at, float **to, size_t n)
{
    if (w->memory) *to = w->memory + *at;
    *at += n;
}

static size_t lay_out(work *w)
{
    const model *m = w->m;
    const size_t T = w->T, n = w->n, C = m->C, Q = m->H * C;
    const size_t rows = T > C ? T : C, width = m->D > Q ? m->D : Q;
    size_t at = 0;

    carve(w, &at, &w->x, T * m->D);
    carve(w, &at, &w->k, T * m->E);
    carve(w, &at, &w->v, T * m->E);
    carve(w, &at, &w->raw.norm, w->layer->k_norm ? T * m->G : 0);
    carve(w, &at, &w->raw.keys, w->layer->k_norm ? T * m->E : 0);
    carve(w, &at, &w->xq, n * m->D);
    carve(w, &at, &w->q, n * Q);
    carve(w, &at, &w->turned, n * Q);
    carve(w, &at, &w->s, w->layer->k_norm ? n * T : 0);
    carve(w, &at, &w->p, n * T);
    carve(w, &at, &w->d, n * T);
    carve(w, &at, &w->vo, n * T);
    carve(w, &at, &w->o, n * C);
    carve(w, &at, &w->og, n * C);
    carve(w, &at, &w->vg, T * C);
    carve(w, &at, &w->vgv, T);
    carve(w, &at, &w->g, m->H * C * C);
    carve(w, &at, &w->wo, C * m->D);
    carve(w, &at, &w->unit, C * Q);
    carve(w, &at, &w->z, n * SAMPLES * C);
    carve(w, &at, &w->sum, C * C);
    carve(w, &at, &w->temp, remat_code_floats(rows, width));
    return at;
}

static err open_work(work *w)
{
    const size_t n = lay_out(w);

    w->memory = malloc(n * sizeof *w->memory);
    if (!w->memory) return ERR_NOMEM;
    lay_out(w);
    return ERR_OK;
}

/* --- what does not change with the text --- */

static void multiply(const work *w, const matrix *m, const float *x, size_t rows, float *y)
{
    matrix_input in = {.x = x, .T = rows, .D = m->cols};

    if (matrix_wants_int8(m)) in = remat_code(w->kern, x, rows, m->cols, w->temp);
    remat_multiply_packed(w->kern, &in, m, y);
}

/* y [a,b] = x [a,c] z [c,b] or z [b,c] turned; strides in floats. */
static void product(size_t a, size_t b, size_t c, const float *x, size_t sx, const float *z,
                    size_t sz, bool turned, float *y)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, turned ? CblasTrans : CblasNoTrans, (int)a, (int)b,
                (int)c, 1.0f, x, (int)sx, z, (int)sz, 0.0f, y, (int)b);
}

/* G of every head. Columns of Wo are what it makes of unit vectors, whatever type it has. */
static void find_gram(work *w)
{
    const size_t C = w->m->C, Q = w->m->H * C, D = w->m->D;

    for (size_t h = 0; h < w->m->H; h++) {
        memset(w->unit, 0, C * Q * sizeof *w->unit);
        for (size_t c = 0; c < C; c++) w->unit[c * Q + h * C + c] = 1;
        multiply(w, &w->layer->o, w->unit, C, w->wo);
        product(C, C, D, w->wo, D, w->wo, D, true, w->g + h * C * C);
    }
}

/* --- one row of the text --- */

static void turn_keys(work *w)
{
    const model *m = w->m;

    if (w->layer->k_norm) raw_keys_find(&w->raw, w->k, w->T);
    model_finish_kv(m, w->kern, w->at, w->k, w->v, w->T);
    for (size_t t = 0; t < w->T; t++)
        rope_turn(w->layer->rope, w->kern, w->k + t * m->E, m->G, m->C, t);
}

static size_t position(size_t i)
{
    return i * STRIDE + STRIDE - 1;
}

static void find_queries(work *w)
{
    const model *m = w->m;
    const size_t Q = m->H * m->C;

    for (size_t i = 0; i < w->n; i++)
        memcpy(w->xq + i * m->D, w->x + position(i) * m->D, m->D * sizeof *w->xq);
    multiply(w, &w->layer->q, w->xq, w->n, w->q);
    model_finish_q(m, w->kern, w->at, w->q, w->n);
    memcpy(w->turned, w->q, w->n * Q * sizeof *w->q);
    for (size_t i = 0; i < w->n; i++) {
        const float by = model_query_scale(m, w->at, position(i));

        rope_turn(w->layer->rope, w->kern, w->turned + i * Q, m->H, m->C, position(i));
        cblas_sscal((int)Q, by, w->q + i * Q, 1);
        cblas_sscal((int)Q, by, w->turned + i * Q, 1);
    }
    /* keys that the scales of channels have not reached yet meet queries without theirs */
    if (w->layer->k_scale) model_scale_queries(m, w->kern, w->layer->k_scale, w->q, w->n);
}

/* Scores of a query to weights, over what it sees; d takes how a score moves with q k. */
static void soften(const work *w, size_t i, size_t h)
{
    const model *m = w->m;
    const size_t pos = position(i);
    /* A key outside the window is never read by this query: an error in it costs nothing. */
    const size_t low = model_first_key(m, w->at, pos);
    const float *sink = w->layer->sinks ? &w->layer->sinks[h] : NULL;
    float *p = w->p + i * w->T, *d = w->d + i * w->T, most = -INFINITY, sum = 0;

    for (size_t j = low; j <= pos; j++) {
        float s = p[j] * m->score_scale;

        d[j] = m->score_scale;
        if (m->score_cap > 0) {
            const float t = tanhf(s / m->score_cap);

            s = m->score_cap * t;
            d[j] *= 1 - t * t;
        }
        p[j] = s;
        most = fmaxf(most, s);
    }
    if (sink) {
        most = fmaxf(most, *sink);
        sum = kern_exp(*sink - most);
    }
    for (size_t j = 0; j < w->T; j++) {
        p[j] = j < low || j > pos ? 0 : kern_exp(p[j] - most);
        if (p[j] == 0) d[j] = 0;
        sum += p[j];
    }
    for (size_t j = low; j <= pos; j++) p[j] /= sum;
}

/* p and d of a head become p^2 and p^2 d^2 |Wo (v_j - o_i)|^2; both 0 where nothing is stored
 * inexactly. */
static void differentiate(const work *w, size_t h)
{
    const size_t C = w->m->C, E = w->m->E, g = h / (w->m->H / w->m->G), T = w->T;
    const float *v = w->v + g * C, *gram = w->g + h * C * C;

    product(w->n, C, T, w->p, T, v, E, false, w->o);
    product(w->n, C, C, w->o, C, gram, C, false, w->og);
    product(T, C, C, v, E, gram, C, false, w->vg);
    for (size_t t = 0; t < T; t++)
        w->vgv[t] = cblas_sdot((int)C, w->vg + t * C, 1, v + t * E, 1);
    product(w->n, T, C, w->og, C, v, E, true, w->vo);
    for (size_t i = 0; i < w->n; i++) {
        const size_t own = position(i) / BLOCK * BLOCK;
        const float ogo = cblas_sdot((int)C, w->og + i * C, 1, w->o + i * C, 1);
        const float *vo = w->vo + i * T;
        float *p = w->p + i * T, *d = w->d + i * T;

        for (size_t j = 0; j < T; j++) {
            const float p2 = j >= SINK_TOKENS && j < own ? p[j] * p[j] : 0;

            p[j] = p2;
            d[j] = p2 * d[j] * d[j] * fmaxf(0, w->vgv[j] + ogo - 2 * vo[j]);
        }
    }
}

/* What cosines and sines of scaled angles are larger by: those of position 0 say it. */
static float turning_size(const work *w)
{
    return w->layer->rope->n ? w->layer->rope->cosine[0] : 1;
}

/* |R_j^T R_i q|^2: both turns make what turns of a head larger, whatever i and j. */
static float turned_square(const work *w, const float *q)
{
    const size_t n = w->layer->rope->n, C = w->m->C;
    const float size = turning_size(w), both = size * size;

    return both * both * cblas_sdot((int)n, q, 1, q, 1) +
           cblas_sdot((int)(C - n), q + n, 1, q + n, 1);
}

/* Keys of query i, drawn by w_j: SAMPLES points evenly spaced on the sum of all. */
static size_t draw(const work *w, size_t h, size_t i, size_t filled)
{
    const model *m = w->m;
    const size_t C = m->C, g = h / (m->H / m->G), pos = position(i);
    const float *d = w->d + i * w->T, *q = w->q + (i * m->H + h) * C;
    double all = 0, sum = 0, next;

    for (size_t j = 0; j < pos; j++) all += (double)d[j];
    if (!(all > 0)) return filled;
    /* Systematic sampling: evenly spaced, so that a key of large weight is drawn as often as it
     * weighs, and no random number decides about a plan. */
    next = 0.5 * all / SAMPLES;
    for (size_t j = 0; j < pos; j++) {
        for (sum += (double)d[j]; next < sum; next += all / SAMPLES) {
            float *z = w->z + filled++ * C;

            memcpy(z, q, C * sizeof *z);
            /* R_j^T R_i q is q turned by i - j, but larger by the size of two turns */
            rope_turn(w->layer->rope, w->kern, z, 1, C, pos - j);
            cblas_sscal((int)w->layer->rope->n, turning_size(w), z, 1);
            cblas_sscal((int)C, (float)sqrt(all / SAMPLES), z, 1);
            if (w->layer->k_norm) raw_keys_pull(&w->raw, j, g, z);
        }
    }
    return filled;
}

/* form += z^T z. */
static void add_samples(const work *w, size_t samples, double *form)
{
    const size_t C = w->m->C;

    if (!samples) return;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)C, (int)C, (int)samples, 1.0f,
                w->z, (int)C, w->z, (int)C, 0.0f, w->sum, (int)C);
    for (size_t i = 0; i < C * C; i++) form[i] += (double)w->sum[i];
}

/* What tokens weigh, and the form of values. */
static void add_weights(const work *w, size_t h, float *key, float *value, double *form)
{
    const model *m = w->m;
    const size_t C = m->C, g = h / (m->H / m->G), T = w->T;
    const float *gram = w->g + h * C * C, gain = raw_keys_gain(&w->raw);
    double mass = 0;
    float trace = 0;

    for (size_t c = 0; c < C; c++) trace += gram[c * C + c];
    for (size_t i = 0; i < w->n; i++) {
        const float *p2 = w->p + i * T, *d = w->d + i * T, *q = w->q + (i * m->H + h) * C;
        const float square = turned_square(w, q) * gain;

        for (size_t j = 0; j < position(i); j++) {
            key[j] += d[j] * (w->layer->k_norm
                                  ? raw_keys_square(&w->raw, j, g, square, w->s[i * T + j])
                                  : square);
            value[j] += p2[j] * trace;
            mass += (double)p2[j];
        }
    }
    for (size_t i = 0; i < C * C; i++) form[i] += mass * (double)gram[i];
}

static void add_head(work *w, size_t h, const influence *out, float *key, float *value)
{
    const model *m = w->m;
    const size_t C = m->C, g = h / (m->H / m->G);
    size_t samples = 0;

    product(w->n, w->T, C, w->turned + h * C, m->H * C, w->k + g * C, m->E, true, w->p);
    if (w->layer->k_norm) memcpy(w->s, w->p, w->n * w->T * sizeof *w->s);
    for (size_t i = 0; i < w->n; i++) soften(w, i, h);
    differentiate(w, h);
    for (size_t i = 0; i < w->n; i++) samples = draw(w, h, i, samples);
    add_samples(w, samples, out->form + g * C * C);
    add_weights(w, h, key, value, out->form + (m->G + g) * C * C);
}

/* --- moments of what Wk and Wv give --- */

/* Sums over tokens of y and, by head, of y y^T. */
typedef struct moments {
    double *mean;    /* [2E] */
    double *scatter; /* [2E,C] */
    size_t N;
} moments;

static void add_moments(const work *w, const float *y, double *mean, double *scatter)
{
    const model *m = w->m;
    const size_t C = m->C;

    for (size_t t = 0; t < w->T; t++)
        for (size_t i = 0; i < m->E; i++) mean[i] += (double)y[t * m->E + i];
    for (size_t g = 0; g < m->G; g++) {
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)C, (int)C, (int)w->T, 1.0f,
                    y + g * C, (int)m->E, y + g * C, (int)m->E, 0.0f, w->sum, (int)C);
        for (size_t i = 0; i < C * C; i++) scatter[g * C * C + i] += (double)w->sum[i];
    }
}

/* Variances of K and V, and the mean of y^T form y. */
static void finish_moments(const work *w, const moments *s, influence *out)
{
    const model *m = w->m;
    const size_t E2 = 2 * m->E, C = m->C;
    const double N = (double)s->N;

    out->power = 0;
    out->variance[0] = out->variance[1] = 0;
    for (size_t r = 0; r < E2; r++) {
        const size_t head = r / C * C;

        for (size_t c = 0; c < C; c++) {
            const double cov = s->scatter[r * C + c] / N -
                               s->mean[r] / N * (s->mean[head + c] / N);

            out->power += cov * out->form[r * C + c];
            if (head + c == r) out->variance[r >= m->E] += cov / (double)m->E;
        }
    }
}

/* --- a layer --- */

static void add_row(work *w, inputs *x, size_t row, influence *out, moments *s)
{
    const size_t E = w->m->E, C = w->m->C;

    inputs_read(x, w->at, row * w->T, w->T, w->x);
    projection_run(w->projection, w->at, w->x, w->T, w->temp, w->k, w->v);
    add_moments(w, w->k, s->mean, s->scatter);
    add_moments(w, w->v, s->mean + E, s->scatter + E * C);
    s->N += w->T;
    turn_keys(w);
    find_queries(w);
    for (size_t h = 0; h < w->m->H; h++)
        add_head(w, h, out, out->key + row * w->T, out->value + row * w->T);
}

typedef struct influence_job {
    const reader_model *r;
    inputs *x;
    size_t rows;
    influence *out;
    projection projection;
    const stage *stage;
    _Atomic err e;
} influence_job;

static err find_layer(influence_job *job, size_t l)
{
    const model *m = job->r->m;
    const size_t numbers = 2 * m->E * m->C;
    influence out = job->out[l];
    moments s = {.mean = calloc(2 * m->E + numbers, sizeof(double))};
    work w = {.m = m,
              .kern = job->r->kern,
              .layer = &m->layers[l],
              .raw = {.m = m, .layer = &m->layers[l]},
              .projection = &job->projection,
              .at = l,
              .T = job->x->row_tokens,
              .n = job->x->row_tokens / STRIDE};
    const err e = s.mean ? open_work(&w) : ERR_NOMEM;

    if (e == ERR_OK) {
        s.scatter = s.mean + 2 * m->E;
        memset(out.form, 0, numbers * sizeof *out.form);
        memset(out.key, 0, job->rows * w.T * sizeof *out.key);
        memset(out.value, 0, job->rows * w.T * sizeof *out.value);
        find_gram(&w);
        for (size_t row = 0; row < job->rows; row++) add_row(&w, job->x, row, &out, &s);
        for (size_t i = 0; i < numbers; i++)
            out.form[i] *= STRIDE / (double)(job->rows * w.T); /* a position's mean */
        finish_moments(&w, &s, &out);
        job->out[l] = out;
    }
    free(w.memory);
    free(s.mean);
    return e;
}

static void find_task(void *arg, int i, int slot)
{
    influence_job *job = arg;
    const err e = find_layer(job, (size_t)i);

    (void)slot;
    if (e != ERR_OK) job->e = e;
}

err influence_find(const reader_model *r, inputs *x, size_t rows, influence *out,
                   const stage *p)
{
    influence_job job = {.r = r, .x = x, .rows = rows, .out = out, .stage = p, .e = ERR_OK};

    TRY(projection_open(&job.projection, r->m, r->kern));
    r->team->run(r->team, find_task, &job, (int)r->m->L);
    projection_close(&job.projection);
    stage_tell(p, 1);
    return job.e;
}
