/* svd.h - the subspace of x that a projection sees: w = m u^T, u with orthonormal columns.
 *
 * For z = x u the product x w^T is z m^T exactly, so z may be stored instead of x. Signs are
 * fixed (the largest component of each column of u is positive), so that a machine gives
 * the same codes at every start. LAPACK's dgesdd, in double precision. */
#ifndef XCACHE_CODEC_SVD_H
#define XCACHE_CODEC_SVD_H

#include <stddef.h>

#include "engine/err.h"

/* Factor w [rows,cols], n = min(rows, cols):
 *   u_t [n,cols]  out  u transposed: right singular vectors, by falling singular value
 *   m [rows,n]    out  left singular vectors times singular values; NULL: not wanted
 * Errors: NOMEM, SYSTEM (no convergence). */
err svd_factor(const float *w, size_t rows, size_t cols, float *u_t, float *m);

#endif
