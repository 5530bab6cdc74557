/* model_load.h - from a GGUF file to packed weights, or to what they would take. */
#ifndef ENGINE_MODEL_MODEL_LOAD_H
#define ENGINE_MODEL_MODEL_LOAD_H

#include <stdatomic.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/model/model.h"

/* Read and pack the weights of g, which must outlive *out. ctx = positions to prepare,
 * 0: as trained, 131,072 at most. `why` names the key or tensor at fault.
 * Errors: ARCH, PART, MISSING, KEYTYPE, RANGE, SHAPE, TENSORTYPE, NOMEM. The caller closes. */
err model_open(model **out, const gguf *g, size_t ctx, fault *why);

/* The same; *permille rises from 0 to 1000 as layers are packed, for who watches from another
 * thread. */
err model_open_watched(model **out, const gguf *g, size_t ctx, atomic_uint *permille,
                       fault *why);

/* The sizes of a model, its ctx and the weight_bytes that model_open would take, by the file's
 * values and the tensors' types: nothing is read or packed, and *out holds nothing else. Errors
 * of the values, as there. */
err model_measure(model *out, const gguf *g, size_t ctx, fault *why);

#endif
