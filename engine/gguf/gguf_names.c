/* gguf_names.c - a sorted array of pointers: names stay where they lie in the file. Not a hash:
 * a file could be made of names that collide. */
#include "engine/gguf/gguf_names.h"

#include <stdlib.h>
#include <string.h>

static int compare_text(const gguf_text *a, const gguf_text *b)
{
    const int order = memcmp(a->at, b->at, a->n < b->n ? a->n : b->n);

    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static int by_name(const void *a, const void *b)
{
    return compare_text(*(const gguf_text *const *)a, *(const gguf_text *const *)b);
}

/* Sorted, doubles are neighbours: a file of a million keys is checked in n log n steps, however
 * it was made. */
err gguf_names_open(gguf_names *x, const void *first, size_t n, size_t stride, fault *why)
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
            return err_blame_bytes(why, ERR_DUPLICATE, x->name[i]->at, x->name[i]->n);
    return ERR_OK;
}

void gguf_names_close(gguf_names *x)
{
    free(x->name);
    *x = (gguf_names){NULL, 0};
}

const void *gguf_names_find(const gguf_names *x, const char *name)
{
    const gguf_text wanted = {name, strlen(name)}, *key = &wanted;
    const gguf_text *const *found = x->n ? bsearch(&key, x->name, x->n, sizeof(gguf_text *),
                                                   by_name)
                                         : NULL;

    return found ? *found : NULL;
}
