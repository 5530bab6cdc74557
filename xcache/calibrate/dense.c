/* dense.c - tiles for OpenBLAS, and LAPACK called as Fortran calls it: column by column. A
 * row-major symmetric matrix is the same matrix there, its upper triangle their lower. */
#include "xcache/calibrate/dense.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows of a result of P rows that one task makes: more where packing the other factor again
 * for every tile would cost more than an even split gains. */
static size_t tile_rows(size_t P)
{
    return P < 1024 ? 64 : 128;
}

static size_t rows_left(size_t P, size_t at)
{
    const size_t tile = tile_rows(P);

    return P - at < tile ? P - at : tile;
}

static int tiles_of(size_t P)
{
    return (int)((P + tile_rows(P) - 1) / tile_rows(P));
}

/* LAPACK 3, in the OpenBLAS library itself. */
void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda,
             double *w, double *work, const int *lwork, int *iwork, const int *liwork,
             int *info, size_t jobz_length, size_t uplo_length);
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info,
             size_t uplo_length);
void dposv_(const char *uplo, const int *n, const int *nrhs, double *a, const int *lda,
            double *b, const int *ldb, int *info, size_t uplo_length);

typedef struct product {
    const double *a, *b;
    double *out;
    size_t P, Q, K;
    CBLAS_TRANSPOSE turn_a, turn_b;
    double keep; /* what is kept of out */
} product;

static void multiply_tile(void *arg, int i, int slot)
{
    const product *p = arg;
    const bool columns = p->turn_a == CblasTrans; /* a is [K,P], not [P,K] */
    const size_t at = (size_t)i * tile_rows(p->P), n = rows_left(p->P, at);

    (void)slot;
    /* fixed rows, all columns: OpenBLAS sums equal shapes in one way, and no worker's share
     * changes them */
    cblas_dgemm(CblasRowMajor, p->turn_a, p->turn_b, (int)n, (int)p->Q, (int)p->K, 1.0,
                p->a + (columns ? at : at * p->K), (int)(columns ? p->P : p->K), p->b,
                (int)(p->turn_b == CblasTrans ? p->K : p->Q), p->keep, p->out + at * p->Q,
                (int)p->Q);
}

static void run_product(team *t, product *p)
{
    t->run(t, multiply_tile, p, tiles_of(p->P));
}

void dense_add_products(team *t, const double *a, size_t P, const double *b, size_t Q,
                        size_t rows, double *out)
{
    product p = {a, b, out, P, Q, rows, CblasTrans, CblasNoTrans, 1};

    run_product(t, &p);
}

/* A tile of a symmetric result, from its diagonal on. */
static void symmetric_tile(void *arg, int i, int slot)
{
    const product *p = arg;
    const size_t at = (size_t)i * tile_rows(p->P), n = rows_left(p->P, at);

    (void)slot;
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)n, (int)(p->P - at), (int)p->K,
                1.0, p->a + at, (int)p->P, p->b + at, (int)p->P, 1.0, p->out + at * p->P + at,
                (int)p->P);
}

void dense_add_symmetric(team *t, const double *a, const double *b, size_t P, size_t rows,
                         double *out)
{
    product p = {.a = a, .b = b, .out = out, .P = P, .K = rows};

    t->run(t, symmetric_tile, &p, tiles_of(P));
}

void dense_mirror(double *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) a[i * n + j] = a[j * n + i];
}

void dense_multiply(team *t, const double *a, size_t M, size_t K, const double *b, size_t N,
                    bool turned, double *out)
{
    product p = {a, b, out, M, N, K, CblasNoTrans, turned ? CblasTrans : CblasNoTrans, 0};

    run_product(t, &p);
}

static void swap_rows(double *a, double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double x = a[i];

        a[i] = b[i];
        b[i] = x;
    }
}

/* From LAPACK's rising order to a falling one, and one sign for each vector. */
static void order_vectors(double *a, size_t n, double *values)
{
    for (size_t i = 0; i < n / 2; i++) {
        swap_rows(a + i * n, a + (n - 1 - i) * n, n);
        swap_rows(values + i, values + n - 1 - i, 1);
    }
    for (size_t i = 0; i < n; i++) {
        double *v = a + i * n, most = 0;

        for (size_t j = 0; j < n; j++)
            if (fabs(v[j]) > fabs(most)) most = v[j];
        /* a vector and its negative are both right: one of them, so that plans of equal texts
         * are equal */
        for (size_t j = 0; most < 0 && j < n; j++) v[j] = -v[j];
    }
}

err dense_eigen(double *a, size_t n, double *values)
{
    /* what dsyevd's manual asks for with vectors */
    const int N = (int)n, lwork = 1 + 6 * N + 2 * N * N, liwork = 3 + 5 * N;
    double *work = malloc((size_t)lwork * sizeof *work);
    int *iwork = malloc((size_t)liwork * sizeof *iwork);
    int info = 0;

    if (work && iwork)
        dsyevd_("V", "L", &N, a, &N, values, work, &lwork, iwork, &liwork, &info, 1, 1);
    if (work && iwork && !info) order_vectors(a, n, values);
    free(iwork);
    free(work);
    return !work || !iwork ? ERR_NOMEM : info ? ERR_SYSTEM : ERR_OK;
}

err dense_factor(double *a, size_t n)
{
    const int N = (int)n;
    int info = 0;

    /* their lower L of a = L L^T, column by column, is R = L^T row by row */
    dpotrf_("L", &N, a, &N, &info, 1);
    for (size_t i = 1; i < n; i++) memset(a + i * n, 0, i * sizeof *a);
    return info ? ERR_SYSTEM : ERR_OK;
}

err dense_solve(double *a, size_t n, double *b, size_t m)
{
    const int N = (int)n, M = (int)m;
    int info = 0;

    /* their columns are our rows: right sides need no turning, and our upper triangle is their
     * lower */
    dposv_("L", &N, &M, a, &N, b, &N, &info, 1);
    return info ? ERR_SYSTEM : ERR_OK;
}
