/* gguf.h - a model file: named values and named tensors, mapped read-only.
 *
 * A large model may be split: NAME-00001-of-00003.gguf and so on, each a file like any other
 * with keys split.no, split.count and split.tensors.count. The first is the one to open; its
 * values are the model's, and the tensors of all follow each other in the files' order.
 *
 * Everything the file claims is checked once, when it is opened: counts against the
 * file's size, strings, types, dimensions, alignment, the place of each tensor. After
 * that nothing can point outside the mapping. Memory taken is proportional to the number
 * of keys and tensors that really are in the file.
 * Format: GGUF version 2 and 3, little-endian (ggml-org/ggml docs/gguf.md). */
#ifndef ENGINE_GGUF_GGUF_H
#define ENGINE_GGUF_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf_tensor.h"
#include "engine/gguf/gguf_value.h"

typedef struct gguf gguf;

/* Map and check the file, and the others of a split model beside it. The caller closes *out.
 * `why` names the field at fault (a key, a tensor, or a field of the header), in another file
 * than the first behind its name, "NAME-00002-of-00003.gguf: split.no"; it may be NULL.
 * Errors: OPEN, READ, NOMEM, SPLITFIRST, SPLITNAME, SPLIT, and every one of a malformed file.
 */
err gguf_open(gguf **out, const char *path, fault *why);
void gguf_close(gguf *g);

/* Are the files still as they were when they were opened, by size and time? A file that was cut
 * short under its mapping kills who reads what is gone. ERR_CHANGED: `why` names the file, if
 * it is not the first. */
err gguf_check_unchanged(const gguf *g, fault *why);

/* Nothing of the files is resident any more; what is read again comes from them again. */
void gguf_drop_pages(const gguf *g);

/* A file's bytes, borrowed. */
typedef struct gguf_image {
    const void *data;
    size_t n;
} gguf_image;

/* The same over memory that outlives *out, a file or the n files of a split model; nothing is
 * copied. For tests and fuzzing. */
err gguf_open_memory(gguf **out, const void *data, size_t n, fault *why);
err gguf_open_images(gguf **out, const gguf_image *files, size_t n, fault *why);

/* Values. Each returns ERR_MISSING when there is no such key and ERR_KEYTYPE when its
 * value has another type or does not fit: integers of any width are read as numbers. */
err gguf_get_u64(const gguf *g, const char *key, uint64_t *out);
err gguf_get_f64(const gguf *g, const char *key, double *out); /* floats and integers */
err gguf_get_bool(const gguf *g, const char *key, bool *out);
err gguf_get_text(const gguf *g, const char *key, gguf_text *out);
err gguf_get_array(const gguf *g, const char *key, gguf_array *out);

/* Tensors, in the file's order or by name (NULL if absent). Owned by g. */
size_t gguf_tensors(const gguf *g);
const gguf_tensor *gguf_tensor_at(const gguf *g, size_t i);
const gguf_tensor *gguf_find(const gguf *g, const char *name);

/* Keys in the file's order: for `inspect`. type is the file's value type; text is the
 * value as a person reads it, arrays shortened, cut to n bytes, NUL-terminated. */
size_t gguf_keys(const gguf *g);
gguf_text gguf_key_at(const gguf *g, size_t i, uint32_t *type);
void gguf_print_value(const gguf *g, size_t i, char *text, size_t n);

uint32_t gguf_version(const gguf *g); /* of the first file */
size_t gguf_files(const gguf *g);
size_t gguf_file_bytes(const gguf *g); /* of all of them */

#endif
