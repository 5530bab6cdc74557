/* gguf_split.c - opens a model that is one file or several, and holds the several against each
 * other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gguf/gguf_parts.h"

enum { MAX_PARTS = 99999 /* five digits in a file's name */, PATH_BYTES = 4352 };

/* Where files come from: a path, or images in memory. */
typedef struct source {
    const char *path; /* of the first; NULL: images */
    const gguf_image *images;
    size_t n_images;
} source;

/* What a file of a split model says about itself. */
typedef struct split {
    uint64_t no, count, tensors;
} split;

/* "-00002-of-00003.gguf" for file 1 of 3. Returns its length. */
static int write_ending(char *text, size_t n, uint64_t no, uint64_t count)
{
    return snprintf(text, n, "-%05llu-of-%05llu.gguf", (unsigned long long)no + 1,
                    (unsigned long long)count);
}

/* The path of file `no` of as many as `first` says; ERR_SPLITNAME: the first has another name.
 */
static err name_part(const char *path, const split *first, size_t no, char *out)
{
    char ending[64];
    const size_t length = strlen(path);
    const size_t n = (size_t)write_ending(ending, sizeof ending, 0, first->count);

    if (length < n || length >= PATH_BYTES || strcmp(path + length - n, ending) != 0)
        return ERR_SPLITNAME;
    memcpy(out, path, length - n);
    write_ending(out + length - n, PATH_BYTES - (length - n), no, first->count);
    return ERR_OK;
}

static err open_part(const source *s, const split *first, size_t no, gguf **out, fault *why)
{
    char path[PATH_BYTES];

    if (!s->path) return gguf_open_part_memory(out, s->images[no].data, s->images[no].n, why);
    TRY(name_part(s->path, first, no, path));
    return gguf_open_part(out, path, why);
}

/* The fault lies in file `no`: put its name before the field, the end of it if it is long. */
static err fault_in_part(const source *s, const split *first, size_t no, err e, fault *why)
{
    enum { NAME_BYTES = 120 };
    char path[PATH_BYTES], text[NAME_BYTES + sizeof why->field + 4];
    const char *slash, *name = path;

    if (!why) return e;
    if (!s->path || name_part(s->path, first, no, path) != ERR_OK)
        snprintf(path, sizeof path, "file %zu", no + 1);
    slash = strrchr(path, '/');
    if (slash) name = slash + 1;
    if (strlen(name) > NAME_BYTES) name += strlen(name) - NAME_BYTES;
    snprintf(text, sizeof text, "%.*s%s%s", NAME_BYTES, name, why->field[0] ? ": " : "",
             why->field);
    return fault_name(why, e, text);
}

static err read_number(const gguf *g, const char *key, uint64_t *out, fault *why)
{
    const err e = gguf_get_u64(g, key, out);

    return e == ERR_OK ? e : fault_name(why, e, key);
}

/* A model in one file says nothing, or a count of 0 or 1, as it does after a merge. */
static err read_split(const gguf *g, split *s, fault *why)
{
    const err e = gguf_get_u64(g, "split.count", &s->count);

    if (e == ERR_MISSING) s->count = 1;
    if (e != ERR_OK && e != ERR_MISSING) return fault_name(why, e, "split.count");
    if (s->count > MAX_PARTS) return fault_name(why, ERR_RANGE, "split.count");
    if (s->count <= 1) return ERR_OK;
    TRY(read_number(g, "split.no", &s->no, why));
    return read_number(g, "split.tensors.count", &s->tensors, why);
}

/* Does file `no` say the same as the first? */
static err check_part(const gguf *g, const split *first, size_t no, fault *why)
{
    split s = {0};

    TRY(read_split(g, &s, why));
    if (s.count != first->count) return fault_name(why, ERR_SPLIT, "split.count");
    if (s.no != no) return fault_name(why, ERR_SPLIT, "split.no");
    if (s.tensors != first->tensors) return fault_name(why, ERR_SPLIT, "split.tensors.count");
    return ERR_OK;
}

static err add_part(gguf *g, const source *s, const split *first, size_t no, fault *why)
{
    gguf *part = NULL;
    err e = open_part(s, first, no, &part, why);

    if (e == ERR_OK) e = check_part(part, first, no, why);
    if (e == ERR_OK) e = gguf_add_part(g, part);
    if (e == ERR_OK) return e;
    gguf_close(part);
    return fault_in_part(s, first, no, e, why);
}

/* All files but the first, which is g. */
static err add_parts(gguf *g, const source *s, const split *first, fault *why)
{
    char path[PATH_BYTES];

    if (first->no != 0) return fault_name(why, ERR_SPLITFIRST, "split.no");
    if (s->path && name_part(s->path, first, 0, path) != ERR_OK)
        return fault_name(why, ERR_SPLITNAME, "split.count");
    for (size_t no = 1; no < first->count; no++) TRY(add_part(g, s, first, no, why));
    if (gguf_tensors(g) != first->tensors)
        return fault_name(why, ERR_SPLIT, "split.tensors.count");
    return gguf_index_parts(g, why);
}

static err open_source(gguf **out, gguf *g, const source *s, fault *why)
{
    split first = {0};
    err e = read_split(g, &first, why);

    if (e == ERR_OK && !s->path && s->n_images != (first.count ? first.count : 1))
        e = fault_name(why, ERR_SPLIT, "split.count");
    if (e == ERR_OK && first.count > 1) e = add_parts(g, s, &first, why);
    if (e != ERR_OK) {
        gguf_close(g);
        return e;
    }
    *out = g;
    return ERR_OK;
}

err gguf_open(gguf **out, const char *path, fault *why)
{
    const source s = {.path = path};
    gguf *g = NULL;

    TRY(gguf_open_part(&g, path, why));
    return open_source(out, g, &s, why);
}

err gguf_open_images(gguf **out, const gguf_image *files, size_t n, fault *why)
{
    const source s = {.images = files, .n_images = n};
    gguf *g = NULL;

    TRY(gguf_open_part_memory(&g, files[0].data, files[0].n, why));
    return open_source(out, g, &s, why);
}

err gguf_open_memory(gguf **out, const void *data, size_t n, fault *why)
{
    const gguf_image file = {data, n};

    return gguf_open_images(out, &file, 1, why);
}
