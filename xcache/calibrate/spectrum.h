/* spectrum.h - the basis in which a layer's differences are coded, and the bits of each of its
 * components.
 *
 * What prediction leaves, d, has mean mu and covariance C; the eigenpairs of A C A, falling,
 * at least 1e-12, are components and their variances. A component gets bits by reverse
 * water-filling: another one while it saves more than theta. */
#ifndef XCACHE_CALIBRATE_SPECTRUM_H
#define XCACHE_CALIBRATE_SPECTRUM_H

#include <stddef.h>

#include "xcache/calibrate/algebra.h"
#include "xcache/calibrate/metric.h"
#include "xcache/codec/klt.h"
#include "xcache/codec/plan.h"

typedef struct spectrum {
    double *vectors; /* [D,D], one a row */
    double *values;  /* [D] */
} spectrum;

/* Of d [N,D]; its mean is left in a->values. Changes spare matrices 1 and 2. ERR_NOMEM,
 * ERR_SYSTEM. Cost: N D^2 and some 10 D^3 flop. */
err spectrum_find(algebra *a, const metric *m, const float *d, size_t N, const spectrum *out);

/* Bits of component i, 0 .. PLAN_MAX_BITS. They never rise with i. */
int spectrum_bits(const spectrum *s, const klt_books *books, size_t i, double theta);

/* F = values^(-1/2) V^T A and B = A^-1 V values^(1/2) of the first out->n components, rounded
 * as out stores them. Changes spare matrix 3. */
void spectrum_pack(algebra *a, const metric *m, const spectrum *s, plan_layer *out);

#endif
