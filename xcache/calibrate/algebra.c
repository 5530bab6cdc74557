/* algebra.c - cuts rows of floats into chunks of doubles, for dense.h.
 *
 * Tokens are many and doubles twice as large: only a chunk of them is widened at a time. Sums
 * over tokens go chunk by chunk in their order, so a result depends on neither threads nor
 * memory. */
#include "xcache/calibrate/algebra.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/calibrate/dense.h"

enum { CHUNK = ALGEBRA_CHUNK };

/* Goes on after a failure, so that one check and one close do for all of it. */
static double *take(algebra *a, size_t n, bool *ok)
{
    double *p = malloc(n * sizeof *p);

    a->bytes += n * sizeof *p;
    if (!p) *ok = false;
    return p;
}

err algebra_open(algebra *a, team *t, size_t D)
{
    bool ok = true;

    *a = (algebra){.team = t, .D = D};
    a->rows = take(a, CHUNK * (D + 1), &ok);
    a->targets = take(a, CHUNK * D, &ok);
    a->values = take(a, D, &ok);
    for (int i = 0; i < ALGEBRA_SPARE; i++) a->spare[i] = take(a, (D + 1) * (D + 1), &ok);
    return ok ? ERR_OK : ERR_NOMEM;
}

void algebra_close(algebra *a)
{
    free(a->rows);
    free(a->targets);
    free(a->values);
    for (int i = 0; i < ALGEBRA_SPARE; i++) free(a->spare[i]);
    *a = (algebra){0};
}

static size_t chunk_of(size_t N, size_t at)
{
    return N - at < CHUNK ? N - at : CHUNK;
}

void algebra_mean(const algebra *a, const float *x, size_t N, double *mean)
{
    memset(mean, 0, a->D * sizeof *mean);
    for (size_t t = 0; t < N; t++)
        for (size_t i = 0; i < a->D; i++) mean[i] += x[t * a->D + i];
    for (size_t i = 0; i < a->D; i++) mean[i] /= (double)N;
}

void algebra_scatter(algebra *a, const float *x, size_t N, const double *mean, double *out)
{
    const size_t D = a->D;

    memset(out, 0, D * D * sizeof *out);
    for (size_t at = 0; at < N; at += CHUNK) {
        const size_t n = chunk_of(N, at);

        for (size_t t = 0; t < n; t++)
            for (size_t i = 0; i < D; i++)
                a->targets[t * D + i] = x[(at + t) * D + i] - (mean ? mean[i] : 0);
        /* centred before it is multiplied: a mean far from 0 would cancel the digits that
         * matter */
        dense_add_symmetric(a->team, a->targets, a->targets, D, n, out);
    }
    dense_mirror(out, D);
}

/* A chunk of n tokens: rows [state, 1] and targets x - state. */
static void fill_chunk(algebra *a, const float *state, const float *x, size_t n)
{
    const size_t D = a->D;

    for (size_t t = 0; t < n; t++, state += D, x += D) {
        double *row = a->rows + t * (D + 1), *target = a->targets + t * D;

        for (size_t i = 0; i < D; i++) {
            row[i] = state[i];
            target[i] = (double)x[i] - state[i];
        }
        /* the offset is fitted like any coefficient */
        row[D] = 1;
    }
}

void algebra_correlate(algebra *a, const float *state, const float *x, size_t N, double *gram,
                       double *cross)
{
    const size_t D = a->D;

    memset(gram, 0, (D + 1) * (D + 1) * sizeof *gram);
    memset(cross, 0, D * (D + 1) * sizeof *cross);
    for (size_t at = 0; at < N; at += CHUNK) {
        const size_t n = chunk_of(N, at);

        fill_chunk(a, state + at * D, x + at * D, n);
        dense_add_symmetric(a->team, a->rows, a->rows, D + 1, n, gram);
        dense_add_products(a->team, a->targets, D, a->rows, D + 1, n, cross);
    }
    dense_mirror(gram, D + 1);
}

void algebra_surround(algebra *a, const double *m, const double *s, double *temp, double *out)
{
    const size_t D = a->D, bytes = D * D * sizeof *out;

    /* both are symmetric, so m (s m) is, too, and half of the second product is saved */
    memset(temp, 0, bytes);
    dense_add_products(a->team, s, D, m, D, D, temp);
    memset(out, 0, bytes);
    dense_add_symmetric(a->team, m, temp, D, D, out);
}
