/* spectrum.c - eigenpairs of a covariance in a metric. */
#include "xcache/calibrate/spectrum.h"

#include <math.h>

#include "xcache/calibrate/dense.h"
#include "xcache/codec/whiten.h"

/* An input that never varies has a variance of 0 or, by rounding, below: its root is divided
 * by. */
static const double least_variance = 1e-18;

err spectrum_find(algebra *a, const metric *m, const float *d, size_t N, const spectrum *out)
{
    const size_t D = a->D;
    double *covariance = a->spare[1];

    algebra_mean(a, d, N, a->values);
    algebra_scatter(a, d, N, a->values, covariance);
    for (size_t i = 0; i < D * D; i++) covariance[i] /= (double)N;
    /* in the metric, where a component's variance is what it does to K and V */
    algebra_surround(a, m->a, covariance, a->spare[2], out->vectors);
    TRY(dense_eigen(out->vectors, D, out->values));
    for (size_t i = 0; i < D; i++) out->values[i] = fmax(out->values[i], least_variance);
    return ERR_OK;
}

size_t spectrum_count(const spectrum *s, size_t D, double least)
{
    size_t n = 0;

    while (n < D && sqrt(s->values[n]) > least) n++;
    return n;
}

void spectrum_pack(algebra *a, const metric *m, const double *r, const spectrum *s,
                   plan_layer *out)
{
    double *rows = a->spare[3];

    dense_multiply(a->team, s->vectors, out->n, a->D, m->inverse, a->D, false, rows);
    whiten_contract(r, a->D, rows, out->n);
    plan_pack(a->D, rows, &out->q);
    /* floats may round two neighbours apart: a plan's never rise */
    for (size_t i = 0; i < out->n; i++) {
        out->sigma[i] = (float)sqrt(s->values[i]);
        if (i && out->sigma[i] > out->sigma[i - 1]) out->sigma[i] = out->sigma[i - 1];
    }
}
