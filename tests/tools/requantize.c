/* requantize.c - writes a model again with matrices of another type:
 *   requantize TYPE IN.gguf OUT.gguf [NAME=TYPE ...]
 *
 * NAME=TYPE: matrices whose name holds NAME get that type; the first that fits counts. A
 * matrix whose width is no whole block becomes Q8_0, or stays as it is where that does not
 * fit either. Vectors and what has the type already are copied. The types' encoder is simple
 * (tests/encode.h): valid files for tests, not the best ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gguf/gguf.h"
#include "engine/model/matrix.h"
#include "tests/encode.h"
#include "tests/read_file.h"

typedef struct wish {
    gguf_type type;
    char **rules; /* "NAME=TYPE" */
    int n_rules;
} wish;

static void fail(const char *what)
{
    fprintf(stderr, "requantize: %s\n", what);
    exit(1);
}

static bool holds(gguf_text name, const char *part, size_t n)
{
    for (size_t i = 0; i + n <= name.n; i++)
        if (memcmp(name.at + i, part, n) == 0) return true;
    return false;
}

static gguf_type wished(const wish *w, gguf_text name)
{
    for (int i = 0; i < w->n_rules; i++) {
        const char *equals = strchr(w->rules[i], '=');
        gguf_type type;

        if (!equals || !encode_find_type(equals + 1, &type)) fail(w->rules[i]);
        if (holds(name, w->rules[i], (size_t)(equals - w->rules[i]))) return type;
    }
    return w->type;
}

static size_t block_of(gguf_type type, size_t *bytes)
{
    size_t elements = 1;

    (void)gguf_type_name(type, &elements, bytes);
    return elements;
}

static gguf_type new_type(const wish *w, const gguf_tensor *t)
{
    const gguf_type type = wished(w, t->name);
    size_t bytes;

    if (t->n_dims < 2) return t->type;
    if (t->dim[0] % block_of(type, &bytes) == 0) return type;
    return t->dim[0] % 32 == 0 ? GGUF_Q8_0 : t->type;
}

static size_t rows_of(const gguf_tensor *t)
{
    return t->dim[1] * t->dim[2] * t->dim[3];
}

static size_t row_bytes(gguf_type type, const gguf_tensor *t)
{
    size_t bytes = 0;
    const size_t elements = block_of(type, &bytes);

    return t->dim[0] / elements * bytes;
}

static void put(FILE *f, const void *bytes, size_t n)
{
    if (n && fwrite(bytes, 1, n, f) != n) fail("cannot write");
}

static size_t aligned(size_t n, size_t align)
{
    return (n + align - 1) / align * align;
}

static void pad(FILE *f, size_t at, size_t align)
{
    for (size_t n = aligned(at, align) - at; n; n--) put(f, "", 1);
}

static void put_tensors(FILE *f, const wish *w, const gguf *g, size_t align)
{
    uint64_t offset = 0;

    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        const gguf_type type = new_type(w, t);

        put(f, &(uint64_t){t->name.n}, 8);
        put(f, t->name.at, t->name.n);
        put(f, &(uint32_t){(uint32_t)t->n_dims}, 4);
        put(f, t->dim, (size_t)t->n_dims * sizeof t->dim[0]);
        put(f, &(uint32_t){type}, 4);
        put(f, &offset, 8);
        offset += aligned(row_bytes(type, t) * rows_of(t), align);
    }
}

static void put_data(FILE *f, gguf_type type, const gguf_tensor *t)
{
    const size_t bytes = row_bytes(type, t), rows = rows_of(t);
    const gguf_tensor flat = {
        .type = t->type, .dim = {t->dim[0], rows, 1, 1}, .data = t->data, .bytes = t->bytes};
    float *x = malloc(t->dim[0] * sizeof *x);
    uint8_t *row = malloc(bytes);

    if (!x || !row) fail("out of memory");
    for (size_t r = 0; r < rows; r++) {
        if (matrix_read_row(&flat, r, x) != ERR_OK) fail("a type that cannot be read");
        if (type == t->type) {
            put(f, (const uint8_t *)t->data + r * bytes, bytes);
            continue;
        }
        encode_row(type, x, t->dim[0], row);
        put(f, row, bytes);
    }
    free(x);
    free(row);
}

/* Header and keys as they are: they end where the first tensor's name and its length begin. */
static void put_head(FILE *f, const gguf *g, const char *file)
{
    if (!gguf_tensors(g)) fail("a model without tensors");
    put(f, file, (size_t)(gguf_tensor_at(g, 0)->name.at - file) - sizeof(uint64_t));
}

int main(int argc, char **argv)
{
    wish w = {.rules = argv + 4, .n_rules = argc - 4};
    uint64_t align = 32;
    fault why = {0};
    size_t n = 0;
    char *file;
    gguf *g;
    FILE *f;

    if (argc < 4 || !encode_find_type(argv[1], &w.type)) {
        fprintf(stderr, "usage: requantize TYPE IN.gguf OUT.gguf [NAME=TYPE ...]\n");
        return 2;
    }
    file = read_file(argv[2], &n);
    if (gguf_open_memory(&g, file, n, &why) != ERR_OK) fail(why.field);
    (void)gguf_get_u64(g, "general.alignment", &align);
    f = fopen(argv[3], "wb");
    if (!f) fail(argv[3]);
    put_head(f, g, file);
    put_tensors(f, &w, g, align);
    pad(f, (size_t)ftello(f), align);
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        put_data(f, new_type(&w, gguf_tensor_at(g, i)), gguf_tensor_at(g, i));
        pad(f, (size_t)ftello(f), align);
    }
    if (fclose(f) != 0) fail("cannot write");
    gguf_close(g);
    free(file);
    return 0;
}
