/* projection.h - keys and values of whole blocks: layer inputs times Wk and Wv.
 *
 * Where these multiply int8 activations (model.int8_kv) the packed weights of the forward pass
 * serve: a rebuilt input is multiplied as the one that was there, and nothing is kept twice.
 * Of other weights there is a copy as floats, for OpenBLAS. */
#ifndef XCACHE_CODEC_PROJECTION_H
#define XCACHE_CODEC_PROJECTION_H

#include "engine/err.h"
#include "engine/kern/kern.h"
#include "engine/model/model.h"

typedef struct projection {
    const model *m;
    const kern *kern;
    float *weights; /* [L,2,E,D], owned; NULL where the packed ones serve */
} projection;

/* ERR_NOMEM. The model and k are borrowed. The caller closes. */
err projection_open(projection *out, const model *m, const kern *k);
void projection_close(projection *p);

/* Bytes that projection_open takes, by sizes alone. */
size_t projection_bytes(const model *m);

/* Floats of scratch that `rows` rows want; 0 for floats. */
size_t projection_temp_floats(const model *m, size_t rows);

/* k, v [rows,E] = x [rows,D] times Wk, Wv of a layer; biases and norms come later. Any
 * thread. */
void projection_run(const projection *p, size_t layer, const float *x, size_t rows, float *temp,
                    float *k, float *v);

#endif
