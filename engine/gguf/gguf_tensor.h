/* gguf_tensor.h - a named tensor of a model file, and how its numbers are stored.
 *
 * The types are rows of tensor_types.def: a type is so many elements in a block of so many
 * bytes, and a row of a tensor is whole blocks. */
#ifndef ENGINE_GGUF_GGUF_TENSOR_H
#define ENGINE_GGUF_GGUF_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf_value.h"

enum { GGUF_MAX_DIMS = 4 };

typedef enum gguf_type {
#define TENSOR_TYPE(name, id, elements, bytes) GGUF_##name = (id),
#include "engine/gguf/tensor_types.def"
#undef TENSOR_TYPE
} gguf_type;

/* dim[0] runs fastest: a matrix of R rows and C columns has dim = {C, R}. Missing ones
 * are 1. data is aligned as the file says (32 bytes, mostly). */
typedef struct gguf_tensor {
    gguf_text name;
    gguf_type type;
    int n_dims;
    uint64_t dim[GGUF_MAX_DIMS];
    uint64_t offset; /* of data, from where the file's data begin */
    const void *data;
    size_t bytes;
} gguf_tensor;

/* Name and sizes of a tensor type: elements and bytes of one block. NULL if unknown. */
const char *gguf_type_name(uint32_t type, size_t *elements, size_t *bytes);

/* Set t's bytes from its type and dimensions. ERR_TENSORTYPE; ERR_SHAPE: a dimension of 0, a
 * row of no whole blocks, more than memory can address. */
err gguf_tensor_measure(gguf_tensor *t);

#endif
