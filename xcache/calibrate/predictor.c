/* predictor.c - ridge regression, whole or of a low rank. */
#include "xcache/calibrate/predictor.h"

#include <string.h>

#include "xcache/calibrate/dense.h"

static const double ridge = 1e-4; /* as a share of the mean of the diagonal */

/* Full: coefficients [D,D+1] as they are, the last column for c. */
static void keep_full(algebra *a, const double *coefficients, plan_layer *out)
{
    const size_t D = a->D;
    double *down = a->spare[3];

    for (size_t i = 0; i < D; i++) {
        memcpy(down + i * D, coefficients + i * (D + 1), D * sizeof *down);
        out->c[i] = (float)coefficients[i * (D + 1) + D];
    }
    plan_pack(D, down, &out->down);
}

/* vectors [D,D]: eigenvectors of A B^T gram B A, B^T the coefficients [D,D+1], which are the
 * right singular vectors of the fitted values in the metric. fitted [D,D+1] is B^T gram. */
static err find_directions(algebra *a, const metric *m, const double *fitted,
                           const double *coefficients, double *vectors)
{
    const size_t D = a->D;
    double *first = a->spare[3], *second = a->spare[4];

    dense_multiply(a->team, fitted, D, D + 1, coefficients, D, true, second);
    algebra_surround(a, m->a, second, first, vectors);
    return dense_eigen(vectors, D, a->values);
}

static err keep_rank(algebra *a, const metric *m, const double *fitted,
                     const double *coefficients, plan_layer *out)
{
    const size_t D = a->D, N = out->up.rows;
    double *v = a->spare[0], *up = a->spare[3], *down = a->spare[4];

    /* directions by what they do to K and V, not to x: the metric is in A on both sides */
    TRY(find_directions(a, m, fitted, coefficients, v));
    dense_multiply(a->team, v, N, D, m->inverse, D, false, up);
    plan_pack(D, up, &out->up);
    dense_multiply(a->team, v, N, D, m->a, D, false, down);
    dense_multiply(a->team, down, N, D, coefficients, D + 1, false, v); /* [N,D+1] */
    for (size_t i = 0; i < D; i++) {
        double sum = 0;

        for (size_t k = 0; k < N; k++) sum += v[k * (D + 1) + D] * up[k * D + i];
        out->c[i] = (float)sum;
    }
    for (size_t k = 0; k < N; k++) memcpy(down + k * D, v + k * (D + 1), D * sizeof *v);
    plan_pack(D, down, &out->down);
    return ERR_OK;
}

/* (gram + shrink I) B = cross^T for B^T, in the place of cross; of gram nothing is left. */
static err solve(const algebra *a, double *gram, double shrink, double *cross)
{
    const size_t n = a->D + 1;

    for (size_t i = 0; i < n; i++) gram[i * n + i] += shrink;
    return dense_solve(gram, n, cross, a->D);
}

err predictor_fit(algebra *a, const metric *m, plan_kind kind, const float *state,
                  const float *x, size_t N, plan_layer *out)
{
    const size_t D = a->D, n = D + 1;
    double *gram = a->spare[0], *coefficients = a->spare[1], *fitted = a->spare[2];
    double trace = 0, shrink;

    /* x^ itself is the prediction; what it misses on average is added to c later */
    if (kind == PLAN_NONE) {
        memset(out->c, 0, D * sizeof *out->c);
        return ERR_OK;
    }
    algebra_correlate(a, state, x, N, gram, coefficients);
    memcpy(fitted, coefficients, D * n * sizeof *fitted);
    for (size_t i = 0; i < n; i++) trace += gram[i * n + i];
    /* as a share, for the matrix grows with the tokens and with the layer's magnitude */
    shrink = ridge * trace / (double)n;
    TRY(solve(a, gram, shrink, coefficients));
    if (kind == PLAN_FULL) {
        keep_full(a, coefficients, out);
        return ERR_OK;
    }
    /* B^T gram = cross - shrink B^T, by what was solved */
    for (size_t i = 0; i < D * n; i++) fitted[i] -= shrink * coefficients[i];
    return keep_rank(a, m, fitted, coefficients, out);
}
