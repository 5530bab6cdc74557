/* raw_keys.h - keys as Wk gives them, where a norm stands between those and attention: what
 * moves one moves the other by the norm's derivative, r gain (I - k k^T / |k|^2).
 *
 * The norm is over a head or over all of them (model_layer.whole_norm); of the latter's
 * derivative the head's own part is taken. */
#ifndef XCACHE_CALIBRATE_RAW_KEYS_H
#define XCACHE_CALIBRATE_RAW_KEYS_H

#include <stddef.h>

#include "engine/model/model.h"

typedef struct raw_keys {
    const model *m;
    const model_layer *layer;
    float *keys; /* [T,E] with their bias, less the mean where the norm takes it */
    float *norm; /* [T,G] 1 / rms */
} raw_keys;

/* From products k [T,E] with Wk, before model_finish_kv overwrites them. */
void raw_keys_find(const raw_keys *r, const float *k, size_t T);

/* z [C], a derivative by key g of token j as attention sees it, becomes one by the raw key. */
void raw_keys_pull(const raw_keys *r, size_t j, size_t g, float *z);

/* |z|^2 of the same, were the gains alike, of a z with |z|^2 = square and z k = s. The part
 * along the key is q k^T as attention has it over |k|, which the norm makes sqrt(C) / r. */
float raw_keys_square(const raw_keys *r, size_t j, size_t g, float square, float s);

/* Mean square of the gains: how a norm scales a key, whatever its direction; 1 without one. */
float raw_keys_gain(const raw_keys *r);

#endif
