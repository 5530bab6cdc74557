/* divergence.c - KL, likelihood and agreement of one position.
 *
 * KL(a || b) = sum over i of p_i (log p_i - log q_i), with log p_i = a_i - log sum exp(a). All
 * in double, for the sum has as many terms as the vocabulary has words and ends near 1e-7 for a
 * mode such as kv16, where float terms leave noise. The difference is taken of
 * log-probabilities, not of the two sums at the end, so that equal rows give 0 term by term. */
#include "xcache/calibrate/divergence.h"

#include <math.h>
#include <stdlib.h>

#include "engine/model/sample.h"

divergence divergence_of(const float *exact, const float *coded, size_t V, int32_t next)
{
    const double za = sample_log_sum(exact, V), zb = sample_log_sum(coded, V);
    double kl = 0;

    for (size_t i = 0; i < V; i++)
        kl += exp(exact[i] - za) * ((exact[i] - za) - (coded[i] - zb));
    return (divergence){.kl = kl,
                        .nll = zb - (double)coded[next],
                        .top1 = sample_best_id(exact, V) == sample_best_id(coded, V)};
}

divergence divergence_sum(divergence a, divergence b)
{
    return (divergence){a.kl + b.kl, a.nll + b.nll, a.top1 + b.top1};
}

divergence divergence_mean(divergence sum, size_t positions)
{
    const double n = (double)positions;

    return (divergence){sum.kl / n, sum.nll / n, sum.top1 / n};
}

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* Nearest rank, not a point between two: a figure that was measured somewhere. */
divergence_tail divergence_tail_of(float *kl, size_t n)
{
    qsort(kl, n, sizeof *kl, compare_floats);
    return (divergence_tail){.p99 = (double)kl[(99 * n + 99) / 100 - 1],
                             .max = (double)kl[n - 1]};
}
