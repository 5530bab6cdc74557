/* gguf_value.h - one value of a model file, or a list of them. Internal to gguf.
 *
 * Values are read where they lie, at any address; gguf.c has checked that they end inside
 * the file. A single value is a list of one. */
#ifndef ENGINE_GGUF_GGUF_VALUE_H
#define ENGINE_GGUF_GGUF_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"

typedef enum gguf_kind {
    GGUF_KIND_UNSIGNED,
    GGUF_KIND_SIGNED,
    GGUF_KIND_REAL,
    GGUF_KIND_BOOL,
    GGUF_KIND_TEXT
} gguf_kind;

enum { GGUF_VALUE_ARRAY = 9 };

typedef struct gguf_value_type {
    const char *name;
    gguf_kind kind;
    size_t bytes; /* of one; of its length field, for a text */
} gguf_value_type;

/* The value type of that number; NULL if there is none, or if it is the list's. */
const gguf_value_type *gguf_value_type_of(uint32_t type);

/* The first element. ERR_KEYTYPE if it is of another kind or does not fit. */
err gguf_value_u64(const gguf_array *v, uint64_t *out);
err gguf_value_f64(const gguf_array *v, double *out);
err gguf_value_bool(const gguf_array *v, bool *out);
err gguf_value_text(const gguf_array *v, gguf_text *out);

/* As a person reads it; see gguf_print_value. */
void gguf_value_print(const gguf_array *v, bool is_array, char *text, size_t n);

#endif
