/* model_load.h - from a GGUF file to packed weights, or to what they would take. */
#ifndef ENGINE_MODEL_MODEL_LOAD_H
#define ENGINE_MODEL_MODEL_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/model/model.h"

typedef struct model_options {
    size_t ctx;            /* positions to prepare; 0: as trained, 131,072 at most */
    bool exact_products;   /* activations are multiplied as floats, never as int8: quantized
                              weights are expanded to 4 bytes each. For measurements */
    atomic_uint *permille; /* rises from 0 to 1000 as layers are packed, for who watches from
                              another thread; NULL: nobody does */
} model_options;

/* Read and pack the weights of g, which must outlive *out. `why` names the key or tensor at
 * fault. Errors: ARCH, PART, MISSING, KEYTYPE, RANGE, SHAPE, TENSORTYPE, NOMEM. The caller
 * closes. */
err model_open_with(model **out, const gguf *g, const model_options *o, fault *why);

/* The same with no option but ctx. */
err model_open(model **out, const gguf *g, size_t ctx, fault *why);

/* The sizes of a model, its ctx and the weight_bytes that model_open_with would take, by the
 * file's values and the tensors' types: nothing is read or packed, and *out holds nothing else.
 * Errors of the values, as there. */
err model_measure(model *out, const gguf *g, const model_options *o, fault *why);

#endif
