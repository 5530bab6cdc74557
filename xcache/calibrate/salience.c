/* salience.c - ridge regression of the logarithm of a token's weight. */
#include "xcache/calibrate/salience.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/calibrate/dense.h"
#include "xcache/sink_table.h"

static const double ridge = 1e-2; /* as a share of the mean of the diagonal */
static const double least = 1e-9; /* of the mean: a token that nobody looked at */

/* The part of a text that was looked at. */
typedef struct span {
    size_t tokens, row_tokens;
} span;

/* Is there anyone to look at it, and is it stored? The first tokens are kept exact (sinks), and
 * the last block of a row is read by nobody behind it: their weights would teach the readout
 * what never happens. */
static bool is_live(const span *text, size_t t)
{
    const size_t at = t % text->row_tokens;

    return at >= SINK_TOKENS && at + CACHE_BLOCK_TOKENS < text->row_tokens;
}

/* target [N]: the logarithms less their mean; of tokens that do not count 0. Returns how many
 * count. */
static size_t find_target(const span *text, const influence *i, float *target)
{
    double key = 0, value = 0, mean = 0;
    size_t n = 0;

    for (size_t t = 0; t < text->tokens; t++) {
        if (!is_live(text, t)) continue;
        key += (double)i->key[t];
        value += (double)i->value[t];
        n++;
    }
    for (size_t t = 0; t < text->tokens; t++) {
        /* Each in units of its own mean: errors of keys and of values are counted in other
         * ones. */
        const double z = key > 0 && value > 0
                             ? (double)i->key[t] / key + (double)i->value[t] / value
                             : 0;

        target[t] = is_live(text, t) ? (float)log2(fmax(z * (double)n, least)) : 0;
        mean += (double)target[t];
    }
    mean /= n ? (double)n : 1;
    for (size_t t = 0; t < text->tokens; t++)
        if (is_live(text, t)) target[t] -= (float)mean;
    return n;
}

/* Sums over the live tokens: gram of [x, 1], and its product with the target. */
static void correlate(algebra *a, const span *text, const float *x, const float *target,
                      double *gram, double *cross)
{
    const size_t D = a->D, n = D + 1;
    size_t filled = 0;

    memset(gram, 0, n * n * sizeof *gram);
    memset(cross, 0, n * sizeof *cross);
    for (size_t t = 0; t < text->tokens; t++) {
        double *row = a->rows + filled * n;

        if (is_live(text, t)) {
            for (size_t i = 0; i < D; i++) row[i] = (double)x[t * D + i];
            row[D] = 1;
            for (size_t i = 0; i < n; i++) cross[i] += row[i] * (double)target[t];
            filled++;
        }
        if (filled == ALGEBRA_CHUNK || (t + 1 == text->tokens && filled)) {
            dense_add_symmetric(a->team, a->rows, a->rows, n, filled, gram);
            filled = 0;
        }
    }
    dense_mirror(gram, n);
}

static double explained(const algebra *a, const span *text, const float *x, const float *target,
                        const float *out)
{
    double all = 0, left = 0;

    for (size_t t = 0; t < text->tokens; t++) {
        double z = (double)out[a->D];

        if (!is_live(text, t)) continue;
        for (size_t i = 0; i < a->D; i++) z += (double)out[i] * (double)x[t * a->D + i];
        all += (double)target[t] * (double)target[t];
        left += ((double)target[t] - z) * ((double)target[t] - z);
    }
    return all > 0 ? 1 - left / all : 0;
}

err salience_fit(algebra *a, const inputs *text, size_t rows, const float *x,
                 const influence *i, float *out, double *share)
{
    const span seen = {rows * text->row_tokens, text->row_tokens};
    const size_t n = a->D + 1;
    float *target = malloc(seen.tokens * sizeof *target);
    double trace = 0, *gram = a->spare[0], *cross = a->spare[1];
    err e;

    if (!target) return ERR_NOMEM;
    find_target(&seen, i, target);
    correlate(a, &seen, x, target, gram, cross);
    for (size_t j = 0; j < n; j++) trace += gram[j * n + j];
    /* The last summand is for a layer whose inputs are all zeros: its gram has no trace. */
    for (size_t j = 0; j < n; j++) gram[j * n + j] += ridge * trace / (double)n + 1e-30;
    e = dense_solve(gram, n, cross, 1);
    for (size_t j = 0; j < n && e == ERR_OK; j++) out[j] = (float)cross[j];
    if (e == ERR_OK && share) *share = explained(a, &seen, x, target, out);
    free(target);
    return e;
}
