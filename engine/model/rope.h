/* rope.h - rotary positions: pair i of a head at position t turns by an angle of its own.
 *
 * The angle is t * s_i * base^(-2i/n) / f_i; s_i is 1 or a scaling, f_i 1 or the file's
 * factor. A pair is two neighbours, as GGUF's llama files are ordered, or two elements n/2
 * apart. Sources: arXiv:2104.09864; scaling of all angles arXiv:2306.15595, of the slow ones
 * arXiv:2309.00071 (YaRN); factors arXiv:2402.13753 (LongRoPE). */
#ifndef ENGINE_MODEL_ROPE_H
#define ENGINE_MODEL_ROPE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/kern/kern.h"

/* What the angles follow. */
typedef struct rope_rule {
    size_t n;     /* elements of a head that turn, even, or 0 */
    bool halves;  /* pairs are n/2 apart */
    double base;  /* > 1 */
    double scale; /* of positions: 1 / factor */
    double size;  /* of cosine and sine: scores get its square */
    /* YaRN, where `blend` is not 0: pairs that turn more than `fast` times in `original`
     * positions keep their angle, those that turn less than `slow` times are scaled, and what
     * is between them is mixed; blend 1: as the paper has it. */
    double blend, fast, slow, original;
    double all;  /* of scores: how much of YaRN's growth the weights already have; 0: none */
    bool smooth; /* its borders lie between pairs */
    const float *factors; /* [n/2]; NULL: all 1 */
} rope_rule;

typedef struct rope {
    size_t n; /* elements of a head that turn, even */
    size_t positions;
    bool halves;
    float *cosine; /* [positions,n] each twice; owned */
    float *sine;   /* [positions,n] as -s, +s */
} rope;

/* Angles for positions 0 .. positions-1; n may be 0: nothing turns. ERR_NOMEM. The caller
 * closes. */
err rope_open(rope *r, const rope_rule *rule, size_t positions);
void rope_close(rope *r);

/* Turn x [heads,C] in place to position t. */
void rope_turn(const rope *r, const kern *k, float *x, size_t heads, size_t C, size_t t);

#endif
