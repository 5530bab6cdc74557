/* sensitivity.h - how much a layer's errors move the model's answer: nats of KL a position for
 * an error of one unit of its influence form.
 *
 * Noise is put into the keys and values of one layer at a time, shaped as what a good code
 * leaves: as large in every direction of the form. The network reads it as it reads a coded
 * block, its own block exactly, and its logits are compared with those without. */
#ifndef XCACHE_CALIBRATE_SENSITIVITY_H
#define XCACHE_CALIBRATE_SENSITIVITY_H

#include <stddef.h>

#include "engine/err.h"
#include "xcache/calibrate/inputs.h"
#include "xcache/calibrate/reader.h"

/* Of one layer, as a power of noise is chosen. */
typedef struct sensitivity_layer {
    const double *form; /* [2E,C] positive definite */
    double power;       /* of what is coded, in the form */
} sensitivity_layer;

/* Fill out [L] from the first few rows of x, whose ids are given: from a block of each,
 * behind noise in all before it. Layer 0 gets 0: it is never coded. ERR_EMPTY: rows are shorter
 * than two blocks; ERR_NOMEM, ERR_SYSTEM. Cost: L passes over those blocks. */
err sensitivity_find(const reader_model *r, inputs *x, const int32_t *ids,
                     const sensitivity_layer *layers, double *out, const stage *p);

#endif
