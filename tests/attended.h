/* attended.h - influence (xcache/calibrate/influence.h) once more, as plain loops in double
 * precision over every query that is looked at and all of its keys: nothing is drawn. */
#ifndef TESTS_ATTENDED_H
#define TESTS_ATTENDED_H

#include <stddef.h>

#include "engine/gguf/gguf.h"
#include "engine/model/model.h"
#include "xcache/calibrate/inputs.h"

/* Rows of so many tokens, T; every 8th of them is a query. C at most. */
enum {
    ATTENDED_ROW = 384,
    ATTENDED_N = 2 * ATTENDED_ROW,
    ATTENDED_STRIDE = 8,
    ATTENDED_C = 32
};

/* What is borrowed: the inputs are ATTENDED_N tokens. */
typedef struct attended_of {
    const gguf *file;
    const model *m;
    inputs *x;
} attended_of;

typedef struct attended {
    const model *m;
    const model_layer *layer;
    float *wq, *wk, *wv, *wo; /* as floats */
    float *x;                 /* [T,D] */
    double *raw, *k, *q, *v;  /* [T,E] [T,E] [T,H*C] [T,E]; k, q turned */
    double *norm;             /* [T,G] 1 / rms */
    double *form;             /* [2E,C] */
    double key[ATTENDED_N], value[ATTENDED_N];
} attended;

/* A layer's weights, and memory; key, value and form are 0. Fails the test, like all here,
 * when it cannot. */
attended *attended_open(const attended_of *b, size_t l);
void attended_close(attended *p);

/* Forms and weights of a layer; the caller closes. */
attended *attended_find(const attended_of *b, size_t l);

/* y [rows] = w x, plus a bias where there is one. */
void attended_apply(const attended *p, const float *w, const float *bias, size_t rows,
                    const float *x, double *y);

#endif
