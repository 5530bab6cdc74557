/* predictor.h - what the decoded input of the layer before tells about a layer's own: a ridge
 * regression of x_l - x^_(l-1) on [x^_(l-1), 1], so that the ridge shrinks P towards I.
 *
 *   P - I = S + B      S diagonal: channel by channel, which is most of what the gains of two
 *                      layers' norms differ by;  B the rest of the coefficients
 *
 * The ridge is 1e-4 of the mean of the Gram matrix's diagonal. Rank N keeps of B what matters
 * most by a weight W = R^T R of errors in x: with V the N leading eigenvectors of
 * R B gram B^T R^T, it is R^-1 V^T V R B. W looks ahead (errors_weight): what the next layers
 * read has to be predicted, too, though this one does not see it. On SmolLM2 at 12x, in a lab,
 * a full B gives KL .00195; rank 96 .0027 in the metric of the layer alone, .0026 looking
 * ahead, .0023 beside a diagonal. */
#ifndef XCACHE_CALIBRATE_PREDICTOR_H
#define XCACHE_CALIBRATE_PREDICTOR_H

#include <stddef.h>

#include "xcache/calibrate/algebra.h"
#include "xcache/codec/plan.h"

/* Fit c, diagonal, down and up of out, laid out for a predictor of that kind, rounded as it
 * stores them; state and x [N,D]; weight [D,D] is W, positive definite, and overwritten: a's
 * spare[3] may hold it. Changes values and all other spare matrices. ERR_NOMEM; ERR_SYSTEM: the
 * mathematics failed. Cost: 3 N D^2 and some D^3 flop. */
err predictor_fit(algebra *a, double *weight, plan_kind kind, const float *state,
                  const float *x, size_t N, plan_layer *out);

#endif
