/* gguf_write.c - lays a model file out, and puts it in its place when it is whole.
 *
 *   "GGUF"  version  n_tensors  n_keys                      24 bytes
 *   keys        name, type, value ...                        \ collected in memory, as the file
 *   tensors     name, dimensions, type, offset ...           / will have them
 *   zeros       to a multiple of 32
 *   data        tensor 0, zeros to 32, tensor 1 ...          put by the caller, piece by piece
 *
 * A tensor's offset counts from the start of the data, and follows from the sizes of those
 * before it alone: so all descriptions are known before a byte of data is, and the data need no
 * second pass and no memory, however large the model is. A text is its length in 8 bytes, then
 * its bytes. Everything is little-endian, as are the machines this runs on (gguf_value.c
 * asserts it).
 *
 * Collecting cannot fail visibly: `failed` remembers an allocation that did, until the file is
 * opened, so that thirty calls in a row need no thirty checks. */
#include "engine/gguf/gguf_write.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/gguf/gguf_value.h"
#include "engine/new_file.h"

enum { ALIGN = 32, VERSION = 3, FLOAT32 = 6, BOOL = 7 };

typedef struct bytes {
    unsigned char *at;
    size_t n, cap;
} bytes;

struct gguf_writer {
    bytes keys, tensors; /* as the file has them */
    uint64_t n_keys, n_tensors;
    uint64_t *size; /* [n_tensors] bytes of data */
    uint64_t data_bytes;
    bool failed; /* out of memory */
    new_file file;
    uint64_t tensor, written; /* where the data are: bytes of that tensor */
    bool resumes;             /* the head is that of a part, and counts whole tensors */
};

/* --- collecting --- */

/* Twice what is needed now: n bytes cost O(n) copies in the end, and the merges of a
 * vocabulary come one by one. */
static void add(gguf_writer *w, bytes *b, const void *data, size_t n)
{
    if (w->failed) return;
    if (n > b->cap - b->n) {
        const size_t cap = 2 * (b->cap + n);
        unsigned char *more = realloc(b->at, cap);

        if (!more) {
            w->failed = true;
            return;
        }
        b->at = more;
        b->cap = cap;
    }
    if (n) memcpy(b->at + b->n, data, n);
    b->n += n;
}

static void add_u32(gguf_writer *w, bytes *b, uint32_t v)
{
    add(w, b, &v, sizeof v);
}

static void add_u64(gguf_writer *w, bytes *b, uint64_t v)
{
    add(w, b, &v, sizeof v);
}

static void add_text(gguf_writer *w, bytes *b, const char *text, size_t n)
{
    add_u64(w, b, n);
    add(w, b, text, n);
}

static void add_key(gguf_writer *w, const char *key, uint32_t type)
{
    add_text(w, &w->keys, key, strlen(key));
    add_u32(w, &w->keys, type);
    w->n_keys++;
}

err gguf_writer_new(gguf_writer **out)
{
    gguf_writer *w = calloc(1, sizeof *w);

    if (!w) return ERR_NOMEM;
    w->file = NEW_FILE_NONE;
    *out = w;
    return ERR_OK;
}

void gguf_write_u32(gguf_writer *w, const char *key, uint32_t value)
{
    add_key(w, key, GGUF_TYPE_UINT32);
    add_u32(w, &w->keys, value);
}

void gguf_write_i32(gguf_writer *w, const char *key, int32_t value)
{
    add_key(w, key, GGUF_TYPE_INT32);
    add_u32(w, &w->keys, (uint32_t)value);
}

void gguf_write_f32(gguf_writer *w, const char *key, float value)
{
    add_key(w, key, FLOAT32);
    add(w, &w->keys, &value, sizeof value);
}

void gguf_write_bool(gguf_writer *w, const char *key, bool value)
{
    add_key(w, key, BOOL);
    add(w, &w->keys, &(uint8_t){value}, 1);
}

void gguf_write_text(gguf_writer *w, const char *key, const char *text, size_t n)
{
    add_key(w, key, GGUF_TYPE_TEXT);
    add_text(w, &w->keys, text, n);
}

void gguf_write_array(gguf_writer *w, const char *key, uint32_t type, uint64_t n)
{
    add_key(w, key, GGUF_VALUE_ARRAY);
    add_u32(w, &w->keys, type);
    add_u64(w, &w->keys, n);
}

void gguf_write_element(gguf_writer *w, const void *element, size_t n)
{
    add(w, &w->keys, element, n);
}

void gguf_write_element_text(gguf_writer *w, const char *text, size_t n)
{
    add_text(w, &w->keys, text, n);
}

/* Readers map the data and use them in place: 32 bytes is what ggml wants, and its default. */
static uint64_t aligned(uint64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static uint64_t tensor_bytes(const gguf_tensor *t)
{
    size_t elements = 1, block = 0;
    uint64_t n = 1;

    (void)gguf_type_name(t->type, &elements, &block);
    assert(block && t->dim[0] % elements == 0);
    for (int i = 0; i < t->n_dims; i++) n *= t->dim[i];
    return n / elements * block;
}

/* The last tensor is filled up as well: ggml's reader counts the data in whole multiples of 32.
 */
void gguf_write_tensor(gguf_writer *w, const gguf_tensor *t)
{
    uint64_t *more = reallocarray(w->size, w->n_tensors + 1, sizeof *more);

    if (!more) {
        w->failed = true;
        return;
    }
    w->size = more;
    w->size[w->n_tensors++] = tensor_bytes(t);
    add_text(w, &w->tensors, t->name.at, t->name.n);
    add_u32(w, &w->tensors, (uint32_t)t->n_dims);
    for (int i = 0; i < t->n_dims; i++) add_u64(w, &w->tensors, t->dim[i]);
    add_u32(w, &w->tensors, t->type);
    add_u64(w, &w->tensors, w->data_bytes);
    w->data_bytes += aligned(tensor_bytes(t));
}

enum { HEADER = 4 + 4 + 8 + 8 };

uint64_t gguf_writer_bytes(const gguf_writer *w)
{
    return aligned(HEADER + w->keys.n + w->tensors.n) + w->data_bytes;
}

/* --- the file --- */

static err pad(new_file *f, uint64_t n)
{
    static const char zeros[ALIGN];

    return new_file_write(f, zeros, (size_t)(aligned(n) - n));
}

static void fill_head(const gguf_writer *w, unsigned char head[HEADER])
{
    const uint32_t version = VERSION;

    memcpy(head, "GGUF", 4);
    memcpy(head + 4, &version, 4);
    memcpy(head + 8, &w->n_tensors, 8);
    memcpy(head + 16, &w->n_keys, 8);
}

static err write_head(gguf_writer *w, const unsigned char head[HEADER])
{
    TRY(new_file_write(&w->file, head, HEADER));
    TRY(new_file_write(&w->file, w->keys.at, w->keys.n));
    TRY(new_file_write(&w->file, w->tensors.at, w->tensors.n));
    return pad(&w->file, HEADER + w->keys.n + w->tensors.n);
}

/* A disk that is too small should say so before an hour's work, not after it. */
static err reserve(int fd, uint64_t n)
{
    const int failed = n <= INT64_MAX ? fallocate(fd, 0, 0, (off_t)n) : -1;

    return failed && errno != EOPNOTSUPP && errno != ENOSYS ? ERR_SYSTEM : ERR_OK;
}

err gguf_writer_open(gguf_writer *w, const char *path)
{
    unsigned char head[HEADER];

    if (w->failed) return ERR_NOMEM;
    TRY(new_file_open(&w->file, path));
    TRY(reserve(w->file.fd, gguf_writer_bytes(w)));
    fill_head(w, head);
    return write_head(w, head);
}

/* --- a part of a file --- */

/* Of a part: "part", its whole tensors in 4 bytes, the source in 16; then as in a file. So it
 * is no model until the head is written over, which is the last that happens to it. */
static void fill_part(unsigned char head[HEADER], uint32_t whole, const uint8_t source[16])
{
    memcpy(head, "part", 4);
    memcpy(head + 4, &whole, 4);
    memcpy(head + 8, source, 16);
}

static bool has_bytes(int fd, const bytes *b, uint64_t at)
{
    unsigned char *there = malloc(b->n + 1);
    const bool same = there && pread(fd, there, b->n, (off_t)at) == (ssize_t)b->n &&
                      memcmp(there, b->at, b->n) == 0;

    free(there);
    return same;
}

/* Whole tensors of what was begun from the same source; 0: there are none, or it is another. */
static uint64_t count_whole(const gguf_writer *w, const uint8_t source[16])
{
    unsigned char head[HEADER], want[HEADER];
    uint32_t whole;

    if (pread(w->file.fd, head, HEADER, 0) != HEADER) return 0;
    memcpy(&whole, head + 4, 4);
    fill_part(want, whole, source);
    if (memcmp(head, want, HEADER) != 0 || whole > w->n_tensors) return 0;
    return has_bytes(w->file.fd, &w->keys, HEADER) &&
                   has_bytes(w->file.fd, &w->tensors, HEADER + w->keys.n)
               ? whole
               : 0;
}

/* Behind `whole` tensors. */
static err go_on(gguf_writer *w, uint64_t whole)
{
    uint64_t at = aligned(HEADER + w->keys.n + w->tensors.n);

    for (uint64_t i = 0; i < whole; i++) at += aligned(w->size[i]);
    w->tensor = whole;
    return lseek(w->file.fd, (off_t)at, SEEK_SET) < 0 ? ERR_SYSTEM : ERR_OK;
}

err gguf_writer_resume(gguf_writer *w, const char *path, const uint8_t source[16],
                       size_t *whole)
{
    unsigned char head[HEADER];
    uint64_t there;

    if (w->failed) return ERR_NOMEM;
    TRY(new_file_open_part(&w->file, path));
    w->resumes = true;
    there = count_whole(w, source);
    *whole = (size_t)there;
    if (there > 0) {
        TRY(go_on(w, there));
        return reserve(w->file.fd, gguf_writer_bytes(w));
    }
    w->file.lasting = false; /* nothing of worth is in it yet */
    if (ftruncate(w->file.fd, 0) != 0) return ERR_SYSTEM;
    TRY(reserve(w->file.fd, gguf_writer_bytes(w)));
    fill_part(head, 0, source);
    return write_head(w, head);
}

void gguf_writer_spoil(gguf_writer *w)
{
    w->file.lasting = false;
}

/* Told where a tensor ends: a process that is killed loses what it had of the next one. That
 * the bytes are on the disk is not waited for: after a crash of the machine the source is
 * another. */
static err count_tensor(gguf_writer *w)
{
    const uint32_t whole = (uint32_t)w->tensor;

    if (!w->resumes) return ERR_OK;
    if (pwrite(w->file.fd, &whole, sizeof whole, 4) != sizeof whole) return ERR_SYSTEM;
    w->file.lasting = true;
    return ERR_OK;
}

/* The caller may have less memory than a tensor has bytes; only the order and the sums are
 * held to what was described. */
err gguf_writer_put(gguf_writer *w, const void *data, size_t n)
{
    assert(w->file.fd >= 0 && w->tensor < w->n_tensors);
    assert(n <= w->size[w->tensor] - w->written);
    TRY(new_file_write(&w->file, data, n));
    w->written += n;
    if (w->written < w->size[w->tensor]) return ERR_OK;
    w->written = 0;
    TRY(pad(&w->file, w->size[w->tensor++]));
    return count_tensor(w);
}

err gguf_writer_finish(gguf_writer *w)
{
    unsigned char head[HEADER];

    assert(w->file.fd >= 0 && w->tensor == w->n_tensors);
    fill_head(w, head);
    /* behind all data: what a crash cuts short has no head of a model */
    if (w->resumes &&
        (fdatasync(w->file.fd) != 0 || pwrite(w->file.fd, head, HEADER, 0) != HEADER))
        return ERR_SYSTEM;
    return new_file_keep(&w->file);
}

void gguf_writer_free(gguf_writer *w)
{
    if (!w) return;
    new_file_drop(&w->file);
    free(w->keys.at);
    free(w->tensors.at);
    free(w->size);
    free(w);
}
