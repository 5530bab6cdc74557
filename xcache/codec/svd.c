/* svd.c - LAPACK's divide and conquer, called as Fortran calls it: column by column. */
#include "xcache/codec/svd.h"

#include <math.h>
#include <stdlib.h>

/* LAPACK 3, in the OpenBLAS library itself: a = u diag(s) vt, columns first. */
void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s,
             double *u, const int *ldu, double *vt, const int *ldvt, double *work,
             const int *lwork, int *iwork, int *info, size_t jobz_length);

typedef struct factors {
    double *a, *s, *u, *vt, *work;
    int *iwork;
} factors;

static void factors_free(factors *f)
{
    free(f->a);
    free(f->s);
    free(f->u);
    free(f->vt);
    free(f->work);
    free(f->iwork);
}

/* A row-major w [rows,cols] is a column-major matrix of cols x rows: a = w^T, whose left
 * vectors are u of the header and whose right vectors are m's. */
static err run_lapack(factors *f, const float *w, size_t rows, size_t cols)
{
    const int R = (int)cols, C = (int)rows, n = R < C ? R : C;
    int info = 0, lwork = -1;
    double best = 0;

    f->a = malloc(rows * cols * sizeof *f->a);
    f->s = malloc((size_t)n * sizeof *f->s);
    f->u = malloc(cols * (size_t)n * sizeof *f->u);
    f->vt = malloc((size_t)n * rows * sizeof *f->vt);
    f->iwork = malloc(8 * (size_t)n * sizeof *f->iwork);
    if (!f->a || !f->s || !f->u || !f->vt || !f->iwork) return ERR_NOMEM;
    for (size_t i = 0; i < rows * cols; i++) f->a[i] = w[i];
    /* the first call asks how much work memory is best, the second computes */
    dgesdd_("S", &R, &C, f->a, &R, f->s, f->u, &R, f->vt, &n, &best, &lwork, f->iwork, &info,
            1);
    lwork = (int)best;
    f->work = malloc((size_t)lwork * sizeof *f->work);
    if (!f->work) return ERR_NOMEM;
    dgesdd_("S", &R, &C, f->a, &R, f->s, f->u, &R, f->vt, &n, f->work, &lwork, f->iwork, &info,
            1);
    return info ? ERR_SYSTEM : ERR_OK;
}

/* -1 or 1: what makes the largest component of a column positive. */
static double sign_of(const double *column, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        if (fabs(column[i]) > fabs(column[best])) best = i;
    return column[best] < 0 ? -1 : 1;
}

/* In doubles, rounded once: codes are taken of u, and a cache that is opened again must find
 * the same u, or blocks of two starts would differ. */
err svd_factor(const float *w, size_t rows, size_t cols, float *u_t, float *m)
{
    const size_t n = rows < cols ? rows : cols;
    factors f = {0};
    const err e = run_lapack(&f, w, rows, cols);

    for (size_t j = 0; e == ERR_OK && j < n; j++) {
        const double sign = sign_of(f.u + j * cols, cols);

        for (size_t i = 0; i < cols; i++) u_t[j * cols + i] = (float)(sign * f.u[j * cols + i]);
        for (size_t r = 0; m && r < rows; r++)
            m[r * n + j] = (float)(sign * f.s[j] * f.vt[r * n + j]);
    }
    factors_free(&f);
    return e;
}
