/* gguf_tensor.c - rows of tensor_types.def, and what a tensor takes by them. */
#include "engine/gguf/gguf_tensor.h"

/* A search of 14 rows: it is asked when a file is opened, never in a step. */
const char *gguf_type_name(uint32_t type, size_t *elements, size_t *bytes)
{
    static const struct {
        const char *name;
        uint32_t id;
        size_t elements, bytes;
    } types[] = {
#define TENSOR_TYPE(name, id, elements, bytes) {#name, id, elements, bytes},
#include "engine/gguf/tensor_types.def"
#undef TENSOR_TYPE
    };

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (types[i].id != type) continue;
        if (elements) *elements = types[i].elements;
        if (bytes) *bytes = types[i].bytes;
        return types[i].name;
    }
    return NULL;
}

/* Dimensions are the file's claim, so every product is checked: one that wrapped around would
 * make a small tensor of a huge one, and reading it would leave the mapping. */
err gguf_tensor_measure(gguf_tensor *t)
{
    size_t elements, bytes;
    uint64_t product = 1;

    if (!gguf_type_name(t->type, &elements, &bytes)) return ERR_TENSORTYPE;
    for (int i = 0; i < GGUF_MAX_DIMS; i++)
        if (t->dim[i] == 0 || __builtin_mul_overflow(product, t->dim[i], &product))
            return ERR_SHAPE;
    if (t->dim[0] % elements) return ERR_SHAPE;
    if (__builtin_mul_overflow(product / elements, bytes, &t->bytes)) return ERR_SHAPE;
    return ERR_OK;
}
