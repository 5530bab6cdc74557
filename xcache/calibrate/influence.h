/* influence.h - what an error in one key or value does to the output of its attention layer.
 *
 * For a query i of a later block, its weight p on key j after the softmax, output o of its
 * head, and Wo the head's columns of the output projection, to first order:
 *   error e in k_j:   p |Wo (v_j - o)| scale (q . e)       error e in v_j:   p Wo e
 * Squared and summed over queries and positions, that is a quadratic form of the head's keys
 * and one of its values, [C,C] each; with all others exact, so terms between tokens are left
 * out. The trace of what one token adds is its weight: by how much more an error in this token
 * matters than in others. Forms are of keys as Wk gives them: rotary positions are turned back,
 * and of a norm of heads its gain and the key's length count, but not that an error along the
 * key is lost in it.
 *
 * Every STRIDE-th query is looked at. Sums over keys are exact in the weights; in the forms of
 * keys a query's keys are drawn by what they add (systematic sampling), which is unbiased. */
#ifndef XCACHE_CALIBRATE_INFLUENCE_H
#define XCACHE_CALIBRATE_INFLUENCE_H

#include <stddef.h>

#include "engine/err.h"
#include "xcache/calibrate/inputs.h"
#include "xcache/calibrate/reader.h"

/* Of one layer. */
typedef struct influence {
    double *form;       /* [2E,C] a block a head of K, then of V; per position of the text */
    double variance[2]; /* mean over channels of the variance of K, of V, before biases */
    double power; /* mean of y^T form y over tokens, y what Wk and Wv give less its mean */
    float *key, *value; /* [rows*row_tokens] weights of the tokens looked at, mean not 1 */
} influence;

/* Fill out [L] from the first `rows` of the text, layers shared by the team; memory is the
 * caller's. Layer 0 too.
 * ERR_NOMEM. Cost: N^2 / STRIDE products a head, and as many exponentials. */
err influence_find(const reader_model *r, inputs *x, size_t rows, influence *out,
                   const stage *p);

#endif
