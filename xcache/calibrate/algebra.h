/* algebra.h - sums over tokens and products of matrices as wide as the model, in double
 * precision: what the steps of calibration share, with the memory they work in.
 *
 * Matrices are row-major, [D,D] unless said. Rows of floats [N,D] pass through `rows` and
 * `targets` a chunk at a time. One caller; its team works inside the calls. */
#ifndef XCACHE_CALIBRATE_ALGEBRA_H
#define XCACHE_CALIBRATE_ALGEBRA_H

#include <stddef.h>

#include "engine/err.h"
#include "engine/team.h"

enum { ALGEBRA_SPARE = 5, ALGEBRA_CHUNK = 1024 };

typedef struct algebra {
    team *team;
    size_t D, bytes;
    double *rows;                 /* [chunk,D+1] */
    double *targets;              /* [chunk,D] */
    double *values;               /* [D] scratch of any step, like the next */
    double *spare[ALGEBRA_SPARE]; /* [D+1,D+1] each */
} algebra;

/* The team is borrowed. ERR_NOMEM. The caller closes, also after a failure. */
err algebra_open(algebra *a, team *t, size_t D);
void algebra_close(algebra *a);

/* mean [D] of the rows of x. */
void algebra_mean(const algebra *a, const float *x, size_t N, double *mean);

/* out = sum over rows of (x - mean)(x - mean)^T; mean NULL: 0. Cost: N D^2 flop. */
void algebra_scatter(algebra *a, const float *x, size_t N, const double *mean, double *out);

/* gram [D+1,D+1] of the rows [state, 1], and cross [D,D+1], the sum of (x - state) times such
 * a row; state and x [N,D]. Cost: 3 N D^2 flop. */
void algebra_correlate(algebra *a, const float *state, const float *x, size_t N, double *gram,
                       double *cross);

/* out = m s m for symmetric m and s: its upper triangle, which is what dense_eigen wants;
 * temp [D,D]. */
void algebra_surround(algebra *a, const double *m, const double *s, double *temp, double *out);

#endif
