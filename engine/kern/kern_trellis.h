/* kern_trellis.h - trellis-coded quantization: what an index of a value stands for.
 *
 * Two quantizers with the same step take turns, each the mirror of the other, and what lies
 * between the values of one are values of the other:
 *
 *   even states   -2 1/4   -1 1/4        0     3/4      1 3/4      index 1 is 3/4
 *   odd states        -1 3/4      -3/4   0          1 1/4   2 1/4      index 1 is -3/4
 *
 * Which one a value meets depends on whether the indices before it were even or odd, by one
 * of 8 states a token, 0 before its first component: so a decoder knows, and an encoder that
 * looks for the cheapest path can choose among points half a step apart while it pays for whole
 * steps. Of the 1.5 dB that a uniform quantizer with entropy coding is short of the bound it
 * brings back .65 at 1.8 bits a value, half a dead zone's gain included. As the quantizers are
 * mirrors, indices are distributed alike in both, and the coder's tables need not know states.
 *
 *   |v| = |q| - 1/4 for an index above 0, |q| + 1/4 below;  0 for 0
 *   x   = sign(q) (|v| - bias) step, negated in odd states
 *   next state = first[state], its second bit turned if q is odd
 *
 * Sources: Marcellin and Fischer 1990 for the trellis, Marcellin 1994 for the mirrored
 * quantizers with a common 0, Schwarz et al. 2021 for 8 states driven by parities. */
#ifndef ENGINE_KERN_KERN_TRELLIS_H
#define ENGINE_KERN_KERN_TRELLIS_H

#include <stdint.h>

#include "engine/kern/kern_rans.h"

enum {
    KERN_STATES = 8,
    /* three bits a state, state 0 lowest: the next one of an even index... */
    KERN_TRELLIS_NEXT = 0 | 5 << 3 | 1 << 6 | 6 << 9 | 2 << 12 | 4 << 15 | 3 << 18 | 7 << 21,
    /* ...and the one before it, which an odd index had turned by 4, and by 6 from 4 on */
    KERN_TRELLIS_BEFORE = 0 | 2 << 3 | 4 << 6 | 6 << 9 | 5 << 12 | 1 << 15 | 3 << 18 | 7 << 21,
};

#define KERN_TRELLIS_SHIFT  0.25f /* of an index's value towards minus, in even states */
#define KERN_TRELLIS_BEYOND 1e30f /* the cost of a path that there is not */

static inline int kern_trellis_next(int state, int q)
{
    return (KERN_TRELLIS_NEXT >> 3 * state & 7) ^ (q & 1) << 1;
}

static inline int kern_trellis_before(int state, int odd)
{
    return (KERN_TRELLIS_BEFORE >> 3 * state & 7) ^ (odd ? 4 | (state >> 2) << 1 : 0);
}

/* |v| of an index q in steps, before a bias. */
static inline float kern_trellis_size(int q)
{
    return (float)(q < 0 ? -q : q) + (q < 0 ? KERN_TRELLIS_SHIFT : -KERN_TRELLIS_SHIFT);
}

#endif
