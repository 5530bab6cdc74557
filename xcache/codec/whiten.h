/* whiten.h - from a plan's orthonormal basis to the factors of a layer, and back.
 *
 *   M = W^T form W + floor I = R^T R        R upper triangular (Cholesky), W = [Wk; Wv]
 *   F = Q^T R,   B = R^-1 Q                 F B = Q^T Q = I
 *
 * A plan stores Q and not F or B: its columns are of one length, so int8 rounds all of them
 * alike in the metric, by 40 dB below and more; channels of x that stand out have a share of
 * the scale of their own (plan.h). B itself has entries a thousand times larger in directions
 * that K and V hardly see, next to which those that they do see would be rounded away. Double
 * precision, one thread. */
#ifndef XCACHE_CODEC_WHITEN_H
#define XCACHE_CODEC_WHITEN_H

#include <stddef.h>

#include "engine/err.h"

/* What M is made of. */
typedef struct whiten_form {
    size_t D, E, C;
    const float *w;    /* [2E,D] */
    const float *form; /* [2E,C] a block a head */
    double floor;
} whiten_form;

/* r [D,D], its upper triangle R, the rest undefined. ERR_NOMEM; ERR_SYSTEM: M is not positive
 * definite. Cost: 2 E D^2 + D^3 / 3 multiplications. */
err whiten_find(const whiten_form *in, double *r);

/* Rows q [n,D] of Q^T to f [n,D] and rows b [n,D] of B^T; temp [n,D]. */
void whiten_expand(const double *r, size_t D, const float *q, size_t n, double *temp, float *f,
                   float *b);

/* Rows of B^T to rows of Q^T, in place. */
void whiten_contract(const double *r, size_t D, double *rows, size_t n);

#endif
