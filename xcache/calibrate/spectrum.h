/* spectrum.h - the basis in which a layer's differences are coded.
 *
 * What prediction leaves, d, has mean mu and covariance C; the eigenpairs of A C A, falling,
 * at least 1e-18 of the metric's unit, are components and their variances. In that basis
 * components are uncorrelated, and an error in any of them costs the same. */
#ifndef XCACHE_CALIBRATE_SPECTRUM_H
#define XCACHE_CALIBRATE_SPECTRUM_H

#include <stddef.h>

#include "xcache/calibrate/algebra.h"
#include "xcache/calibrate/metric.h"
#include "xcache/codec/plan.h"

typedef struct spectrum {
    double *vectors; /* [D,D], one a row */
    double *values;  /* [D] */
} spectrum;

/* Of d [N,D]; its mean is left in a->values. Changes spare matrices 1 and 2. ERR_NOMEM,
 * ERR_SYSTEM. Cost: N D^2 and some 10 D^3 flop. */
err spectrum_find(algebra *a, const metric *m, const float *d, size_t N, const spectrum *out);

/* Components whose deviation is above `least`. */
size_t spectrum_count(const spectrum *s, size_t D, double least);

/* The basis and the deviations of the first out->n components, rounded as out stores them: Q =
 * R B, B = A^-1 V, with R [D,D] of the metric (whiten.h). Changes spare matrix 3. */
void spectrum_pack(algebra *a, const metric *m, const double *r, const spectrum *s,
                   plan_layer *out);

#endif
