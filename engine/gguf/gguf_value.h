/* gguf_value.h - one value of a model file, or a list of them.
 *
 * Values are read where they lie, at any address; gguf_file.c has checked that they end inside
 * the file. A single value is a list of one. */
#ifndef ENGINE_GGUF_GGUF_VALUE_H
#define ENGINE_GGUF_GGUF_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"

/* Text inside the mapping; not NUL-terminated. */
typedef struct gguf_text {
    const char *at;
    size_t n;
} gguf_text;

/* The file's value types that callers ask for, by their number. */
enum {
    GGUF_TYPE_UINT8 = 0,
    GGUF_TYPE_INT8 = 1,
    GGUF_TYPE_UINT32 = 4,
    GGUF_TYPE_INT32 = 5,
    GGUF_TYPE_FLOAT32 = 6,
    GGUF_TYPE_TEXT = 8
};

/* A list of texts or numbers among the values: at any address, so read them by memcpy. */
typedef struct gguf_array {
    uint32_t type; /* the file's value type */
    uint64_t n;
    const void *data; /* first element */
    const void *end;  /* one past the last byte */
} gguf_array;

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

/* The next text of an array of texts; `at` starts as array.data and is moved on. */
gguf_text gguf_next_text(const void **at);

/* As a person reads it; see gguf_print_value. */
void gguf_value_print(const gguf_array *v, bool is_array, char *text, size_t n);

#endif
