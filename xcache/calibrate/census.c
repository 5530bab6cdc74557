/* census.c - symbols by table. */
#include "xcache/calibrate/census.h"

#include <math.h>

#include "engine/kern/kern_trellis.h"

/* Excess is summed as a whole number of 2^-20 steps, and counts are whole anyway: threads may
 * be merged in any order and the plan comes out the same. */
enum { FRACTION = 20, ESCAPE_BITS = 16 };

/* A table that few symbols fell into is still used by a text that has others: this many of a
 * Laplacian's symbols are added to what was counted. */
static const double prior = 8;

/* In a state of the trellis, whose mirror turns the value. */
static void add_symbol(census *c, int class, int q, int state, float value)
{
    const float along = (q < 0) != (state & 1) ? -value : value;

    const size_t table = rans_table(class), symbol = rans_symbol(class, q);

    c->count[table][symbol]++;
    if (symbol == RANS_ESCAPE)
        c->raw_bits += ESCAPE_BITS;
    else
        c->raw_bits += (uint64_t)kern_class_shift(class);
    if (!q) return;
    c->nonzero[table]++;
    c->excess[table] += (int64_t)llrintf((kern_trellis_size(q) - along) * (1 << FRACTION));
}

void census_add(census *c, const kern_classes *k, const int16_t *q, const float *u,
                const float *inverse, size_t sinks)
{
    for (size_t t = sinks; t < k->B; t++) {
        int state = 0;

        for (size_t i = 0; i < k->n; i++) {
            const int symbol = q[i * k->B + t];

            add_symbol(c, kern_class(k->row[i], k->column[t]), symbol, state,
                       u[i * k->B + t] * inverse[t]);
            state = kern_trellis_next(state, symbol);
        }
    }
    c->tokens += k->B - sinks;
}

void census_merge(census *to, const census *from)
{
    for (size_t t = 0; t < PLAN_TABLES; t++) {
        for (size_t s = 0; s < PLAN_SYMBOLS; s++) to->count[t][s] += from->count[t][s];
        to->excess[t] += from->excess[t];
        to->nonzero[t] += from->nonzero[t];
    }
    to->raw_bits += from->raw_bits;
    to->tokens += from->tokens;
}

/* What a Laplacian of the table's own deviation would give: e^(-|hi| sqrt 2 / sigma). */
static double expect(size_t table, size_t symbol)
{
    const double sigma = exp2(((double)table - 24) / 4), hi = fabs((double)symbol - 16);

    return symbol == RANS_ESCAPE ? 1e-4 : exp(-hi * 1.4142135623730951 / fmax(sigma, .1));
}

void census_tables(const census *c, uint16_t frequency[][PLAN_SYMBOLS], float *bias)
{
    for (size_t t = 0; t < PLAN_TABLES; t++) {
        double counts[PLAN_SYMBOLS], all = 0, b;

        for (size_t s = 0; s < PLAN_SYMBOLS; s++) all += expect(t, s);
        for (size_t s = 0; s < PLAN_SYMBOLS; s++)
            counts[s] = (double)c->count[t][s] + prior * expect(t, s) / all;
        rans_normalize(counts, frequency[t]);
        /* a nonzero value lies nearer to zero than what its index says */
        b = c->nonzero[t] ? (double)c->excess[t] / (double)c->nonzero[t] / (1 << FRACTION)
                          : .05;
        bias[t] = (float)fmin(fmax(b, -.5), .5);
    }
}

double census_bits(const census *c, const uint16_t frequency[][PLAN_SYMBOLS])
{
    double bits = (double)c->raw_bits;

    for (size_t t = 0; t < PLAN_TABLES; t++)
        for (size_t s = 0; s < PLAN_SYMBOLS; s++) {
            const double f = (double)frequency[t][s];

            /* a symbol without a place in its table goes by the escape */
            if (!c->count[t][s]) continue;
            bits += (double)c->count[t][s] *
                    (f > 0 ? RANS_BITS - log2(f)
                           : RANS_BITS - log2((double)frequency[t][RANS_ESCAPE]) + ESCAPE_BITS);
        }
    return c->tokens ? bits / (double)c->tokens : 0;
}
