/* lloyd.c - Lloyd-Max levels of the unit Gaussian by Newton's method. */
#include "xcache/codec/lloyd.h"

#include <assert.h>
#include <math.h>

enum { HALF = LLOYD_LEVELS / 2, STEPS = 60 };

/* One cell a < z < b. */
typedef struct cell {
    double share;      /* P(a < z < b) */
    double mean;       /* E[z | a < z < b] */
    double by_a, by_b; /* derivatives of the mean */
} cell;

static double density(double z)
{
    return exp(-0.5 * z * z) / sqrt(2 * M_PI);
}

static cell measure(double a, double b)
{
    const double at_a = density(a), at_b = isinf(b) ? 0 : density(b);
    cell c;

    /* tails as differences of erfc: of erf, the far cells would cancel to nothing */
    c.share = 0.5 * (erfc(a / M_SQRT2) - (isinf(b) ? 0 : erfc(b / M_SQRT2)));
    c.mean = (at_a - at_b) / c.share;
    c.by_a = at_a * (c.mean - a) / c.share;
    c.by_b = isinf(b) ? 0 : at_b * (b - c.mean) / c.share;
    return c;
}

/* The cell of positive level i of n. */
static cell cell_of(const double *level, int i, int n)
{
    return measure(i ? 0.5 * (level[i - 1] + level[i]) : 0,
                   i + 1 < n ? 0.5 * (level[i] + level[i + 1]) : INFINITY);
}

/* z with P(Z > z) = tail, tail < 1/2. */
static double quantile(double tail)
{
    double low = 0, high = 10;

    /* halving 60 times is all that a double has; Newton needs a start, not this to be fast */
    for (int i = 0; i < 60; i++) {
        const double middle = 0.5 * (low + high);

        if (0.5 * erfc(middle / M_SQRT2) > tail)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* One Newton step on level[i] - mean(cell i) = 0; returns the largest change. */
static double improve(double *level, int n)
{
    double upper[HALF], change[HALF], most = 0;

    for (int i = 0; i < n; i++) { /* forward elimination of a tridiagonal system */
        const cell c = cell_of(level, i, n);
        const double below = i ? -0.5 * c.by_a : 0, above = i + 1 < n ? -0.5 * c.by_b : 0;
        const double pivot = 1 + below + above - (i ? below * upper[i - 1] : 0);

        upper[i] = above / pivot;
        change[i] = (level[i] - c.mean - (i ? below * change[i - 1] : 0)) / pivot;
    }
    for (int i = n - 1; i >= 0; i--) {
        if (i + 1 < n) change[i] -= upper[i] * change[i + 1];
        level[i] -= change[i];
        most = fmax(most, fabs(change[i]));
    }
    return most;
}

/* The 2^bits - 1 middles in rising order to a search tree: row d of it, from node 2^d on,
 * takes every (2^(bits-d))th of them. */
static void plant(const float *middle, int bits, float *tree)
{
    for (int depth = 0; depth < bits; depth++) {
        const int half = 1 << bits >> (depth + 1);

        for (int i = 0; i < 1 << depth; i++)
            tree[(1 << depth) + i] = middle[(2 * i + 1) * half - 1];
    }
}

void lloyd_make(int bits, lloyd *out)
{
    const int n = 1 << bits >> 1; /* positive levels */
    double level[HALF], variance = 0;
    float middle[LLOYD_LEVELS] = {0};

    assert(bits >= 0 && bits <= LLOYD_BITS);
    *out = (lloyd){.book.bits = bits};
    /* levels of high rate lie as the density to the power 1/3: that of N(0,3) */
    for (int i = 0; i < n; i++) level[i] = sqrt(3) * quantile(0.5 - (i + 0.5) / (2 * n));
    for (int step = 0; step < STEPS && improve(level, n) > 1e-15; step++) continue;
    for (int i = 0; i < n; i++) {
        variance += 2 * cell_of(level, i, n).share * level[i] * level[i];
        out->book.level[n + i] = (float)level[i];
        out->book.level[n - 1 - i] = -out->book.level[n + i];
    }
    for (int i = 0; i + 1 < n; i++) {
        middle[n + i] = (float)(0.5 * (level[i] + level[i + 1]));
        middle[n - 2 - i] = -middle[n + i];
    }
    plant(middle, bits, out->book.tree);
    out->distortion = 1 - variance;
}
