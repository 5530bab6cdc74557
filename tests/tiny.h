/* tiny.h - a tiny valid llama model as a GGUF file in memory, and many ways to spoil it.
 *
 * Two layers, D = 64, 2 heads, F = 64, a vocabulary of 3 control tokens, 256 bytes and 4
 * merges; random weights, always the same. What is described here is written as it
 * stands: an edit that makes no sense makes a malformed file. */
#ifndef TESTS_TINY_H
#define TESTS_TINY_H

#include <stddef.h>
#include <stdint.h>

enum { TINY_KEYS = 48, TINY_TENSORS = 32 };

typedef struct tiny_key {
    char name[64];
    uint64_t name_bytes;  /* as the file claims */
    unsigned char *value; /* malloc'd: type, then what belongs to it */
    size_t value_bytes;
} tiny_key;

typedef struct tiny_tensor {
    char name[64];
    uint64_t name_bytes;
    uint32_t n_dims;
    uint64_t dim[4];
    uint32_t type;
    uint64_t offset;
} tiny_tensor;

typedef struct tiny {
    char magic[5];
    uint32_t version;
    uint64_t n_tensors, n_keys; /* as the header claims */
    size_t keys, tensors;       /* how many there are */
    tiny_key key[TINY_KEYS];
    tiny_tensor tensor[TINY_TENSORS];
    unsigned char *data; /* malloc'd: the weights */
    size_t data_bytes;
    size_t keep; /* only so many bytes of the file */
} tiny;

/* The valid model. Ends the process when out of memory, like everything here. */
tiny *tiny_new(void);
void tiny_free(tiny *m);

/* The file; malloc'd, the caller frees. `keys_end` and `tensors_end` of the layout, from
 * the start of the file, may be NULL. */
unsigned char *tiny_write(const tiny *m, size_t *n, size_t *keys_end, size_t *tensors_end);

/* Give a key a value, new or in place of its own. */
void tiny_set_u32(tiny *m, const char *key, uint32_t value);
void tiny_set_f32(tiny *m, const char *key, float value);
void tiny_set_bool(tiny *m, const char *key, unsigned char value);
void tiny_set_text(tiny *m, const char *key, const char *value);
void tiny_set_texts(tiny *m, const char *key, const char *const *values, size_t n);
void tiny_set_numbers(tiny *m, const char *key, const uint32_t *values, size_t n);
void tiny_set_bytes(tiny *m, const char *key, const void *values, size_t n);
void tiny_set_floats(tiny *m, const char *key, const float *values, size_t n);
void tiny_remove(tiny *m, const char *key);

/* Another architecture: its name, and that of the keys that begin with it. */
void tiny_become(tiny *m, const char *arch);

/* Overwrite a number inside a value. Offsets of a value: 0 its type; a text's length 4; of
 * an array the elements' type 4, their count 8, the first element 16. */
void tiny_patch_u32(tiny *m, const char *key, size_t at, uint32_t value);
void tiny_patch_u64(tiny *m, const char *key, size_t at, uint64_t value);

/* One of the parts, to be changed by the caller. */
tiny_key *tiny_find_key(tiny *m, const char *name);
tiny_tensor *tiny_find(tiny *m, const char *name);
void tiny_remove_tensor(tiny *m, const char *name);

/* One more: a matrix of random weights; with rows 0, a vector of ones. */
void tiny_add_tensor(tiny *m, const char *name, size_t cols, size_t rows);

/* --- malformed files: the rows of bad_gguf.def --- */

typedef enum bad_stage {
    BAD_FILE,   /* gguf_open refuses it */
    BAD_TOKENS, /* tokenizer_new does */
    BAD_MODEL   /* the model cannot be run */
} bad_stage;

typedef struct bad_case {
    bad_stage stage;
    const char *name;
    const char *field; /* what the message must name */
    void (*spoil)(tiny *m);
} bad_case;

/* Row i, or NULL past the last. */
const bad_case *bad_case_at(size_t i);

/* The file of that row; malloc'd. */
unsigned char *bad_case_write(const bad_case *c, size_t *n);

#endif
