/* attended.c - softmax and its derivatives, one key after the other. */
#include "tests/attended.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "xcache/sink_table.h"

enum { ROW = ATTENDED_ROW, N = ATTENDED_N, STRIDE = ATTENDED_STRIDE, MOST_C = ATTENDED_C };

static float *read_weights(const attended_of *b, size_t l, const char *part)
{
    char name[64];
    const gguf_tensor *t;
    float *w;

    snprintf(name, sizeof name, "blk.%zu.%s.weight", l, part);
    t = gguf_find(b->file, name);
    CHECK(t != NULL);
    w = malloc(t->dim[0] * t->dim[1] * sizeof *w);
    CHECK(w != NULL);
    model_read_kv(t, w);
    return w;
}

attended *attended_open(const attended_of *b, size_t l)
{
    const model *m = b->m;
    attended *p = calloc(1, sizeof *p);

    CHECK(p != NULL);
    p->m = m;
    p->layer = &m->layers[l];
    p->wq = read_weights(b, l, "attn_q");
    p->wk = read_weights(b, l, "attn_k");
    p->wv = read_weights(b, l, "attn_v");
    p->wo = read_weights(b, l, "attn_output");
    p->x = malloc(ROW * m->D * sizeof *p->x);
    p->raw = malloc(ROW * (3 * m->E + m->H * m->C + m->G) * sizeof *p->raw);
    p->form = calloc(2 * m->E * m->C, sizeof *p->form);
    CHECK(p->x && p->raw && p->form);
    p->k = p->raw + ROW * m->E;
    p->v = p->k + ROW * m->E;
    p->q = p->v + ROW * m->E;
    p->norm = p->q + ROW * m->H * m->C;
    return p;
}

void attended_close(attended *p)
{
    free(p->wq);
    free(p->wk);
    free(p->wv);
    free(p->wo);
    free(p->x);
    free(p->raw);
    free(p->form);
    free(p);
}

/* y [rows] = w x, and a bias. */
void attended_apply(const attended *p, const float *w, const float *bias, size_t rows,
                    const float *x, double *y)
{
    for (size_t r = 0; r < rows; r++) {
        y[r] = bias ? (double)bias[r] : 0;
        for (size_t c = 0; c < p->m->D; c++) y[r] += (double)w[r * p->m->D + c] * (double)x[c];
    }
}

/* Returns 1 / rms; 1 where there is no gain. */
static double normalize(const attended *p, const float *gain, double *head)
{
    double sum = 0, scale;

    if (!gain) return 1;
    for (size_t c = 0; c < p->m->C; c++) sum += head[c] * head[c];
    scale = 1 / sqrt(sum / (double)p->m->C + (double)p->m->eps);
    for (size_t c = 0; c < p->m->C; c++) head[c] *= scale * (double)gain[c];
    return scale;
}

/* x to position t by R_t; `back`: by R_t^T. */
static void turn(const attended *p, double *x, size_t t, bool back)
{
    const rope *r = p->layer->rope;
    const size_t pairs = r->n / 2;

    for (size_t i = 0; i < pairs; i++) {
        const size_t a = r->halves ? i : 2 * i, b = r->halves ? i + pairs : 2 * i + 1;
        const double c = (double)r->cosine[t * r->n + a], s = (double)r->sine[t * r->n + b];
        const double sine = back ? -s : s, first = x[a];

        x[a] = c * first - sine * x[b];
        x[b] = c * x[b] + sine * first;
    }
}

/* Keys, values and queries of a row. */
static void read_row(attended *p, const attended_of *b, size_t l, size_t row)
{
    const model *m = p->m;
    const size_t E = m->E, C = m->C, Q = m->H * C;

    inputs_read(b->x, l, row * ROW, ROW, p->x);
    for (size_t t = 0; t < ROW; t++) {
        const float *x = p->x + t * m->D;
        double *k = p->k + t * E, *q = p->q + t * Q;

        attended_apply(p, p->wk, p->layer->k_bias, E, x, p->raw + t * E);
        attended_apply(p, p->wk, p->layer->k_bias, E, x, k);
        attended_apply(p, p->wv, p->layer->v_bias, E, x, p->v + t * E);
        attended_apply(p, p->wq, p->layer->q_bias, Q, x, q);
        for (size_t g = 0; g < m->G; g++) {
            p->norm[t * m->G + g] = normalize(p, p->layer->k_norm, k + g * C);
            turn(p, k + g * C, t, false);
        }
        for (size_t h = 0; h < m->H; h++) {
            normalize(p, p->layer->q_norm, q + h * C);
            turn(p, q + h * C, t, false);
        }
    }
}

/* Softmax of a query over its keys, and how a score moves with q k. */
static void attend(const attended *p, size_t h, size_t i, double *weight, double *slope)
{
    const model *m = p->m;
    const size_t C = m->C, g = h / (m->H / m->G), window = p->layer->window;
    const double *q = p->q + i * m->H * C + h * C, cap = (double)m->score_cap;
    double sum = 0;

    memset(weight, 0, ROW * sizeof *weight);
    for (size_t j = 0; j <= i; j++) {
        double s = 0;

        if (window && j + window <= i) continue;
        for (size_t c = 0; c < C; c++) s += q[c] * p->k[j * m->E + g * C + c];
        s *= (double)m->score_scale;
        slope[j] = (double)m->score_scale;
        if (cap > 0) {
            slope[j] *= 1 - pow(tanh(s / cap), 2);
            s = cap * tanh(s / cap);
        }
        weight[j] = exp(s);
        sum += weight[j];
    }
    for (size_t j = 0; j <= i; j++) weight[j] /= sum;
}

/* |Wo (v_j - o)|^2 of a head. */
static double moved(const attended *p, size_t h, size_t j, const double *o)
{
    const model *m = p->m;
    const size_t C = m->C, g = h / (m->H / m->G), Q = m->H * C;
    double all = 0;

    for (size_t d = 0; d < m->D; d++) {
        double y = 0;

        for (size_t c = 0; c < C; c++)
            y += (double)p->wo[d * Q + h * C + c] * (p->v[j * m->E + g * C + c] - o[c]);
        all += y * y;
    }
    return all;
}

/* The part of z along a key is lost to its norm: take it out. */
static void take_out(const double *key, double *z, size_t C)
{
    double along = 0, square = 0;

    for (size_t c = 0; c < C; c++) {
        along += key[c] * z[c];
        square += key[c] * key[c];
    }
    for (size_t c = 0; c < C; c++) z[c] -= along / square * key[c];
}

/* What one key adds: the direction z in which an error of it moves the score. */
static void add_key(attended *p, size_t h, size_t i, size_t j, double w, double *weight)
{
    const model *m = p->m;
    const size_t C = m->C, g = h / (m->H / m->G);
    const double r = p->norm[j * m->G + g], *raw = p->raw + j * m->E + g * C;
    const double *k = p->k + j * m->E + g * C, *q = p->q + i * m->H * C + h * C;
    double z[MOST_C], square = 0, gain = 0, s = 0, *form = p->form + g * C * C;

    memcpy(z, q, C * sizeof *z);
    turn(p, z, j, true);
    for (size_t c = 0; c < C; c++) {
        const double own = p->layer->k_norm ? (double)p->layer->k_norm[c] : 1;

        square += z[c] * z[c];
        gain += own * own / (double)C; /* a token's weight has the mean of gains */
        s += q[c] * k[c];
        z[c] *= own * r;
    }
    square *= gain;
    if (p->layer->k_norm) {
        square -= s * s / (double)C;
        take_out(raw, z, C);
    }
    *weight += w * fmax(square, 0) * r * r;
    for (size_t a = 0; a < C; a++)
        for (size_t c = 0; c < C; c++) form[a * C + c] += w * z[a] * z[c] * STRIDE / N;
}

/* Wo^T Wo of a head, times mass. Returns its trace. */
static double add_gram(attended *p, size_t h, double mass)
{
    const model *m = p->m;
    const size_t C = m->C, g = h / (m->H / m->G), Q = m->H * C;
    double trace = 0, *form = p->form + (m->G + g) * C * C;

    for (size_t a = 0; a < C; a++)
        for (size_t c = 0; c < C; c++) {
            double sum = 0;

            for (size_t d = 0; d < m->D; d++)
                sum += (double)p->wo[d * Q + h * C + a] * (double)p->wo[d * Q + h * C + c];
            form[a * C + c] += mass * sum * STRIDE / N;
            if (a == c) trace += sum;
        }
    return trace;
}

/* One query of a head; returns the sum of squared weights on what is stored. */
static double add_query(attended *p, size_t h, size_t i, size_t row, double trace)
{
    const model *m = p->m;
    const size_t C = m->C, g = h / (m->H / m->G), own = i - i % CACHE_BLOCK_TOKENS;
    double weight[ROW], slope[ROW], o[MOST_C] = {0}, mass = 0;

    attend(p, h, i, weight, slope);
    for (size_t j = 0; j <= i; j++)
        for (size_t c = 0; c < C; c++) o[c] += weight[j] * p->v[j * m->E + g * C + c];
    for (size_t j = SINK_TOKENS; j < own; j++) {
        const double p2 = weight[j] * weight[j];

        if (p2 == 0) continue;
        mass += p2;
        p->value[row * ROW + j] += p2 * trace;
        add_key(p, h, i, j, p2 * slope[j] * slope[j] * moved(p, h, j, o),
                &p->key[row * ROW + j]);
    }
    return mass;
}

attended *attended_find(const attended_of *b, size_t l)
{
    attended *p = attended_open(b, l);

    for (size_t row = 0; row < b->x->rows; row++) {
        read_row(p, b, l, row);
        for (size_t h = 0; h < b->m->H; h++) {
            const double trace = add_gram(p, h, 0);
            double mass = 0;

            for (size_t i = STRIDE - 1; i < ROW; i += STRIDE)
                mass += add_query(p, h, i, row, trace);
            add_gram(p, h, mass);
        }
    }
    return p;
}
