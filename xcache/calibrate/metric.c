/* metric.c - the square root of a quadratic form, and its inverse. */
#include "xcache/calibrate/metric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/calibrate/dense.h"

/* Directions that move no key and no value have eigenvalue 0: without a floor the inverse of
 * the root would send a plan's factors there to infinity. */
static const double floor_share = 1e-6; /* of the largest eigenvalue */
static const double mix = .1;           /* of .03, .1 and .3 the best on three models */

void metric_mix(influence *i, size_t E, size_t C)
{
    const double n = (double)E;
    double trace = 0, base[2], share;

    for (size_t r = 0; r < 2 * E; r++) trace += i->form[r * C + r % C];
    for (int k = 0; k < 2; k++) base[k] = i->variance[k] > 0 ? 1 / i->variance[k] : 1;
    /* nothing was looked at: then all of it counts alike */
    share = trace > 0 ? mix * trace / (n * (base[0] + base[1])) : 1;
    for (size_t r = 0; r < 2 * E; r++) i->form[r * C + r % C] += share * base[r >= E];
    i->power += share * 2 * n;
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

/* m += w^T form w of one head: w [C,D], form [C,C]. */
static void add_head(algebra *a, const float *w, const double *form, size_t C, double *wide,
                     double *m)
{
    const size_t D = a->D;
    double *formed = wide + C * D;

    for (size_t i = 0; i < C * D; i++) wide[i] = (double)w[i];
    dense_multiply(a->team, form, C, C, wide, D, false, formed);
    dense_add_symmetric(a->team, wide, formed, D, C, m);
}

err metric_find(algebra *a, const float *w, const double *form, size_t E, size_t C, metric *out)
{
    const size_t D = a->D;
    double *m = a->spare[1], *wide = malloc(2 * C * D * sizeof *wide);

    if (!wide) return ERR_NOMEM;
    memset(m, 0, D * D * sizeof *m);
    for (size_t h = 0; h < 2 * E; h += C) add_head(a, w + h * D, form + h * C, C, wide, m);
    free(wide);
    dense_mirror(m, D);
    TRY(dense_eigen(m, D, a->values));
    out->floor = floor_share * a->values[0];
    /* LAPACK returns eigenvalues that should be 0 as small negative ones, whose root is not a
     * number. */
    for (size_t i = 0; i < D; i++) a->values[i] = fmax(a->values[i], 0) + out->floor;
    rebuild(a, m, 0.5, out->a);
    rebuild(a, m, -0.5, out->inverse);
    return ERR_OK;
}
