/* predictor.h - what the decoded input of the layer before tells about a layer's own: a ridge
 * regression of x_l - x^_(l-1) on [x^_(l-1), 1], so that the ridge shrinks P towards I.
 *
 * The ridge is 1e-4 of the mean of the Gram matrix's diagonal. Rank N keeps of the
 * coefficients what the N leading right singular vectors V of the fitted values in the metric
 * A span: B A V V^T A^-1. */
#ifndef XCACHE_CALIBRATE_PREDICTOR_H
#define XCACHE_CALIBRATE_PREDICTOR_H

#include <stddef.h>

#include "xcache/calibrate/algebra.h"
#include "xcache/calibrate/metric.h"
#include "xcache/codec/plan.h"

/* Fit c, down and up of out, laid out for a predictor of that kind, rounded as it stores them;
 * state and x [N,D]. Changes values and all spare matrices. ERR_NOMEM; ERR_SYSTEM: the
 * mathematics failed. Cost: 3 N D^2 and some D^3 flop. */
err predictor_fit(algebra *a, const metric *m, plan_kind kind, const float *state,
                  const float *x, size_t N, plan_layer *out);

#endif
