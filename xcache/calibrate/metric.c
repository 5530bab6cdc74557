/* metric.c - the square root of a quadratic form, and its inverse. */
#include "xcache/calibrate/metric.h"

#include <math.h>
#include <string.h>

#include "xcache/calibrate/dense.h"

static const double least_eigenvalue = 1e-6; /* as a share of the largest */

/* sum += W^T W / v, v the mean variance of the channels of x W^T = <cov, W^T W> / E. */
static void add_form(algebra *a, const metric_layer *in, const float *w, const double *scatter,
                     double *sum)
{
    const size_t n = a->D * a->D;
    double *product = a->spare[2], variance = 0;

    algebra_scatter(a, w, in->E, NULL, product);
    for (size_t i = 0; i < n; i++) variance += scatter[i] * product[i];
    /* K and V by their own variance each, or the larger of them would decide alone */
    variance /= (double)(in->N - 1) * (double)in->E;
    for (size_t i = 0; i < n; i++) sum[i] += product[i] / variance;
}

/* out = sum over eigenpairs of values^power v v^T; vectors are the rows of v. */
static void rebuild(algebra *a, const double *v, double power, double *out)
{
    const size_t D = a->D;
    double *scaled = a->spare[2];

    for (size_t i = 0; i < D; i++) {
        const double s = pow(a->values[i], power);

        for (size_t j = 0; j < D; j++) scaled[i * D + j] = s * v[i * D + j];
    }
    memset(out, 0, D * D * sizeof *out);
    dense_add_products(a->team, v, D, scaled, D, D, out);
}

err metric_find(algebra *a, const metric_layer *in, const metric *out)
{
    const size_t D = a->D;
    double *scatter = a->spare[0], *form = a->spare[1];

    algebra_mean(a, in->x, in->N, a->values);
    algebra_scatter(a, in->x, in->N, a->values, scatter);
    memset(form, 0, D * D * sizeof *form);
    add_form(a, in, in->keys, scatter, form);
    add_form(a, in, in->values, scatter, form);
    TRY(dense_eigen(form, D, a->values));
    for (size_t i = 0; i < D; i++)
        /* directions that neither K nor V sees keep a little weight, so that the form can be
         * inverted */
        a->values[i] = fmax(a->values[i], least_eigenvalue * a->values[0]);
    rebuild(a, form, 0.5, out->a);
    rebuild(a, form, -0.5, out->inverse);
    return ERR_OK;
}
