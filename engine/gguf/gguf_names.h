/* gguf_names.h - the names of keys or tensors, sorted: for lookup, and to find doubles.
 * Internal to gguf. */
#ifndef ENGINE_GGUF_GGUF_NAMES_H
#define ENGINE_GGUF_GGUF_NAMES_H

#include <stddef.h>

#include "engine/err.h"
#include "engine/gguf/gguf_value.h"

typedef struct gguf_names {
    const gguf_text **name; /* [n] ascending; each is the first member of what it names */
    size_t n;
} gguf_names;

/* Sort the n names that lie `stride` bytes apart from `first` on. ERR_NOMEM; ERR_DUPLICATE, and
 * `why` says which. The caller closes *x, whatever this says. */
err gguf_names_open(gguf_names *x, const void *first, size_t n, size_t stride, fault *why);
void gguf_names_close(gguf_names *x);

/* What has that name, or NULL. */
const void *gguf_names_find(const gguf_names *x, const char *name);

#endif
