/* gguf_write.h - a model file, written: its keys, then what its tensors are, then their data in
 * pieces as they come.
 *
 * Keys and descriptions are collected in memory, and an allocation that fails there is
 * remembered until gguf_writer_open. The data go to a file beside the path, which takes that
 * name only when all of it is on the disk: there is never half a model under it.
 * Format: GGUF version 3, little-endian (ggml-org/ggml docs/gguf.md). */
#ifndef ENGINE_GGUF_GGUF_WRITE_H
#define ENGINE_GGUF_GGUF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"

typedef struct gguf_writer gguf_writer;

/* ERR_NOMEM. The caller frees; a file that was opened and not finished is removed then. */
err gguf_writer_new(gguf_writer **out);
void gguf_writer_free(gguf_writer *w);

/* A key with its value. Names are the caller's to keep distinct. */
void gguf_write_u32(gguf_writer *w, const char *key, uint32_t value);
void gguf_write_i32(gguf_writer *w, const char *key, int32_t value);
void gguf_write_f32(gguf_writer *w, const char *key, float value);
void gguf_write_bool(gguf_writer *w, const char *key, bool value);
void gguf_write_text(gguf_writer *w, const char *key, const char *text, size_t n);

/* A list of n values of one type (GGUF_TYPE_*); its n elements are to follow, each through the
 * next two calls: a number as its bytes, a text by itself. */
void gguf_write_array(gguf_writer *w, const char *key, uint32_t type, uint64_t n);
void gguf_write_element(gguf_writer *w, const void *bytes, size_t n);
void gguf_write_element_text(gguf_writer *w, const char *text, size_t n);

/* The next tensor: `t` without its data and bytes; name and dimensions are copied. Its row must
 * be whole blocks of its type. */
void gguf_write_tensor(gguf_writer *w, const gguf_tensor *t);

/* Bytes of the whole file. */
uint64_t gguf_writer_bytes(const gguf_writer *w);

/* Make the file beside `path`, reserve its room on the disk, write all but the data. What is no
 * file, a folder or a device, is never replaced. ERR_NOMEM; ERR_SYSTEM, errno says why. */
err gguf_writer_open(gguf_writer *w, const char *path);

/* The same with PATH.part, where *whole tensors may be from before: those are in it already,
 * and the data that follow are put. It is what was begun only if keys and descriptions are the
 * same, and `source`, which tells the sources of the data apart from others; else it begins
 * anew. A writer that is freed before its end leaves PATH.part where a tensor is whole in it,
 * under other first bytes than a model file's. ERR_SYSTEM with EBUSY: another process writes
 * it. */
err gguf_writer_resume(gguf_writer *w, const char *path, const uint8_t source[16],
                       size_t *whole);

/* What was written is of no use: it goes when the writer is freed. */
void gguf_writer_spoil(gguf_writer *w);

/* The next n bytes of data: of one tensor, from its start on, in as many pieces as the caller
 * likes; then of the next. ERR_SYSTEM, errno says why. */
err gguf_writer_put(gguf_writer *w, const void *data, size_t n);

/* All data were put: to the disk with them, and the name. ERR_SYSTEM, errno says why. */
err gguf_writer_finish(gguf_writer *w);

#endif
