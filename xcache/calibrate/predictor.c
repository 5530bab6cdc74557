/* predictor.c - ridge regression, whole or of a low rank beside a diagonal.
 *
 *    spare   0          1           2             3         4
 *            gram       cross       -             W
 *            -          S + B       B gram        W -> R
 *            V [D,D]    B           down          R         V R, then up */
#include "xcache/calibrate/predictor.h"

#include <cblas.h>
#include <string.h>

#include "xcache/calibrate/dense.h"

static const double ridge = 1e-4; /* as a share of the mean of the diagonal */

/* Slopes of each channel by itself, about its mean: S. */
static void fit_diagonal(size_t D, const double *gram, const double *cross, float *out)
{
    const double N = gram[D * (D + 1) + D];

    for (size_t i = 0; i < D; i++) {
        const double *g = gram + i * (D + 1), *c = cross + i * (D + 1);
        const double variance = g[i] - g[D] * g[D] / N;

        /* a channel that never moves has no slope */
        out[i] = variance > 1e-12 * g[i] ? (float)((c[i] - c[D] * g[D] / N) / variance) : 0;
    }
}

/* B [D,D+1] as it is, the last column for c. */
static void keep_full(const algebra *a, const double *b, plan_layer *out)
{
    const size_t D = a->D;
    double *down = a->spare[2];

    for (size_t i = 0; i < D; i++) {
        memcpy(down + i * D, b + i * (D + 1), D * sizeof *down);
        out->c[i] = (float)b[i * (D + 1) + D];
    }
    plan_pack(D, down, &out->down);
}

/* vectors [D,D]: eigenvectors of R B gram B^T R^T; fitted [D,D+1] is B gram. */
static err find_directions(algebra *a, const double *r, const double *fitted, const double *b,
                           double *vectors)
{
    const size_t D = a->D;
    const int n = (int)D;

    dense_multiply(a->team, fitted, D, D + 1, b, D, true, vectors);
    cblas_dtrmm(CblasRowMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, n, n, 1.0, r,
                n, vectors, n);
    cblas_dtrmm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, n, n, 1.0, r,
                n, vectors, n);
    return dense_eigen(vectors, D, a->values);
}

/* down = V R B, and up, transposed, V R^-T; what B adds to every token goes into c. */
static err keep_rank(algebra *a, double *weight, const double *fitted, const double *b,
                     plan_layer *out)
{
    const size_t D = a->D, N = out->up.rows;
    double *v = a->spare[0], *down = a->spare[2], *turned = a->spare[4];

    TRY(dense_factor(weight, D));
    TRY(find_directions(a, weight, fitted, b, v));
    memcpy(turned, v, N * D * sizeof *v);
    cblas_dtrmm(CblasRowMajor, CblasRight, CblasUpper, CblasNoTrans, CblasNonUnit, (int)N,
                (int)D, 1.0, weight, (int)D, turned, (int)D);
    dense_multiply(a->team, turned, N, D, b, D + 1, false, down); /* [N,D+1] */
    memcpy(turned, v, N * D * sizeof *v);
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, (int)N, (int)D,
                1.0, weight, (int)D, turned, (int)D);
    plan_pack(D, turned, &out->up);
    for (size_t i = 0; i < D; i++) {
        double sum = 0;

        for (size_t k = 0; k < N; k++) sum += down[k * (D + 1) + D] * turned[k * D + i];
        out->c[i] = (float)sum;
    }
    /* rows closer together, without the column of c */
    for (size_t k = 1; k < N; k++) memmove(down + k * D, down + k * (D + 1), D * sizeof *down);
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

/* b: S + B in, B out. fitted = cross - S gram in, B gram out: (S + B) gram is by what was
 * solved cross - shrink (S + B). */
static void take_diagonal(size_t D, const float *s, double shrink, double *b, double *fitted)
{
    for (size_t i = 0; i < D * (D + 1); i++) fitted[i] -= shrink * b[i];
    for (size_t i = 0; i < D; i++) b[i * (D + 1) + i] -= (double)s[i];
}

err predictor_fit(algebra *a, double *weight, plan_kind kind, const float *state,
                  const float *x, size_t N, plan_layer *out)
{
    const size_t D = a->D, n = D + 1;
    double *gram = a->spare[0], *b = a->spare[1], *fitted = a->spare[2];
    double trace = 0, shrink;

    /* x^ itself is the prediction; what it misses on average is added to c later */
    if (kind == PLAN_NONE) {
        memset(out->c, 0, D * sizeof *out->c);
        memset(out->diagonal, 0, D * sizeof *out->diagonal);
        return ERR_OK;
    }
    algebra_correlate(a, state, x, N, gram, b);
    fit_diagonal(D, gram, b, out->diagonal);
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < n; j++)
            fitted[i * n + j] = b[i * n + j] - (double)out->diagonal[i] * gram[i * n + j];
    for (size_t i = 0; i < n; i++) trace += gram[i * n + i];
    /* as a share, for the matrix grows with the tokens and with the layer's magnitude */
    shrink = ridge * trace / (double)n;
    TRY(solve(a, gram, shrink, b));
    take_diagonal(D, out->diagonal, shrink, b, fitted);
    if (kind == PLAN_RANK) return keep_rank(a, weight, fitted, b, out);
    keep_full(a, b, out);
    return ERR_OK;
}
