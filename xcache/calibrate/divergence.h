/* divergence.h - how far two rows of logits are apart: the one definition of KL. */
#ifndef XCACHE_CALIBRATE_DIVERGENCE_H
#define XCACHE_CALIBRATE_DIVERGENCE_H

#include <stddef.h>
#include <stdint.h>

/* Of one position, or of many: their sum, or their mean. */
typedef struct divergence {
    double kl;   /* KL(exact || coded) over the whole vocabulary, nats */
    double nll;  /* -log p(next token) of the coded */
    double top1; /* 1 where both have the same best token */
} divergence;

/* Compare two rows of logits [V], in double; `next` is the token that follows in the text. The
 * kl of equal rows is 0, not nearly. */
divergence divergence_of(const float *exact, const float *coded, size_t V, int32_t next);

divergence divergence_sum(divergence a, divergence b);
divergence divergence_mean(divergence sum, size_t positions);

/* What a mean hides: one position that went another way changes an answer, and a thousand of
 * .001 do not. */
typedef struct divergence_tail {
    double p99; /* 99 of 100 positions have this KL or less: the least such one there is */
    double max;
} divergence_tail;

/* Of the KL of n >= 1 positions, which are sorted in place. O(n log n). */
divergence_tail divergence_tail_of(float *kl, size_t n);

#endif
