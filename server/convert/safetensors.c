/* safetensors.c - maps a file of weights, and checks all that its header claims.
 *
 *   | u64 n | JSON of n bytes: name -> dtype, shape, data_offsets | data: no hole, no overlap |
 *
 * The file comes from anywhere. A tensor's bytes follow from its type and shape with overflow
 * checked, must be as many as its offsets say and lie inside the file; and all together cover
 * the data exactly, as the format demands: a header that lies about one lies about a neighbour.
 */
#include "server/convert/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LENGTH = 8, HEADER_MAX = 100000000 /* the reference implementation's limit */ };

/* Types and the bytes of a value: also those that are not converted, for they must cover the
 * file. */
static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {{"F32", 4},  {"F16", 2},     {"BF16", 2},    {"F64", 8},
              {"I64", 8},  {"I32", 4},     {"I16", 2},     {"I8", 1},
              {"U64", 8},  {"U32", 4},     {"U16", 2},     {"U8", 1},
              {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}};

struct safetensors {
    const unsigned char *bytes;
    size_t n;
    bool mapped; /* by us: safetensors_close unmaps */
    safetensors_stamp stamp;
    cJSON *header;
    safetensor *list; /* [count] by name */
    size_t count;
};

static bool refuse(fault *why, const safetensor *t, const char *what)
{
    return fault_refuse(why, ERR_JSON, t->name, "tensor %s: %s", t->name, what);
}

/* --- one tensor --- */

static bool read_dtype(const cJSON *item, safetensor *t, size_t *bytes, fault *why)
{
    const cJSON *dtype = json_get(item, "dtype");

    for (size_t i = 0; cJSON_IsString(dtype) && i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(dtypes[i].name, dtype->valuestring) != 0) continue;
        t->dtype = dtypes[i].name;
        *bytes = dtypes[i].bytes;
        return true;
    }
    return refuse(why, t, "its dtype is not known");
}

/* The bytes that type and shape make, in *bytes, which comes as those of one value. */
static bool read_shape(const cJSON *item, safetensor *t, size_t *bytes, fault *why)
{
    const cJSON *shape = json_get(item, "shape"), *dim;

    if (!cJSON_IsArray(shape)) return refuse(why, t, "it has no shape");
    cJSON_ArrayForEach (dim, shape) {
        if (t->n_dims == SAFETENSORS_DIMS) return refuse(why, t, "it has too many dimensions");
        if (!json_is_int(dim, 0, INT64_MAX))
            return refuse(why, t, "a dimension is no whole number");
        t->dim[t->n_dims] = (uint64_t)dim->valuedouble;
        if (__builtin_mul_overflow(*bytes, t->dim[t->n_dims++], bytes))
            return refuse(why, t, "its shape is too large");
    }
    return true;
}

/* Offsets are doubles in the tree; json_is_int takes only those that are exact. */
static bool read_place(const safetensors *s, const cJSON *item, size_t data, safetensor *t,
                       fault *why)
{
    const cJSON *offsets = json_get(item, "data_offsets"), *begin, *end;
    size_t from, to;

    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2)
        return refuse(why, t, "it has no data_offsets");
    begin = cJSON_GetArrayItem(offsets, 0);
    end = cJSON_GetArrayItem(offsets, 1);
    if (!json_is_int(begin, 0, INT64_MAX) || !json_is_int(end, 0, INT64_MAX))
        return refuse(why, t, "an offset is no whole number");
    from = (size_t)begin->valuedouble;
    to = (size_t)end->valuedouble;
    if (from > to || to > s->n - data) return refuse(why, t, "its data lie outside the file");
    if (to - from != t->bytes) return refuse(why, t, "its data are not as long as its shape");
    t->data = s->bytes + data + from;
    return true;
}

static bool read_tensor(const safetensors *s, const cJSON *item, size_t data, safetensor *t,
                        fault *why)
{
    *t = (safetensor){.name = item->string};
    if (!cJSON_IsObject(item)) return refuse(why, t, "its description is no object");
    return read_dtype(item, t, &t->bytes, why) && read_shape(item, t, &t->bytes, why) &&
           read_place(s, item, data, t, why);
}

/* --- all of them --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const safetensor *)a)->name, ((const safetensor *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const safetensor *const *p = a, *const *q = b;
    const char *from = (*p)->data, *to = (*q)->data;

    if (from != to) return from < to ? -1 : 1;
    return ((*p)->bytes > (*q)->bytes) - ((*p)->bytes < (*q)->bytes); /* empty ones first */
}

/* Sorted by place, each begins where the one before ends, and the last ends with the file. */
static bool check_cover(const safetensors *s, size_t data, fault *why)
{
    const safetensor **order = malloc((s->count + 1) * sizeof *order);
    const unsigned char *at = s->bytes + data;
    bool covered = true;

    if (!order) return fault_refuse(why, ERR_JSON, NULL, "out of memory");
    for (size_t i = 0; i < s->count; i++) order[i] = &s->list[i];
    qsort(order, s->count, sizeof *order, by_place);
    for (size_t i = 0; covered && i < s->count; i++) {
        if (order[i]->data != at)
            covered = refuse(why, order[i],
                             (const unsigned char *)order[i]->data < at
                                 ? "its data overlap another's"
                                 : "there is a hole before its data");
        at = (const unsigned char *)order[i]->data + order[i]->bytes;
    }
    free(order);
    if (covered && at != s->bytes + s->n)
        return fault_refuse(why, ERR_JSON, NULL, "%zu bytes at its end belong to no tensor",
                            (size_t)(s->bytes + s->n - at));
    return covered;
}

static bool read_tensors(safetensors *s, size_t data, fault *why)
{
    const cJSON *item;

    s->list = calloc((size_t)cJSON_GetArraySize(s->header) + 1, sizeof *s->list);
    if (!s->list) return fault_refuse(why, ERR_JSON, NULL, "out of memory");
    cJSON_ArrayForEach (item, s->header) {
        /* Free text of whoever wrote the file: the one member that is no tensor. */
        if (strcmp(item->string, "__metadata__") == 0) continue;
        if (!read_tensor(s, item, data, &s->list[s->count], why)) return false;
        s->count++;
    }
    qsort(s->list, s->count, sizeof *s->list,
          by_name); /* for safetensors_find, and for twins */
    for (size_t i = 1; i < s->count; i++)
        if (by_name(&s->list[i - 1], &s->list[i]) == 0)
            return refuse(why, &s->list[i], "it appears twice");
    return check_cover(s, data, why);
}

static bool read_header(safetensors *s, size_t n, fault *why)
{
    char *text = malloc(n + 1);
    bool parsed;

    if (!text) return fault_refuse(why, ERR_JSON, NULL, "out of memory");
    memcpy(text, s->bytes + LENGTH, n); /* the mapping has no NUL after the header */
    text[n] = '\0';
    parsed = json_parse_file(&s->header, text, n, "its header", why);
    free(text);
    if (parsed && !cJSON_IsObject(s->header))
        return fault_refuse(why, ERR_JSON, NULL, "its header is no object");
    return parsed && read_tensors(s, LENGTH + n, why);
}

static bool parse(safetensors *s, fault *why)
{
    uint64_t n;

    if (s->n < LENGTH) return fault_refuse(why, ERR_JSON, NULL, "it ends before its header");
    /* Little-endian by the format, as every machine is that this builds for. */
    memcpy(&n, s->bytes, sizeof n);
    /* What is no such file has eight bytes of anything here, which are a huge number: before
     * the length is held against the file's, for this sentence helps more. */
    if (n > HEADER_MAX)
        return fault_refuse(why, ERR_JSON, NULL, "it is not a safetensors file");
    if (n > s->n - LENGTH)
        return fault_refuse(why, ERR_JSON, NULL, "it ends inside its header");
    return read_header(s, (size_t)n, why);
}

/* What tests and the fuzzer call: the file without the file system. */
bool safetensors_open_memory(safetensors **out, const void *data, size_t n, fault *why)
{
    safetensors *s = calloc(1, sizeof *s);

    if (!s) return fault_refuse(why, ERR_JSON, NULL, "out of memory");
    s->bytes = n ? data : (const void *)""; /* an empty file has no mapping */
    s->n = n;
    if (!parse(s, why)) {
        safetensors_close(s);
        return false;
    }
    *out = s;
    return true;
}

/* --- the file --- */

static bool map_file(const char *path, void **data, safetensors_stamp *stamp, fault *why)
{
    size_t *const n = &stamp->bytes;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    int failed = 0;

    if (fd < 0) return fault_refuse(why, ERR_JSON, NULL, "%s", strerror(errno));
    if (fstat(fd, &st) != 0) {
        failed = errno;
    } else if (!S_ISREG(st.st_mode)) {
        failed = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    } else if (st.st_size > 0) {
        *n = (size_t)st.st_size;
        /* Mapped, not read: a tensor is converted at a time, and its pages may go before the
         * next one. */
        *data = mmap(NULL, *n, PROT_READ, MAP_PRIVATE, fd, 0);
        if (*data == MAP_FAILED) failed = errno;
    }
    if (!failed)
        *stamp = (safetensors_stamp){(uint64_t)st.st_dev, (uint64_t)st.st_ino, *n,
                                     (int64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
    close(fd); /* the mapping stays */
    return !failed || fault_refuse(why, ERR_JSON, NULL, "%s", strerror(failed));
}

bool safetensors_open(safetensors **out, const char *path, fault *why)
{
    void *data = NULL; /* an empty file is not mapped */
    safetensors_stamp stamp = {0};

    if (!map_file(path, &data, &stamp, why)) return false;
    if (safetensors_open_memory(out, data, stamp.bytes, why)) {
        (*out)->mapped = stamp.bytes > 0;
        (*out)->stamp = stamp;
        return true;
    }
    if (stamp.bytes) munmap(data, stamp.bytes);
    return false;
}

void safetensors_close(safetensors *s)
{
    if (!s) return;
    if (s->mapped) munmap((void *)s->bytes, s->n);
    cJSON_Delete(s->header);
    free(s->list);
    free(s);
}

safetensors_stamp safetensors_stamp_of(const safetensors *s)
{
    return s->stamp;
}

size_t safetensors_count(const safetensors *s)
{
    return s->count;
}

const safetensor *safetensors_at(const safetensors *s, size_t i)
{
    return &s->list[i];
}

const safetensor *safetensors_find(const safetensors *s, const char *name)
{
    const safetensor key = {.name = name};

    return s->count ? bsearch(&key, s->list, s->count, sizeof key, by_name) : NULL;
}

/* Whole pages within the tensor only: others are its neighbours', too. */
void safetensors_drop(const safetensors *s, const safetensor *t)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)t->data;
    const uintptr_t first = (from + page - 1) / page * page, end = from + t->bytes;
    const uintptr_t last = end / page * page;

    if (s->mapped && last > first)
        (void)madvise((char *)(uintptr_t)t->data + (first - from), last - first, MADV_DONTNEED);
}
