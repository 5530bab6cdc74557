/* metric.h - how much a change of a layer's input matters: it is seen by what it does to the
 * layer's keys and values, each measured against its own variance.
 *
 *   M = Wk^T Wk / var(K) + Wv^T Wv / var(V)      |A d|^2 = d^T M d,  A = M^(1/2)
 * var is one number: the mean over the E channels of the unbiased variance over all tokens,
 * keys before rotary positions. Eigenvalues of M are at least 1e-6 of the largest. */
#ifndef XCACHE_CALIBRATE_METRIC_H
#define XCACHE_CALIBRATE_METRIC_H

#include <stddef.h>

#include "xcache/calibrate/algebra.h"

/* Both symmetric, [D,D]. */
typedef struct metric {
    double *a, *inverse;
} metric;

/* What a layer reads, and the tokens it reads it from. */
typedef struct metric_layer {
    const float *x; /* [N,D] */
    size_t N;
    const float *keys, *values; /* Wk, Wv [E,D] */
    size_t E;
} metric_layer;

/* Fill out's matrices. Changes values and the first three spare matrices. ERR_NOMEM,
 * ERR_SYSTEM. Cost: N D^2 and some 15 D^3 flop. */
err metric_find(algebra *a, const metric_layer *in, const metric *out);

#endif
