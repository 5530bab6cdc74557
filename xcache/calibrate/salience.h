/* salience.h - predicts from a token's layer input how much an error in its key and value
 * matters: tokens differ by 9 to 12 dB in it, and a linear readout explains half of that.
 *
 *   target    log2 (key_t / mean of keys + value_t / mean of values), over tokens that a later
 *             block can see, less its mean
 *   readout   ridge regression on [x_t, 1]
 * An encoder has x_t and so needs nothing else; a decoder is told the step that came of it. */
#ifndef XCACHE_CALIBRATE_SALIENCE_H
#define XCACHE_CALIBRATE_SALIENCE_H

#include "engine/err.h"
#include "xcache/calibrate/algebra.h"
#include "xcache/calibrate/influence.h"
#include "xcache/calibrate/inputs.h"

/* out [D+1] from weights key and value [N], x [N,D] the layer's inputs, of
 * the first `rows` of the text. *share (may be NULL) of
 * the target's variance is explained. Changes spare matrices 0 and 1. ERR_NOMEM, ERR_SYSTEM. */
err salience_fit(algebra *a, const inputs *text, size_t rows, const float *x,
                 const influence *i, float *out, double *share);

#endif
