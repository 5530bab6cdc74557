/* rope.h - rotary positions, in the row order of GGUF's llama files: interleaved pairs.
 * Pair i of a head at position t turns by t * base^(-2i/n). Source: arXiv:2104.09864. */
#ifndef ENGINE_ROPE_H
#define ENGINE_ROPE_H

#include <stddef.h>

#include "engine/err.h"
#include "engine/kern.h"

typedef struct rope {
    size_t n; /* elements of a head that turn, even */
    size_t positions;
    float *cosine; /* [positions,n] each twice; owned */
    float *sine;   /* [positions,n] as -s, +s */
} rope;

/* Angles for positions 0 .. positions-1. ERR_NOMEM. The caller closes. */
err rope_open(rope *r, double base, size_t n, size_t positions);
void rope_close(rope *r);

/* Turn x [heads,C] in place to position t. */
void rope_turn(const rope *r, const kern *k, float *x, size_t heads, size_t C, size_t t);

#endif
