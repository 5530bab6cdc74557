/* gguf_file.c - maps one model file, and checks all that it claims before anything is used. */
#include "engine/gguf/gguf_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 65535, ALIGN_DEFAULT = 32, ALIGN_MIN = 8, ALIGN_MAX = 1 << 30 };

/* What is left to read. */
typedef struct cursor {
    const unsigned char *at, *end;
} cursor;

static size_t left(const cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* By memcpy, since nothing in a file is aligned but the data. */
static err read_bytes(cursor *c, void *out, size_t n)
{
    if (left(c) < n) return ERR_TRUNCATED;
    memcpy(out, c->at, n);
    c->at += n;
    return ERR_OK;
}

/* Left in the mapping: a vocabulary of 250,000 texts costs no copy. */
static err read_text(cursor *c, gguf_text *out)
{
    uint64_t n;

    TRY(read_bytes(c, &n, sizeof n));
    if (n > left(c)) return ERR_STRING;
    *out = (gguf_text){(const char *)c->at, (size_t)n};
    c->at += n;
    return ERR_OK;
}

/* The name of key or tensor number i; a fault in it can only be told by the number. */
static err read_name(cursor *c, const char *what, uint64_t i, gguf_text *out, fault *why)
{
    err e = read_text(c, out);

    if (e == ERR_OK && (out->n == 0 || out->n > NAME_MAX_BYTES)) e = ERR_STRING;
    if (e != ERR_OK) {
        char field[64];

        snprintf(field, sizeof field, "name of %s %llu", what, (unsigned long long)i);
        return err_blame(why, e, field);
    }
    return ERR_OK;
}

/* Room for one more element in a list of n that grows by doubling: the file's count is
 * never trusted with an allocation. The list, maybe moved, or NULL. */
static void *grow(void *list, size_t n, size_t element)
{
    if (n & (n - 1)) return list; /* full only at 0, 1, 2, 4 ... */
    return reallocarray(list, n ? 2 * n : 1, element);
}

/* --- opening: keys --- */

/* Pass over `v->n` elements of v->type and set where they lie. */
static err read_elements(cursor *c, gguf_array *v)
{
    const gguf_value_type *type = gguf_value_type_of(v->type);
    gguf_text text;

    /* lists of lists have no use in a model file, and would nest without bound */
    if (!type) return ERR_KEYTYPE;
    if (v->n > left(c) / type->bytes) return v->n == 1 ? ERR_TRUNCATED : ERR_TOOMANY;
    v->data = c->at;
    if (type->kind == GGUF_KIND_TEXT)
        for (uint64_t i = 0; i < v->n; i++) TRY(read_text(c, &text));
    else
        c->at += v->n * type->bytes;
    v->end = c->at;
    if (type->kind == GGUF_KIND_BOOL)
        for (uint64_t i = 0; i < v->n; i++)
            if (((const unsigned char *)v->data)[i] > 1) return ERR_RANGE;
    return ERR_OK;
}

/* A bare value is a list of one, so that one reader does for both. */
static err read_value(cursor *c, gguf_entry *k)
{
    uint32_t type;

    TRY(read_bytes(c, &type, sizeof type));
    k->is_array = type == GGUF_VALUE_ARRAY;
    k->value.n = 1;
    if (k->is_array) {
        TRY(read_bytes(c, &type, sizeof type));
        TRY(read_bytes(c, &k->value.n, sizeof k->value.n));
    }
    k->value.type = type;
    return read_elements(c, &k->value);
}

/* A count that cannot be true, since each key takes some bytes, is refused before anything is
 * read: the time and memory of what follows are bounded by the file's size. */
static err read_keys(gguf_file *f, cursor *c, uint64_t n, fault *why)
{
    enum { KEY_MIN_BYTES = 8 + 1 + 4 + 1 };

    if (n > left(c) / KEY_MIN_BYTES) return err_blame(why, ERR_TOOMANY, "metadata_kv_count");
    for (uint64_t i = 0; i < n; i++) {
        gguf_entry k = {0}, *more;
        err e;

        TRY(read_name(c, "key", i, &k.name, why));
        e = read_value(c, &k);
        if (e != ERR_OK) return err_blame_bytes(why, e, k.name.at, k.name.n);
        more = grow(f->keys, f->n_keys, sizeof *f->keys);
        if (!more) return ERR_NOMEM;
        f->keys = more;
        f->keys[f->n_keys++] = k;
    }
    return gguf_names_open(&f->key_names, f->keys, f->n_keys, sizeof *f->keys, why);
}

static err read_alignment(const gguf_file *f, uint64_t *align, fault *why)
{
    static const char key[] = "general.alignment";
    const gguf_array *v;
    err e = gguf_file_value(f, key, false, &v);

    *align = ALIGN_DEFAULT;
    if (e == ERR_OK) e = gguf_value_u64(v, align);
    if (e != ERR_OK && e != ERR_MISSING) return err_blame(why, e, key);
    if (*align < ALIGN_MIN || *align > ALIGN_MAX || (*align & (*align - 1)))
        return err_blame(why, ERR_ALIGN, key);
    return ERR_OK;
}

/* --- opening: tensors --- */

static err read_tensor(cursor *c, gguf_tensor *t, uint64_t align)
{
    uint32_t n_dims, type;

    TRY(read_bytes(c, &n_dims, sizeof n_dims));
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS) return ERR_SHAPE;
    t->n_dims = (int)n_dims;
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++) {
        t->dim[i] = 1;
        if (i < n_dims) TRY(read_bytes(c, &t->dim[i], sizeof t->dim[i]));
    }
    TRY(read_bytes(c, &type, sizeof type));
    TRY(read_bytes(c, &t->offset, sizeof t->offset));
    if (!gguf_type_name(type, NULL, NULL)) return ERR_TENSORTYPE;
    t->type = (gguf_type)type;
    TRY(gguf_tensor_measure(t));
    return t->offset % align ? ERR_ALIGN : ERR_OK;
}

static err read_tensors(gguf_file *f, cursor *c, uint64_t n, uint64_t align, fault *why)
{
    enum { TENSOR_MIN_BYTES = 8 + 1 + 4 + 8 + 4 + 8 };

    if (n > left(c) / TENSOR_MIN_BYTES) return err_blame(why, ERR_TOOMANY, "tensor_count");
    for (uint64_t i = 0; i < n; i++) {
        gguf_tensor t = {0}, *more;
        err e;

        TRY(read_name(c, "tensor", i, &t.name, why));
        e = read_tensor(c, &t, align);
        if (e != ERR_OK) return err_blame_bytes(why, e, t.name.at, t.name.n);
        more = grow(f->tensors, f->n_tensors, sizeof *f->tensors);
        if (!more) return ERR_NOMEM;
        f->tensors = more;
        f->tensors[f->n_tensors++] = t;
    }
    return gguf_names_open(&f->tensor_names, f->tensors, f->n_tensors, sizeof *f->tensors, why);
}

/* The data begin at the first multiple of `align` after the descriptions, which end at c. */
static err place_tensors(gguf_file *f, const cursor *c, uint64_t align, fault *why)
{
    const uint64_t start = ((uint64_t)(c->at - f->data) + align - 1) & ~(align - 1);
    const uint64_t room = start < f->bytes ? f->bytes - start : 0;

    for (size_t i = 0; i < f->n_tensors; i++) {
        gguf_tensor *t = &f->tensors[i];

        if (t->offset > room || t->bytes > room - t->offset)
            return err_blame_bytes(why, ERR_OFFSET, t->name.at, t->name.n);
        t->data = f->data + start + t->offset;
    }
    return ERR_OK;
}

/* Version 1 had lengths of 32 bits, and there are no such files any more; a big-endian file's
 * version reads as 3 << 24. */
static err read_header(gguf_file *f, cursor *c, uint64_t *n_tensors, uint64_t *n_keys,
                       fault *why)
{
    char magic[4];

    if (read_bytes(c, magic, 4) != ERR_OK || memcmp(magic, "GGUF", 4) != 0)
        return err_blame(why, ERR_MAGIC, "magic");
    if (read_bytes(c, &f->version, 4) != ERR_OK)
        return err_blame(why, ERR_TRUNCATED, "version");
    if (f->version != 2 && f->version != 3) return err_blame(why, ERR_VERSION, "version");
    if (read_bytes(c, n_tensors, 8) != ERR_OK)
        return err_blame(why, ERR_TRUNCATED, "tensor_count");
    if (read_bytes(c, n_keys, 8) != ERR_OK)
        return err_blame(why, ERR_TRUNCATED, "metadata_kv_count");
    return ERR_OK;
}

/* In the file's order, since each part begins where the one before it ends. */
static err parse(gguf_file *f, fault *why)
{
    cursor c = {f->data, f->data + f->bytes};
    uint64_t n_tensors = 0, n_keys = 0, align = 0;

    TRY(read_header(f, &c, &n_tensors, &n_keys, why));
    TRY(read_keys(f, &c, n_keys, why));
    TRY(read_alignment(f, &align, why));
    TRY(read_tensors(f, &c, n_tensors, align, why));
    return place_tensors(f, &c, align, why);
}

/* The same for a mapping and for memory, so that a fuzzer reaches all of it without a file. */
static err open_bytes(gguf_file **out, const void *data, size_t n, bool mapped, fault *why)
{
    gguf_file *f = calloc(1, sizeof *f);
    err e;

    if (!f) return ERR_NOMEM;
    f->data = n ? data : (const void *)""; /* an empty file has no mapping */
    f->bytes = n;
    e = parse(f, why);
    if (e != ERR_OK) {
        gguf_file_close(f);
        return e;
    }
    f->mapped = mapped; /* only now: on failure the mapping stays the caller's */
    *out = f;
    return ERR_OK;
}

err gguf_file_open_memory(gguf_file **out, const void *data, size_t n, fault *why)
{
    err_blame(why, ERR_OK, "");
    return open_bytes(out, data, n, false, why);
}

/* MAP_PRIVATE and read-only: processes that serve the same file share its pages. Only a plain
 * file has a size to check against. */
static err map_file(int fd, struct stat *st, void **data)
{
    if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) return ERR_READ;
    *data = NULL;
    if (st->st_size == 0) return ERR_OK; /* parsing will say what is missing */
    *data = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    return *data == MAP_FAILED ? ERR_READ : ERR_OK;
}

/* The descriptor stays open: fstat on it tells whether this very file was written, whatever
 * its name points to by then. */
static err open_mapped(gguf_file **out, int fd, fault *why)
{
    struct stat st;
    void *data;
    err e;

    TRY(map_file(fd, &st, &data));
    e = open_bytes(out, data, (size_t)st.st_size, true, why);
    if (e != ERR_OK) {
        if (data) munmap(data, (size_t)st.st_size);
        return e;
    }
    (*out)->fd = fd;
    (*out)->at = st.st_mtim;
    return ERR_OK;
}

/* `why` is emptied first: a file that is not there has no field at fault. */
err gguf_file_open(gguf_file **out, const char *path, fault *why)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    err e;

    err_blame(why, ERR_OK, "");
    if (fd < 0) return ERR_OPEN;
    e = open_mapped(out, fd, why);
    if (e != ERR_OK) close(fd);
    return e;
}

void gguf_file_close(gguf_file *f)
{
    if (!f) return;
    if (f->mapped) {
        munmap((void *)f->data, f->bytes);
        close(f->fd);
    }
    gguf_names_close(&f->key_names);
    gguf_names_close(&f->tensor_names);
    free(f->keys);
    free(f->tensors);
    free(f);
}

/* Where the file system does not answer nothing is known, and nothing is said: a server that
 * asks each second would be taken out of service for good by one call that was interrupted.
 * What a file has really lost shows when it is read. */
bool gguf_file_is_unchanged(const gguf_file *f)
{
    struct stat st;

    if (!f->mapped || fstat(f->fd, &st) != 0) return true;
    return (size_t)st.st_size == f->bytes && st.st_mtim.tv_sec == f->at.tv_sec &&
           st.st_mtim.tv_nsec == f->at.tv_nsec;
}

/* Whether it is a list is part of the type: a caller that wants one number gets no first
 * element of many. */
err gguf_file_value(const gguf_file *f, const char *key, bool is_array, const gguf_array **out)
{
    const gguf_entry *k = gguf_names_find(&f->key_names, key);

    if (!k) return ERR_MISSING;
    if (k->is_array != is_array) return ERR_KEYTYPE;
    *out = &k->value;
    return ERR_OK;
}
