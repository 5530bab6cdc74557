/* split_gguf.c - cuts a model file into several, as one that is too large for its place comes:
 * PREFIX-00001-of-00003.gguf and so on, the tensors in their order, the values in the first.
 *
 *   split_gguf [--no-tensors-first] PARTS IN.gguf PREFIX */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gguf/gguf.h"

enum { U16 = 2, I32 = 5 }; /* value types */
enum { SPLIT_KEYS = 3 };

static void fail(const char *what)
{
    fprintf(stderr, "split_gguf: %s\n", what);
    exit(1);
}

static void put(FILE *f, const void *bytes, size_t n)
{
    if (n && fwrite(bytes, 1, n, f) != n) fail("cannot write");
}

static void put_u32(FILE *f, uint32_t v)
{
    put(f, &v, sizeof v);
}

static void put_u64(FILE *f, uint64_t v)
{
    put(f, &v, sizeof v);
}

static void put_text(FILE *f, const char *text, size_t n)
{
    put_u64(f, n);
    put(f, text, n);
}

static void put_split_key(FILE *f, const char *key, uint32_t type, size_t value)
{
    put_text(f, key, strlen(key));
    put_u32(f, type);
    if (type == U16)
        put(f, &(uint16_t){(uint16_t)value}, 2);
    else
        put_u32(f, (uint32_t)value);
}

/* All keys lie in one row before the first tensor's description. */
static void put_keys(FILE *f, const gguf *g)
{
    const char *from = gguf_key_at(g, 0, NULL).at - sizeof(uint64_t);
    const char *to = gguf_tensor_at(g, 0)->name.at - sizeof(uint64_t);

    put(f, from, (size_t)(to - from));
}

static void pad(FILE *f, uint64_t align)
{
    while ((uint64_t)ftello(f) % align) put(f, "", 1);
}

static void put_tensor(FILE *f, const gguf_tensor *t, size_t offset)
{
    put_text(f, t->name.at, t->name.n);
    put_u32(f, (uint32_t)t->n_dims);
    for (int i = 0; i < t->n_dims; i++) put_u64(f, t->dim[i]);
    put_u32(f, t->type);
    put_u64(f, offset);
}

/* Tensors first .. last-1 behind a head that has all values, or those of the split alone. */
typedef struct part {
    const gguf *g;
    size_t no, count, first, last;
    uint64_t align;
} part;

static void write_part(FILE *f, const part *p)
{
    const size_t keys = p->no ? 0 : gguf_keys(p->g);
    size_t offset = 0;

    put(f, "GGUF", 4);
    put_u32(f, 3);
    put_u64(f, p->last - p->first);
    put_u64(f, keys + SPLIT_KEYS);
    if (keys) put_keys(f, p->g);
    put_split_key(f, "split.no", U16, p->no);
    put_split_key(f, "split.count", U16, p->count);
    put_split_key(f, "split.tensors.count", I32, gguf_tensors(p->g));
    for (size_t i = p->first; i < p->last; i++) {
        put_tensor(f, gguf_tensor_at(p->g, i), offset);
        offset += (gguf_tensor_at(p->g, i)->bytes + p->align - 1) / p->align * p->align;
    }
    pad(f, p->align);
    for (size_t i = p->first; i < p->last; i++) {
        put(f, gguf_tensor_at(p->g, i)->data, gguf_tensor_at(p->g, i)->bytes);
        pad(f, p->align);
    }
}

static void split(const gguf *g, size_t count, bool none_first, const char *prefix)
{
    const size_t tensors = gguf_tensors(g), filled = count - none_first;
    uint64_t align = 32;

    (void)gguf_get_u64(g, "general.alignment", &align);
    for (size_t no = 0; no < count; no++) {
        const size_t i = none_first && no ? no - 1 : no;
        part p = {g, no, count, tensors * i / filled, tensors * (i + 1) / filled, 32};
        char path[4352];
        FILE *f;

        if (none_first && !no) p.last = 0;
        if (!no) p.align = align; /* the first has the key */
        snprintf(path, sizeof path, "%s-%05zu-of-%05zu.gguf", prefix, no + 1, count);
        f = fopen(path, "wb");
        if (!f) fail(path);
        write_part(f, &p);
        if (fclose(f) != 0) fail("cannot write");
    }
}

int main(int argc, char **argv)
{
    const bool none_first = argc == 5 && strcmp(argv[1], "--no-tensors-first") == 0;
    const int at = none_first ? 2 : 1;
    const int count = argc == at + 3 ? atoi(argv[at]) : 0;
    fault why = {0};
    gguf *g;

    if (count < 1 + none_first || count > 99999) {
        fprintf(stderr, "usage: split_gguf [--no-tensors-first] PARTS IN.gguf PREFIX\n");
        return 2;
    }
    if (gguf_open(&g, argv[at + 1], &why) != ERR_OK) fail(argv[at + 1]);
    if (gguf_files(g) != 1 || !gguf_keys(g) || !gguf_tensors(g)) fail("cannot split that");
    split(g, (size_t)count, none_first, argv[at + 2]);
    gguf_close(g);
    return 0;
}
