/* key_scale.c - what a file says of how large a key's channels are, by pair, to exponents.
 *
 *   heads with a norm   E k_c^2 = g_c^2                              g: its gain
 *   keys with a bias    E k_c^2 = b_c^2 + sum_d (W_cd g_d)^2         g: the gain of x's norm
 *   neither             no scales: products with a text's mean, which only a text tells, decide
 *
 * Rough, and need not be better: a scale that is wrong by two loses a bit of eight in that
 * channel, one that is missing lost five. Where it was the rows of Wk alone that were looked at
 * (SmolLM2-135M), keys in eight bits were no nearer: klt7.5 .00053 -> .00058. */
#include "engine/model/key_scale.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_EXPONENT = 8 }; /* either way: halves hold s k whatever k is */

static double square_of(const model_layer *l, const float *row, size_t D, size_t e)
{
    double sum = (double)l->k_bias[e] * (double)l->k_bias[e];

    for (size_t d = 0; d < D; d++) {
        const double w = (double)row[d] *
                         (double)(l->attn_norm.gain ? l->attn_norm.gain[d] : 1);

        sum += w * w;
    }
    return sum;
}

/* The channel that turns with c of a head; c itself if none does. */
static size_t partner(const rope *r, size_t c)
{
    if (c >= r->n) return c;
    if (!r->halves) return c ^ 1;
    return c < r->n / 2 ? c + r->n / 2 : c - r->n / 2;
}

/* log2 of the size of a pair of channels of a head; 0 bits: -INFINITY. */
static double size_of(const model_layer *l, const float *head, size_t c)
{
    const size_t other = partner(l->rope, c);
    const double a = (double)head[c], b = (double)head[other];

    return 0.5 * log2(0.5 * (a * a + b * b));
}

/* Exponents of a head against its mean: that of logarithms, which a few large ones move
 * little. `head` has the deviations, k takes the scales. */
static bool scale_head(const model *m, const model_layer *l, const float *head, float *k,
                       float *q)
{
    double mean = 0;
    size_t n = 0;
    bool any = false;

    for (size_t c = 0; c < m->C; c++) {
        const double size = size_of(l, head, c);

        if (!isfinite(size)) continue;
        mean += size;
        n++;
    }
    mean = n ? mean / (double)n : 0;
    for (size_t c = 0; c < m->C; c++) {
        const double size = size_of(l, head, c);
        const double e = isfinite(size) ? nearbyint(size - mean) : 0;
        const int by = (int)fmin(fmax(e, -MOST_EXPONENT), MOST_EXPONENT);

        k[c] = ldexpf(1, -by);
        q[c] = ldexpf(1, by);
        any |= by != 0;
    }
    return any;
}

/* w [E,D] is scratch. False: all are 1. */
static bool scale_layer(const model *m, const model_layer *layer, float *w, float *k, float *q)
{
    bool any = false;

    if (!layer->k_norm && !layer->k_bias) return false;
    if (!layer->k_norm) model_read_kv(layer->k_file, w);
    /* in place: deviation e is written when row e has been read, and rows are longer */
    for (size_t e = 0; e < m->E; e++)
        w[e] = layer->k_norm ? layer->k_norm[e]
                             : (float)sqrt(square_of(layer, w + e * m->D, m->D, e));
    for (size_t g = 0; g < m->G; g++)
        any |= scale_head(m, layer, w + g * m->C, k + g * m->C, q + g * m->C);
    return any;
}

err key_scale_open(model *m)
{
    float *w = malloc(m->E * m->D * sizeof *w);

    m->scales = malloc(m->L * 2 * m->E * sizeof *m->scales);
    if (!w || !m->scales) {
        free(w);
        return ERR_NOMEM;
    }
    for (size_t l = 0; l < m->L; l++) {
        model_layer *layer = &m->layers[l];
        float *k = m->scales + l * 2 * m->E, *q = k + m->E;

        if (!scale_layer(m, layer, w, k, q)) continue;
        layer->k_scale = k;
        layer->q_scale = q;
    }
    free(w);
    return ERR_OK;
}
