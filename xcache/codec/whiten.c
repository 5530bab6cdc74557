/* whiten.c - a Cholesky factor by LAPACK, products with it by BLAS.
 *
 * LAPACK counts column by column: the lower triangle it factors is our upper one, and its L is
 * our R turned, which is R where we read it. */
#include "xcache/codec/whiten.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

/* LAPACK 3, in the OpenBLAS library itself. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info,
             size_t uplo_length);

/* m += w^T form w of one head; wide [2,C,D] is scratch. */
static void add_head(const whiten_form *in, size_t row, double *wide, double *m)
{
    const size_t C = in->C, D = in->D;
    double *formed = wide + C * D;

    for (size_t i = 0; i < C * D; i++) wide[i] = (double)in->w[row * D + i];
    memset(formed, 0, C * D * sizeof *formed);
    for (size_t i = 0; i < C; i++)
        for (size_t j = 0; j < C; j++) {
            /* halves round the two triangles apart: their mean is symmetric */
            const double f = 0.5 * ((double)in->form[(row + i) * C + j] +
                                    (double)in->form[(row + j) * C + i]);

            cblas_daxpy((int)D, f, wide + j * D, 1, formed + i * D, 1);
        }
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)D, (int)D, (int)C, 1.0, wide,
                (int)D, formed, (int)D, 1.0, m, (int)D);
}

err whiten_find(const whiten_form *in, double *r)
{
    const size_t D = in->D;
    const int n = (int)D;
    double *wide = malloc(2 * in->C * D * sizeof *wide);
    int info = 0;

    if (!wide) return ERR_NOMEM;
    memset(r, 0, D * D * sizeof *r);
    for (size_t i = 0; i < D; i++) r[i * D + i] = in->floor;
    for (size_t row = 0; row < 2 * in->E; row += in->C) add_head(in, row, wide, r);
    free(wide);
    dpotrf_("L", &n, r, &n, &info, 1);
    return info ? ERR_SYSTEM : ERR_OK;
}

static void widen(const float *from, size_t n, double *to)
{
    for (size_t i = 0; i < n; i++) to[i] = (double)from[i];
}

static void narrow(const double *from, size_t n, float *to)
{
    for (size_t i = 0; i < n; i++) to[i] = (float)from[i];
}

void whiten_expand(const double *r, size_t D, const float *q, size_t n, double *temp, float *f,
                   float *b)
{
    if (!n) return;
    widen(q, n * D, temp);
    cblas_dtrmm(CblasRowMajor, CblasRight, CblasUpper, CblasNoTrans, CblasNonUnit, (int)n,
                (int)D, 1.0, r, (int)D, temp, (int)D);
    narrow(temp, n * D, f);
    widen(q, n * D, temp);
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, (int)n, (int)D,
                1.0, r, (int)D, temp, (int)D);
    narrow(temp, n * D, b);
}

void whiten_contract(const double *r, size_t D, double *rows, size_t n)
{
    if (!n) return;
    cblas_dtrmm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, (int)n, (int)D,
                1.0, r, (int)D, rows, (int)D);
}
