/* gguf.c - opens a model that is one file or several, and finds keys and tensors in it.
 *
 * The first file's keys are the model's. Tensors of a split model are listed once more, all of
 * them, so that callers see one model; a model of one file uses that file's own list. */
#include "engine/gguf/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gguf/gguf_file.h"
#include "engine/gguf/gguf_split.h"
#include "engine/pages.h"

struct gguf {
    gguf_file **files; /* [n_files] */
    size_t n_files;
    gguf_tensor *all; /* [n_all] of a split model; NULL: those of the one file */
    size_t n_all;
    gguf_names all_names;
};

/* --- opening --- */

/* Where files come from: a path, or images in memory. */
typedef struct source {
    const char *path; /* of the first; NULL: images */
    const gguf_image *images;
    size_t n_images;
} source;

static err open_file(const source *s, const gguf_split *first, size_t no, gguf_file **out,
                     fault *why)
{
    char path[GGUF_SPLIT_PATH];

    if (!s->path) return gguf_file_open_memory(out, s->images[no].data, s->images[no].n, why);
    if (no == 0) return gguf_file_open(out, s->path, why); /* whatever its name is */
    TRY(gguf_split_path(s->path, first, no, path));
    return gguf_file_open(out, path, why);
}

/* The fault lies in file `no`: put its name before the field, the end of it if it is long. */
static err fault_in_file(const source *s, const gguf_split *first, size_t no, err e, fault *why)
{
    enum { NAME_BYTES = 120 };
    char path[GGUF_SPLIT_PATH], text[NAME_BYTES + sizeof why->field + 4];
    const char *slash, *name = path;

    if (!why) return e;
    if (!s->path || gguf_split_path(s->path, first, no, path) != ERR_OK)
        snprintf(path, sizeof path, "file %zu", no + 1);
    slash = strrchr(path, '/');
    if (slash) name = slash + 1;
    if (strlen(name) > NAME_BYTES) name += strlen(name) - NAME_BYTES;
    snprintf(text, sizeof text, "%.*s%s%s", NAME_BYTES, name, why->field[0] ? ": " : "",
             why->field);
    return err_blame(why, e, text);
}

/* One file more, which g closes from now on. */
static err add_file(gguf *g, gguf_file *f)
{
    gguf_file **more = reallocarray(g->files, g->n_files + 1, sizeof *g->files);

    if (!more) return ERR_NOMEM;
    g->files = more;
    g->files[g->n_files++] = f;
    return ERR_OK;
}

/* A file that is not the one expected is closed at once: only those that passed count. */
static err open_other(gguf *g, const source *s, const gguf_split *first, size_t no, fault *why)
{
    gguf_file *f = NULL;
    err e = open_file(s, first, no, &f, why);

    if (e == ERR_OK) e = gguf_split_check(f, first, no, why);
    if (e == ERR_OK) e = add_file(g, f);
    if (e == ERR_OK) return e;
    gguf_file_close(f);
    return fault_in_file(s, first, no, e, why);
}

/* The tensors of all files, in their order. Doubles within a file were found when it was
 * opened; this finds those of different files. */
static err list_tensors(gguf *g, const gguf_split *first, fault *why)
{
    size_t n = 0;

    for (size_t i = 0; i < g->n_files; i++) n += g->files[i]->n_tensors;
    if (n != first->tensors) return err_blame(why, ERR_SPLIT, "split.tensors.count");
    g->all = malloc((n ? n : 1) * sizeof *g->all);
    if (!g->all) return ERR_NOMEM;
    for (size_t i = 0; i < g->n_files; i++) {
        const gguf_file *f = g->files[i];

        if (f->n_tensors) memcpy(g->all + g->n_all, f->tensors, f->n_tensors * sizeof *g->all);
        g->n_all += f->n_tensors;
    }
    return gguf_names_open(&g->all_names, g->all, n, sizeof *g->all, why);
}

/* All files but the first, which is open. */
static err open_others(gguf *g, const source *s, const gguf_split *first, fault *why)
{
    char path[GGUF_SPLIT_PATH];

    if (first->no != 0) return err_blame(why, ERR_SPLITFIRST, "split.no");
    if (s->path && gguf_split_path(s->path, first, 0, path) != ERR_OK)
        return err_blame(why, ERR_SPLITNAME, "split.count");
    for (size_t no = 1; no < first->count; no++) TRY(open_other(g, s, first, no, why));
    return list_tensors(g, first, why);
}

/* The first file says whether there are others, so it is opened before it is known what the
 * model is; from add_file on g closes it, whatever fails. */
static err open_files(gguf *g, const source *s, fault *why)
{
    gguf_split first = {0};
    gguf_file *f = NULL;
    err e;

    TRY(open_file(s, NULL, 0, &f, why));
    e = add_file(g, f);
    if (e != ERR_OK) {
        gguf_file_close(f);
        return e;
    }
    TRY(gguf_split_read(f, &first, why));
    if (!s->path && s->n_images != (first.count ? first.count : 1))
        return err_blame(why, ERR_SPLIT, "split.count");
    return first.count > 1 ? open_others(g, s, &first, why) : ERR_OK;
}

/* NULL, or a model that is whole: a half-open one is closed here. */
static err open_source(gguf **out, const source *s, fault *why)
{
    gguf *g = calloc(1, sizeof *g);
    err e;

    if (!g) return ERR_NOMEM;
    e = open_files(g, s, why);
    if (e != ERR_OK) {
        gguf_close(g);
        return e;
    }
    *out = g;
    return ERR_OK;
}

err gguf_open(gguf **out, const char *path, fault *why)
{
    return open_source(out, &(source){.path = path}, why);
}

err gguf_open_images(gguf **out, const gguf_image *files, size_t n, fault *why)
{
    return open_source(out, &(source){.images = files, .n_images = n}, why);
}

err gguf_open_memory(gguf **out, const void *data, size_t n, fault *why)
{
    const gguf_image file = {data, n};

    return gguf_open_images(out, &file, 1, why);
}

void gguf_close(gguf *g)
{
    if (!g) return;
    for (size_t i = 0; i < g->n_files; i++) gguf_file_close(g->files[i]);
    gguf_names_close(&g->all_names);
    free(g->files);
    free(g->all);
    free(g);
}

/* --- files --- */

/* Asked before a long use: a file that was replaced by rename is another inode, and ours
 * stays; one that was written in place is not what was checked. */
err gguf_check_unchanged(const gguf *g, fault *why)
{
    char file[48];

    for (size_t i = 0; i < g->n_files; i++) {
        if (gguf_file_is_unchanged(g->files[i])) continue;
        if (i == 0) return ERR_CHANGED;
        snprintf(file, sizeof file, "file %zu of %zu", i + 1, g->n_files);
        return err_blame(why, ERR_CHANGED, file);
    }
    return ERR_OK;
}

/* Packed weights are copies, so what they were read from need not stay in memory. */
void gguf_drop_pages(const gguf *g)
{
    for (size_t i = 0; i < g->n_files; i++)
        if (g->files[i]->mapped) pages_drop(g->files[i]->data, g->files[i]->bytes);
}

size_t gguf_files(const gguf *g)
{
    return g->n_files;
}

size_t gguf_file_bytes(const gguf *g)
{
    size_t bytes = 0;

    for (size_t i = 0; i < g->n_files; i++) bytes += g->files[i]->bytes;
    return bytes;
}

uint32_t gguf_version(const gguf *g)
{
    return g->files[0]->version;
}

/* --- tensors --- */

size_t gguf_tensors(const gguf *g)
{
    return g->all ? g->n_all : g->files[0]->n_tensors;
}

const gguf_tensor *gguf_tensor_at(const gguf *g, size_t i)
{
    return g->all ? &g->all[i] : &g->files[0]->tensors[i];
}

const gguf_tensor *gguf_find(const gguf *g, const char *name)
{
    return gguf_names_find(g->all ? &g->all_names : &g->files[0]->tensor_names, name);
}

/* --- values --- */

/* Only the first file is asked: the others repeat some keys, and theirs do not count. */
err gguf_get_u64(const gguf *g, const char *key, uint64_t *out)
{
    const gguf_array *v;

    TRY(gguf_file_value(g->files[0], key, false, &v));
    return gguf_value_u64(v, out);
}

err gguf_get_f64(const gguf *g, const char *key, double *out)
{
    const gguf_array *v;

    TRY(gguf_file_value(g->files[0], key, false, &v));
    return gguf_value_f64(v, out);
}

err gguf_get_bool(const gguf *g, const char *key, bool *out)
{
    const gguf_array *v;

    TRY(gguf_file_value(g->files[0], key, false, &v));
    return gguf_value_bool(v, out);
}

err gguf_get_text(const gguf *g, const char *key, gguf_text *out)
{
    const gguf_array *v;

    TRY(gguf_file_value(g->files[0], key, false, &v));
    return gguf_value_text(v, out);
}

err gguf_get_array(const gguf *g, const char *key, gguf_array *out)
{
    const gguf_array *v;

    TRY(gguf_file_value(g->files[0], key, true, &v));
    *out = *v;
    return ERR_OK;
}

/* --- for people --- */

size_t gguf_keys(const gguf *g)
{
    return g->files[0]->n_keys;
}

gguf_text gguf_key_at(const gguf *g, size_t i, uint32_t *type)
{
    const gguf_entry *k = &g->files[0]->keys[i];

    if (type) *type = k->is_array ? GGUF_VALUE_ARRAY : k->value.type;
    return k->name;
}

void gguf_print_value(const gguf *g, size_t i, char *text, size_t n)
{
    const gguf_entry *k = &g->files[0]->keys[i];

    gguf_value_print(&k->value, k->is_array, text, n);
}
