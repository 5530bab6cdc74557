/* dense.h - linear algebra of calibration, in double precision, row-major.
 *
 * Large products are cut into tiles of fixed shape that a team shares, so that a result does
 * not depend on the number of workers; eigenpairs and solves are LAPACK's, on one thread. */
#ifndef XCACHE_CALIBRATE_DENSE_H
#define XCACHE_CALIBRATE_DENSE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/team.h"

/* out [P,Q] += a^T b, a [rows,P], b [rows,Q]. */
void dense_add_products(team *t, const double *a, size_t P, const double *b, size_t Q,
                        size_t rows, double *out);

/* The same where a^T b is symmetric, b [rows,P], as for b = a, at half the cost: only the upper
 * triangle of out [P,P] counts until dense_mirror copies it to the lower one. */
void dense_add_symmetric(team *t, const double *a, const double *b, size_t P, size_t rows,
                         double *out);
void dense_mirror(double *a, size_t n);

/* out [M,N] = a b, a [M,K], b [K,N]; or a b^T, b [N,K], if `turned`. */
void dense_multiply(team *t, const double *a, size_t M, size_t K, const double *b, size_t N,
                    bool turned, double *out);

/* Eigenpairs of a symmetric a [n,n] (its upper triangle counts): row i of a becomes the
 * vector of values[i], values falling, the largest component of each vector positive.
 * ERR_NOMEM, ERR_SYSTEM (no convergence). LAPACK: dsyevd. */
err dense_eigen(double *a, size_t n, double *values);

/* a [n,n] symmetric and positive definite to R^T R, R upper triangular: R in the upper
 * triangle, zeros below. ERR_SYSTEM: it is not. LAPACK: dpotrf. */
err dense_factor(double *a, size_t n);

/* Solve a x = b^T for m right sides, b [m,n] in, x^T out; a [n,n] symmetric and positive
 * definite, overwritten. ERR_SYSTEM: it is not. LAPACK: dposv. */
err dense_solve(double *a, size_t n, double *b, size_t m);

#endif
