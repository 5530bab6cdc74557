/* candidates.c - rules over a list of weights.
 *
 *   ordered list   p0 >= p1 >= p2 ...
 *   keep_best      [-- k --]
 *   keep_mass      [-- until the sum has the share --]
 *   keep_typical          [-- around the entropy, outwards --]      then ordered again
 *   drop_top            . . . . [-- from the last that is likely enough --]
 *
 * Sums are double and in the list's order, so that a seed gives the same token wherever logits
 * and expf have the same bits. */
#include "engine/model/candidates.h"

#include <math.h>
#include <stdlib.h>

/* Best first; equal logits by id. */
static int by_logit(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

void candidates_list(candidates *c, const float *logits, size_t V, float best, float floor)
{
    c->n = 0;
    c->best = best;
    for (size_t i = 0; i < V; i++)
        if (logits[i] >= floor && logits[i] > -INFINITY)
            c->list[c->n++] = (candidate){.logit = logits[i], .id = (int32_t)i};
}

void candidates_order(candidates *c)
{
    qsort(c->list, c->n, sizeof *c->list, by_logit);
}

static void sum_up(candidates *c)
{
    c->mass = 0;
    for (size_t i = 0; i < c->n; i++) c->mass += c->list[i].p;
}

/* Logits are divided by the temperature in expf alone, after the best was taken off, so nothing
 * overflows. */
void candidates_weigh(candidates *c, float temperature)
{
    for (size_t i = 0; i < c->n; i++)
        c->list[i].p = expf((c->list[i].logit - c->best) / temperature);
    sum_up(c);
}

void candidates_keep_best(candidates *c, size_t k)
{
    if (c->n <= k) return;
    c->n = k;
    sum_up(c);
}

void candidates_keep_mass(candidates *c, double share)
{
    double kept = 0;
    size_t k = 0;

    while (k < c->n && (k == 0 || kept < share * c->mass)) kept += c->list[k++].p;
    c->n = k;
    c->mass = kept;
}

double candidates_entropy(const candidates *c)
{
    double sum = 0;

    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].p > 0) sum += c->list[i].p * log(c->list[i].p);
    return log(c->mass) - sum / c->mass;
}

/* Nearest to what is expected first: `logit` holds the distance meanwhile. */
static int by_distance(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    if (x->logit != y->logit) return x->logit < y->logit ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* A weight says its logit only up to rounding, and order is by weight and id from here on: that
 * is what the next rules ask for. */
static int by_weight(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    if (x->p != y->p) return x->p < y->p ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

void candidates_keep_typical(candidates *c, double share)
{
    const double expected = candidates_entropy(c), all = log(c->mass);

    for (size_t i = 0; i < c->n; i++) {
        const double surprise = all - log(c->list[i].p); /* INFINITY of a weight of 0 */

        c->list[i].logit = (float)fabs(surprise - expected);
    }
    qsort(c->list, c->n, sizeof *c->list, by_distance);
    candidates_keep_mass(c, share);
    qsort(c->list, c->n, sizeof *c->list, by_weight);
    sum_up(c);
}

void candidates_keep_expected(candidates *c, double most)
{
    size_t k = 0;

    while (k < c->n && (k == 0 || log2(c->mass) - log2(c->list[k].p) <= most)) k++;
    candidates_keep_best(c, k);
}

void candidates_drop_top(candidates *c, double threshold)
{
    size_t likely = 0;

    while (likely < c->n && c->list[likely].p >= threshold * c->mass) likely++;
    if (likely < 2) return;
    /* the least of the likely ones becomes the first */
    for (size_t i = likely - 1; i < c->n; i++) c->list[i - (likely - 1)] = c->list[i];
    c->n -= likely - 1;
    sum_up(c);
}

/* The exponent of a power law through the first hundred, by least squares over neighbours. */
static double find_slope(const candidates *c)
{
    enum { LOOKED_AT = 100 };
    double product = 0, square = 0;

    for (size_t i = 0; i + 1 < c->n && i + 1 < LOOKED_AT && c->list[i + 1].p > 0; i++) {
        const double t = log((double)(i + 2) / (double)(i + 1));

        product += t * log((double)c->list[i].p / (double)c->list[i + 1].p);
        square += t * t;
    }
    return square > 0 ? product / square : 0;
}

size_t candidates_count_for(const candidates *c, double bits, size_t V)
{
    const double slope = find_slope(c), over = slope - 1;
    const double k = pow(over * exp2(bits) / (1 - pow((double)V, -over)),
                         slope > 0 ? 1 / slope : 0);

    /* so written that what is no number keeps them all */
    return k < 1 ? 1 : k < (double)c->n ? (size_t)k : c->n;
}

/* The last takes what rounding left of the point. */
const candidate *candidates_at(const candidates *c, double point)
{
    double at = point * c->mass;

    for (size_t i = 0; i < c->n; i++) {
        at -= c->list[i].p;
        if (at < 0) return &c->list[i];
    }
    return &c->list[c->n - 1];
}
