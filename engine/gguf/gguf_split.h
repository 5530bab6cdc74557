/* gguf_split.h - what a file of a split model says about itself, and what the others are
 * called. Internal to gguf. */
#ifndef ENGINE_GGUF_GGUF_SPLIT_H
#define ENGINE_GGUF_GGUF_SPLIT_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf_file.h"

enum { GGUF_SPLIT_PATH = 4352 }; /* bytes of a path, with room for a longer ending */

typedef struct gguf_split {
    uint64_t no, count, tensors; /* its number from 0; files; tensors of all of them */
} gguf_split;

/* What f says. A model in one file says nothing, or a count of 0 or 1, as it does after a
 * merge: then only count is set. ERR_MISSING, ERR_KEYTYPE, ERR_RANGE. */
err gguf_split_read(const gguf_file *f, gguf_split *s, fault *why);

/* Does file `no` say the same as the first? ERR_SPLIT, and the errors of reading. */
err gguf_split_check(const gguf_file *f, const gguf_split *first, size_t no, fault *why);

/* The path of file `no` of as many as `first` says, where `path` is the first one's: to out
 * [GGUF_SPLIT_PATH]. ERR_SPLITNAME: the first has another name. */
err gguf_split_path(const char *path, const gguf_split *first, size_t no, char *out);

#endif
