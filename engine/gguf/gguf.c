/* gguf.c - maps a model file, and checks all that it claims before anything is used. */
#include "engine/gguf/gguf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/gguf/gguf_parts.h"
#include "engine/gguf/gguf_value.h"
#include "engine/pages.h"

enum { NAME_MAX_BYTES = 65535, ALIGN_DEFAULT = 32, ALIGN_MIN = 8, ALIGN_MAX = 1 << 30 };

/* A key with its value; a single value is a list of one. */
typedef struct entry {
    gguf_text name; /* first, so that a pointer to it is one to the entry */
    bool is_array;
    gguf_array value;
} entry;

typedef struct slot {
    gguf_tensor tensor; /* first: its name is, too */
    uint64_t offset;    /* from the start of the tensor data, until that is known */
} slot;

/* Names in order, for look-up and to find doubles. */
typedef struct name_index {
    const gguf_text **name;
    size_t n;
} name_index;

struct gguf {
    const unsigned char *data;
    size_t bytes;
    bool mapped;        /* by us: gguf_close unmaps */
    int fd;             /* of the mapped file, to see whether it changes */
    struct timespec at; /* when it was last changed */
    uint32_t version;
    entry *keys;
    size_t n_keys;
    slot *tensors;
    size_t n_tensors;
    name_index key_index, tensor_index;
    gguf **parts; /* the other files of a split model, whose tensors follow ours */
    size_t n_parts;
};

/* What is left to read. */
typedef struct cursor {
    const unsigned char *at, *end;
} cursor;

static size_t left(const cursor *c)
{
    return (size_t)(c->end - c->at);
}

static err read_bytes(cursor *c, void *out, size_t n)
{
    if (left(c) < n) return ERR_TRUNCATED;
    memcpy(out, c->at, n);
    c->at += n;
    return ERR_OK;
}

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
        return fault_name(why, e, field);
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

static int compare_text(const gguf_text *a, const gguf_text *b)
{
    const int order = memcmp(a->at, b->at, a->n < b->n ? a->n : b->n);

    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static int by_name(const void *a, const void *b)
{
    return compare_text(*(const gguf_text *const *)a, *(const gguf_text *const *)b);
}

/* Sort the n names that lie `stride` bytes apart from `first` on. ERR_DUPLICATE. */
static err index_names(name_index *x, const void *first, size_t n, size_t stride, fault *why)
{
    if (n == 0) return ERR_OK;
    x->name = malloc(n * sizeof(gguf_text *));
    if (!x->name) return ERR_NOMEM;
    x->n = n;
    for (size_t i = 0; i < n; i++)
        x->name[i] = (const gguf_text *)(const void *)((const char *)first + i * stride);
    qsort(x->name, n, sizeof(gguf_text *), by_name);
    for (size_t i = 1; i < n; i++)
        if (compare_text(x->name[i - 1], x->name[i]) == 0)
            return fault_set(why, ERR_DUPLICATE, x->name[i]->at, x->name[i]->n);
    return ERR_OK;
}

static const void *find_name(const name_index *x, const char *name)
{
    const gguf_text wanted = {name, strlen(name)}, *key = &wanted;
    const gguf_text *const *found = x->n ? bsearch(&key, x->name, x->n, sizeof(gguf_text *),
                                                   by_name)
                                         : NULL;

    return found ? *found : NULL;
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

static err read_value(cursor *c, entry *k)
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

static err read_keys(gguf *g, cursor *c, uint64_t n, fault *why)
{
    enum { KEY_MIN_BYTES = 8 + 1 + 4 + 1 };

    if (n > left(c) / KEY_MIN_BYTES) return fault_name(why, ERR_TOOMANY, "metadata_kv_count");
    for (uint64_t i = 0; i < n; i++) {
        entry k = {0}, *more;
        err e;

        TRY(read_name(c, "key", i, &k.name, why));
        e = read_value(c, &k);
        if (e != ERR_OK) return fault_set(why, e, k.name.at, k.name.n);
        more = grow(g->keys, g->n_keys, sizeof *g->keys);
        if (!more) return ERR_NOMEM;
        g->keys = more;
        g->keys[g->n_keys++] = k;
    }
    return index_names(&g->key_index, g->keys, g->n_keys, sizeof *g->keys, why);
}

static err read_alignment(const gguf *g, uint64_t *align, fault *why)
{
    static const char key[] = "general.alignment";
    const err e = gguf_get_u64(g, key, align);

    if (e == ERR_MISSING)
        *align = ALIGN_DEFAULT;
    else if (e != ERR_OK)
        return fault_name(why, e, key);
    if (*align < ALIGN_MIN || *align > ALIGN_MAX || (*align & (*align - 1)))
        return fault_name(why, ERR_ALIGN, key);
    return ERR_OK;
}

/* --- opening: tensors --- */

/* Bytes of t from its type and dimensions. */
static err size_tensor(gguf_tensor *t)
{
    size_t elements, bytes;
    uint64_t product = 1;

    if (!gguf_type_name(t->type, &elements, &bytes)) return ERR_TENSORTYPE;
    for (int i = 0; i < GGUF_MAX_DIMS; i++)
        if (t->dim[i] == 0 || __builtin_mul_overflow(product, t->dim[i], &product))
            return ERR_SHAPE;
    if (t->dim[0] % elements) return ERR_SHAPE;
    if (__builtin_mul_overflow(product / elements, bytes, &t->bytes)) return ERR_SHAPE;
    return ERR_OK;
}

static err read_tensor(cursor *c, slot *s, uint64_t align)
{
    gguf_tensor *t = &s->tensor;
    uint32_t n_dims, type;

    TRY(read_bytes(c, &n_dims, sizeof n_dims));
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS) return ERR_SHAPE;
    t->n_dims = (int)n_dims;
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++) {
        t->dim[i] = 1;
        if (i < n_dims) TRY(read_bytes(c, &t->dim[i], sizeof t->dim[i]));
    }
    TRY(read_bytes(c, &type, sizeof type));
    TRY(read_bytes(c, &s->offset, sizeof s->offset));
    if (!gguf_type_name(type, NULL, NULL)) return ERR_TENSORTYPE;
    t->type = (gguf_type)type;
    TRY(size_tensor(t));
    return s->offset % align ? ERR_ALIGN : ERR_OK;
}

static err read_tensors(gguf *g, cursor *c, uint64_t n, uint64_t align, fault *why)
{
    enum { TENSOR_MIN_BYTES = 8 + 1 + 4 + 8 + 4 + 8 };

    if (n > left(c) / TENSOR_MIN_BYTES) return fault_name(why, ERR_TOOMANY, "tensor_count");
    for (uint64_t i = 0; i < n; i++) {
        slot s = {0}, *more;
        err e;

        TRY(read_name(c, "tensor", i, &s.tensor.name, why));
        e = read_tensor(c, &s, align);
        if (e != ERR_OK) return fault_set(why, e, s.tensor.name.at, s.tensor.name.n);
        more = grow(g->tensors, g->n_tensors, sizeof *g->tensors);
        if (!more) return ERR_NOMEM;
        g->tensors = more;
        g->tensors[g->n_tensors++] = s;
    }
    return index_names(&g->tensor_index, g->tensors, g->n_tensors, sizeof *g->tensors, why);
}

/* The data begin at the first multiple of `align` after the descriptions, which end at c. */
static err place_tensors(gguf *g, const cursor *c, uint64_t align, fault *why)
{
    const uint64_t start = ((uint64_t)(c->at - g->data) + align - 1) & ~(align - 1);
    const uint64_t room = start < g->bytes ? g->bytes - start : 0;

    for (size_t i = 0; i < g->n_tensors; i++) {
        slot *s = &g->tensors[i];
        gguf_tensor *t = &s->tensor;

        if (s->offset > room || t->bytes > room - s->offset)
            return fault_set(why, ERR_OFFSET, t->name.at, t->name.n);
        t->data = g->data + start + s->offset;
    }
    return ERR_OK;
}

static err read_header(gguf *g, cursor *c, uint64_t *n_tensors, uint64_t *n_keys, fault *why)
{
    char magic[4];

    if (read_bytes(c, magic, 4) != ERR_OK || memcmp(magic, "GGUF", 4) != 0)
        return fault_name(why, ERR_MAGIC, "magic");
    if (read_bytes(c, &g->version, 4) != ERR_OK)
        return fault_name(why, ERR_TRUNCATED, "version");
    if (g->version != 2 && g->version != 3) return fault_name(why, ERR_VERSION, "version");
    if (read_bytes(c, n_tensors, 8) != ERR_OK)
        return fault_name(why, ERR_TRUNCATED, "tensor_count");
    if (read_bytes(c, n_keys, 8) != ERR_OK)
        return fault_name(why, ERR_TRUNCATED, "metadata_kv_count");
    return ERR_OK;
}

static err parse(gguf *g, fault *why)
{
    cursor c = {g->data, g->data + g->bytes};
    uint64_t n_tensors = 0, n_keys = 0, align = 0;

    TRY(read_header(g, &c, &n_tensors, &n_keys, why));
    TRY(read_keys(g, &c, n_keys, why));
    TRY(read_alignment(g, &align, why));
    TRY(read_tensors(g, &c, n_tensors, align, why));
    return place_tensors(g, &c, align, why);
}

static err open_bytes(gguf **out, const void *data, size_t n, bool mapped, fault *why)
{
    gguf *g = calloc(1, sizeof *g);
    err e;

    if (!g) return ERR_NOMEM;
    g->data = n ? data : (const void *)""; /* an empty file has no mapping */
    g->bytes = n;
    e = parse(g, why);
    if (e != ERR_OK) {
        gguf_close(g);
        return e;
    }
    g->mapped = mapped; /* only now: on failure the mapping stays the caller's */
    *out = g;
    return ERR_OK;
}

err gguf_open_part_memory(gguf **out, const void *data, size_t n, fault *why)
{
    fault_name(why, ERR_OK, "");
    return open_bytes(out, data, n, false, why);
}

static err map_file(int fd, struct stat *st, void **data)
{
    if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) return ERR_READ;
    *data = NULL;
    if (st->st_size == 0) return ERR_OK; /* parsing will say what is missing */
    *data = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    return *data == MAP_FAILED ? ERR_READ : ERR_OK;
}

static err open_mapped(gguf **out, int fd, fault *why)
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

err gguf_open_part(gguf **out, const char *path, fault *why)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    err e;

    fault_name(why, ERR_OK, "");
    if (fd < 0) return ERR_OPEN;
    e = open_mapped(out, fd, why);
    if (e != ERR_OK) close(fd);
    return e;
}

void gguf_close(gguf *g)
{
    if (!g) return;
    for (size_t i = 0; i < g->n_parts; i++) gguf_close(g->parts[i]);
    free(g->parts);
    if (g->mapped) {
        munmap((void *)g->data, g->bytes);
        close(g->fd);
    }
    free(g->key_index.name);
    free(g->tensor_index.name);
    free(g->keys);
    free(g->tensors);
    free(g);
}

/* --- a model in several files --- */

err gguf_add_part(gguf *g, gguf *part)
{
    gguf **more = grow(g->parts, g->n_parts, sizeof *g->parts);

    if (!more) return ERR_NOMEM;
    g->parts = more;
    for (size_t i = 0; i < part->n_tensors; i++) {
        slot *all = grow(g->tensors, g->n_tensors, sizeof *g->tensors);

        if (!all) return ERR_NOMEM;
        g->tensors = all;
        g->tensors[g->n_tensors++] = part->tensors[i];
    }
    g->parts[g->n_parts++] = part;
    return ERR_OK;
}

err gguf_index_parts(gguf *g, fault *why)
{
    free(g->tensor_index.name);
    g->tensor_index = (name_index){NULL, 0};
    return index_names(&g->tensor_index, g->tensors, g->n_tensors, sizeof *g->tensors, why);
}

static bool is_unchanged(const gguf *g)
{
    struct stat st;

    return !g->mapped ||
           (fstat(g->fd, &st) == 0 && (size_t)st.st_size == g->bytes &&
            st.st_mtim.tv_sec == g->at.tv_sec && st.st_mtim.tv_nsec == g->at.tv_nsec);
}

err gguf_check_unchanged(const gguf *g, fault *why)
{
    char file[32];

    if (!is_unchanged(g)) return ERR_CHANGED;
    for (size_t i = 0; i < g->n_parts; i++) {
        if (is_unchanged(g->parts[i])) continue;
        snprintf(file, sizeof file, "file %zu of %zu", i + 2, g->n_parts + 1);
        return fault_name(why, ERR_CHANGED, file);
    }
    return ERR_OK;
}

void gguf_drop_pages(const gguf *g)
{
    if (g->mapped) pages_drop(g->data, g->bytes);
    for (size_t i = 0; i < g->n_parts; i++) gguf_drop_pages(g->parts[i]);
}

size_t gguf_files(const gguf *g)
{
    return 1 + g->n_parts;
}

/* --- tensors --- */

const char *gguf_type_name(uint32_t type, size_t *elements, size_t *bytes)
{
    static const struct {
        const char *name;
        uint32_t id;
        size_t elements, bytes;
    } types[] = {
#define TENSOR_TYPE(name, id, elements, bytes) {#name, id, elements, bytes},
#include "engine/gguf/tensor_types.def"
#undef TENSOR_TYPE
    };

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (types[i].id != type) continue;
        if (elements) *elements = types[i].elements;
        if (bytes) *bytes = types[i].bytes;
        return types[i].name;
    }
    return NULL;
}

size_t gguf_tensors(const gguf *g)
{
    return g->n_tensors;
}

const gguf_tensor *gguf_tensor_at(const gguf *g, size_t i)
{
    return &g->tensors[i].tensor;
}

const gguf_tensor *gguf_find(const gguf *g, const char *name)
{
    return find_name(&g->tensor_index, name);
}

/* --- values --- */

static err find_value(const gguf *g, const char *key, bool is_array, const gguf_array **out)
{
    const entry *k = find_name(&g->key_index, key);

    if (!k) return ERR_MISSING;
    if (k->is_array != is_array) return ERR_KEYTYPE;
    *out = &k->value;
    return ERR_OK;
}

err gguf_get_u64(const gguf *g, const char *key, uint64_t *out)
{
    const gguf_array *v;

    TRY(find_value(g, key, false, &v));
    return gguf_value_u64(v, out);
}

err gguf_get_f64(const gguf *g, const char *key, double *out)
{
    const gguf_array *v;

    TRY(find_value(g, key, false, &v));
    return gguf_value_f64(v, out);
}

err gguf_get_bool(const gguf *g, const char *key, bool *out)
{
    const gguf_array *v;

    TRY(find_value(g, key, false, &v));
    return gguf_value_bool(v, out);
}

err gguf_get_text(const gguf *g, const char *key, gguf_text *out)
{
    const gguf_array *v;

    TRY(find_value(g, key, false, &v));
    return gguf_value_text(v, out);
}

err gguf_get_array(const gguf *g, const char *key, gguf_array *out)
{
    const gguf_array *v;

    TRY(find_value(g, key, true, &v));
    *out = *v;
    return ERR_OK;
}

gguf_text gguf_next_text(const void **at)
{
    const char *text = (const char *)*at + sizeof(uint64_t);
    uint64_t n;

    memcpy(&n, *at, sizeof n);
    *at = text + n;
    return (gguf_text){text, (size_t)n};
}

/* --- for people --- */

size_t gguf_keys(const gguf *g)
{
    return g->n_keys;
}

gguf_text gguf_key_at(const gguf *g, size_t i, uint32_t *type)
{
    if (type) *type = g->keys[i].is_array ? GGUF_VALUE_ARRAY : g->keys[i].value.type;
    return g->keys[i].name;
}

void gguf_print_value(const gguf *g, size_t i, char *text, size_t n)
{
    gguf_value_print(&g->keys[i].value, g->keys[i].is_array, text, n);
}

uint32_t gguf_version(const gguf *g)
{
    return g->version;
}

size_t gguf_file_bytes(const gguf *g)
{
    size_t bytes = g->bytes;

    for (size_t i = 0; i < g->n_parts; i++) bytes += g->parts[i]->bytes;
    return bytes;
}
