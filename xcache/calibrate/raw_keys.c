/* raw_keys.c - what a norm of keys does to derivatives.
 *
 * A norm over D numbers loses what moves a key along itself, and one less the mean also what
 * moves all numbers alike. Keys are kept less their mean, so the same product with them serves
 * both. */
#include "xcache/calibrate/raw_keys.h"

#include <cblas.h>
#include <math.h>

/* Numbers of a key that share a norm. */
static size_t width(const raw_keys *r)
{
    return r->layer->whole_norm ? r->m->E : r->m->C;
}

static bool takes_mean(const raw_keys *r)
{
    return r->m->arch->has & ARCH_LAYER_NORM;
}

/* x [C] less its mean. */
static void center(float *x, size_t C)
{
    float mean = 0;

    for (size_t c = 0; c < C; c++) mean += x[c] / (float)C;
    for (size_t c = 0; c < C; c++) x[c] -= mean;
}

void raw_keys_find(const raw_keys *r, const float *k, size_t T)
{
    const size_t E = r->m->E, C = r->m->C, n = width(r);
    const float *bias = r->layer->k_bias;

    for (size_t i = 0; i < T * E; i++) r->keys[i] = k[i] + (bias ? bias[i % E] : 0);
    for (size_t i = 0; takes_mean(r) && i < T * E; i += C) center(r->keys + i, C);
    for (size_t i = 0; i < T * r->m->G; i++) {
        const float *from = r->keys + i * C / n * n;

        r->norm[i] = 1 / sqrtf(cblas_sdot((int)n, from, 1, from, 1) / (float)n + r->m->eps);
    }
}

void raw_keys_pull(const raw_keys *r, size_t j, size_t g, float *z)
{
    const size_t C = r->m->C, at = j * r->m->G + g, n = width(r);
    const float *key = r->keys + at * C, *all = r->keys + at * C / n * n;
    const float square = cblas_sdot((int)n, all, 1, all, 1);

    for (size_t c = 0; c < C; c++) z[c] *= r->layer->k_norm[g * C + c] * r->norm[at];
    if (takes_mean(r)) center(z, C);
    if (square > 0)
        cblas_saxpy((int)C, -cblas_sdot((int)C, key, 1, z, 1) / square, key, 1, z, 1);
}

float raw_keys_square(const raw_keys *r, size_t j, size_t g, float square, float s)
{
    const float norm = r->norm[j * r->m->G + g];

    return fmaxf(0, square - s * s / (float)width(r)) * norm * norm;
}

float raw_keys_gain(const raw_keys *r)
{
    float sum = 0;

    if (!r->layer->k_norm) return 1;
    for (size_t e = 0; e < r->m->E; e++) sum += r->layer->k_norm[e] * r->layer->k_norm[e];
    return sum / (float)r->m->E;
}
