/* errors.h - what errors in layer inputs do, in every layer: how much in which direction (forms
 * and metrics), and to which tokens (saliences). All of it comes from forward passes alone. */
#ifndef XCACHE_CALIBRATE_ERRORS_H
#define XCACHE_CALIBRATE_ERRORS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "xcache/calibrate/algebra.h"
#include "xcache/calibrate/inputs.h"
#include "xcache/calibrate/metric.h"
#include "xcache/calibrate/reader.h"

typedef struct errors {
    size_t L, D, E, C;
    double *forms;    /* [L,2E,C] in nats of KL */
    float *saliences; /* [L,D+1] */
    double *metrics;  /* [L,2,D,D] A and its inverse; layer 0 unused */
    double *floors;   /* [L] */
    double scale;     /* log2 of what an element of A x is, by root mean square */
    size_t bytes;
} errors;

/* From the first `rows` of the text, whose ids are given; x [N,D] is scratch. ERR_NOMEM,
 * ERR_SYSTEM. The caller closes, also after a failure. */
err errors_open(errors *out, const reader_model *r, inputs *text, size_t rows,
                const int32_t *ids, algebra *a, float *x, const stage *p);
void errors_close(errors *s);

metric errors_metric(const errors *s, size_t l);
double *errors_form(const errors *s, size_t l);    /* [2E,C] */
float *errors_salience(const errors *s, size_t l); /* [D+1] */

/* out [D,D] = what errors in x_l weigh for the layer itself and, at half of it each, for the
 * next three, which are predicted from it: A^2 / tr A^2 of each. temp [D,D]. */
void errors_weight(const errors *s, team *t, size_t l, double *temp, double *out);

#endif
