/* gguf_file.h - one model file, mapped and checked: its keys and its tensors. Internal to gguf.
 *
 *   header    "GGUF", version, number of tensors, number of keys
 *   keys      name, type, value, one behind the other; a list: its type and length, then values
 *   tensors   name, dimensions, type, offset from the start of the data
 *   data      from the first multiple of general.alignment on, each tensor aligned
 *
 * A length is believed only where as many bytes are left, an offset only where the tensor's own
 * size fits behind it; so nothing that was read once can point outside the file. */
#ifndef ENGINE_GGUF_GGUF_FILE_H
#define ENGINE_GGUF_GGUF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "engine/err.h"
#include "engine/gguf/gguf_names.h"
#include "engine/gguf/gguf_tensor.h"
#include "engine/gguf/gguf_value.h"

/* A key with its value; a single value is a list of one. */
typedef struct gguf_entry {
    gguf_text name; /* first, so that a pointer to it is one to the entry */
    bool is_array;
    gguf_array value;
} gguf_entry;

typedef struct gguf_file {
    const unsigned char *data;
    size_t bytes;
    bool mapped;        /* by us: closing unmaps */
    int fd;             /* of the mapped file, to see whether it changes */
    struct timespec at; /* when it was last changed */
    uint32_t version;
    gguf_entry *keys; /* in the file's order, as are tensors */
    size_t n_keys;
    gguf_tensor *tensors;
    size_t n_tensors;
    gguf_names key_names, tensor_names;
} gguf_file;

/* Map and check one file, whatever it says about others, or one in memory, which outlives *out.
 * `why` is empty where the whole file is at fault. Errors: gguf_open. The caller closes *out.
 */
err gguf_file_open(gguf_file **out, const char *path, fault *why);
err gguf_file_open_memory(gguf_file **out, const void *data, size_t n, fault *why);
void gguf_file_close(gguf_file *f);

/* Is it still as it was when it was opened, by size and time, as far as the file system says?
 * Memory always is. */
bool gguf_file_is_unchanged(const gguf_file *f);

/* The value of a key. ERR_MISSING; ERR_KEYTYPE: it is a list and should not be, or the reverse.
 */
err gguf_file_value(const gguf_file *f, const char *key, bool is_array, const gguf_array **out);

#endif
