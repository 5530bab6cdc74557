/* metric.h - how much a change of a layer's input matters: it is seen by what it does to the
 * layer's keys and values, and these by their influence (influence.h).
 *
 *   form  = factor (F + mix tr F / tr base * base)      F influence, base = 1 / var of K, of V
 *   M     = W^T form W + floor I,  W = [Wk; Wv]        |A d|^2 = d^T M d,  A = M^(1/2)
 * The base keeps directions that the text happened not to ask for from counting as nothing.
 * factor is the layer's sensitivity, so that units are nats of KL in every layer. The floor,
 * 1e-6 of the largest eigenvalue, is for directions that this layer does not see: the next one
 * is predicted from them, too, and without it nothing would hold them to what they are. */
#ifndef XCACHE_CALIBRATE_METRIC_H
#define XCACHE_CALIBRATE_METRIC_H

#include <stddef.h>

#include "xcache/calibrate/algebra.h"
#include "xcache/calibrate/influence.h"

/* Both symmetric, [D,D]. */
typedef struct metric {
    double *a, *inverse;
    double floor;
} metric;

/* Add the base to a layer's form, in place, and what that adds to its power. */
void metric_mix(influence *i, size_t E, size_t C);

/* Fill out's matrices; w [2E,D] are the weights, form [2E,C] in heads of C. Changes values and
 * spare matrices 0 to 2. ERR_NOMEM, ERR_SYSTEM. Cost: 4 E D^2 and some 15 D^3 flop. */
err metric_find(algebra *a, const float *w, const double *form, size_t E, size_t C,
                metric *out);

#endif
