/* similarity.h - how alike neighbouring layers are: what differences over depth live on. */
#ifndef XCACHE_CALIBRATE_SIMILARITY_H
#define XCACHE_CALIBRATE_SIMILARITY_H

#include "engine/err.h"
#include "xcache/calibrate/reader.h"

/* Mean cosines of two layers, -1 .. 1: of their inputs, of their keys before rotary positions
 * and of their values, all heads of a token as one vector. */
typedef struct similarity {
    double x, k, v;
} similarity;

/* Read the text exactly. out [L-1]: layers l and l+1, mean over all tokens. ERR_NOMEM,
 * ERR_SYSTEM. Holds the inputs of all layers of all tokens meanwhile. */
err similarity_measure(const reader_model *r, const reader_text *text, similarity *out);

#endif
