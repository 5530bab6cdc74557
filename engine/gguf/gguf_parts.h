/* gguf_parts.h - the files of a split model, one by one: what gguf.c has for gguf_split.c.
 * Internal to gguf. */
#ifndef ENGINE_GGUF_GGUF_PARTS_H
#define ENGINE_GGUF_GGUF_PARTS_H

#include <stddef.h>

#include "engine/gguf/gguf.h"

/* gguf_open and gguf_open_memory for one file, whatever it says about others. */
err gguf_open_part(gguf **out, const char *path, fault *why);
err gguf_open_part_memory(gguf **out, const void *data, size_t n, fault *why);

/* Append the tensors of `part` to g's, which closes it with itself from now on. ERR_NOMEM: it
 * is the caller's still. The tensors are not found by name until gguf_index_parts. */
err gguf_add_part(gguf *g, gguf *part);

/* Sort the names of all tensors. ERR_DUPLICATE, ERR_NOMEM. */
err gguf_index_parts(gguf *g, fault *why);

#endif
