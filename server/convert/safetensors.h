/* safetensors.h - one file of weights as the Hugging Face hub has them: named tensors, mapped
 * read-only.
 *
 * Everything the file claims is checked once, when it is opened: the header's length against
 * the file's, each tensor's place against its type and shape, and that the data are covered
 * without overlap or holes. After that nothing can point outside the mapping.
 * Format: huggingface/safetensors README, "Format". */
#ifndef SERVER_CONVERT_SAFETENSORS_H
#define SERVER_CONVERT_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/json.h"

enum { SAFETENSORS_DIMS = 8 };

typedef struct safetensors safetensors;

/* dim[0] runs slowest: a matrix of R rows and C columns has dim = {R, C}. */
typedef struct safetensor {
    const char *name;
    const char *dtype; /* "F16": as the file calls it, static */
    int n_dims;        /* 0: a single value */
    uint64_t dim[SAFETENSORS_DIMS];
    const void *data; /* at any address */
    size_t bytes;
} safetensor;

/* What tells a file from another, or from what it was: no padding. */
typedef struct safetensors_stamp {
    uint64_t device, inode;
    size_t bytes;
    int64_t seconds, nanoseconds; /* when it was written to */
} safetensors_stamp;

/* All 0 of memory. */
safetensors_stamp safetensors_stamp_of(const safetensors *s);

/* Map and check the file. False: a sentence in why, which names the tensor. The caller
 * closes. */
bool safetensors_open(safetensors **out, const char *path, fault *why);
void safetensors_close(safetensors *s);

/* The same over memory that outlives *out. For tests and fuzzing. */
bool safetensors_open_memory(safetensors **out, const void *data, size_t n, fault *why);

/* Tensors in order of their names; by name: NULL if absent. Owned by s. */
size_t safetensors_count(const safetensors *s);
const safetensor *safetensors_at(const safetensors *s, size_t i);
const safetensor *safetensors_find(const safetensors *s, const char *name);

/* The pages of t, a tensor of s, may go: they are read anew when they are asked for. Of memory
 * nothing goes. */
void safetensors_drop(const safetensors *s, const safetensor *t);

#endif
