/* spectrum.c - eigenpairs of a covariance in a metric. */
#include "xcache/calibrate/spectrum.h"

#include <math.h>

#include "xcache/calibrate/dense.h"

static const double least_variance = 1e-12;

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

int spectrum_bits(const spectrum *s, const klt_books *books, size_t i, double theta)
{
    int b = 0;

    /* gains fall with every bit, so the first that is too small is the last to be tried */
    while (b < PLAN_MAX_BITS &&
           s->values[i] * (books->of[b].distortion - books->of[b + 1].distortion) > theta)
        b++;
    return b;
}

/* rows [n,D] = diag(values^power) vectors m. */
/* Variances become 1 in F and come back in B: all components meet the same quantizers, of
 * N(0,1). */
static void scale_rows(algebra *a, const spectrum *s, size_t n, const double *m, double power,
                       double *rows)
{
    const size_t D = a->D;

    dense_multiply(a->team, s->vectors, n, D, m, D, false, rows);
    for (size_t i = 0; i < n; i++) {
        const double by = pow(s->values[i], power);

        for (size_t j = 0; j < D; j++) rows[i * D + j] *= by;
    }
}

void spectrum_pack(algebra *a, const metric *m, const spectrum *s, plan_layer *out)
{
    double *rows = a->spare[3];

    scale_rows(a, s, out->n, m->a, -0.5, rows);
    plan_pack(a->D, rows, &out->f);
    scale_rows(a, s, out->n, m->inverse, 0.5, rows);
    plan_pack(a->D, rows, &out->b);
}
