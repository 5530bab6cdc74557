/* gguf_value.c - numbers and texts as a model file stores them.
 *
 * Writers differ in the width they choose for a key: a count is uint32 in one file and int64 or
 * even uint8 in another. So a caller asks for a number, not for a width, and gets it where it
 * fits. */
#include "engine/gguf/gguf_value.h"

#include <stdio.h>
#include <string.h>

#include "engine/utf8.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are read where they lie");

enum { PRINT_ELEMENTS = 8 /* of a list, as a person reads it */ };

const gguf_value_type *gguf_value_type_of(uint32_t type)
{
    static const gguf_value_type types[] = {
        {"uint8", GGUF_KIND_UNSIGNED, 1},  {"int8", GGUF_KIND_SIGNED, 1},
        {"uint16", GGUF_KIND_UNSIGNED, 2}, {"int16", GGUF_KIND_SIGNED, 2},
        {"uint32", GGUF_KIND_UNSIGNED, 4}, {"int32", GGUF_KIND_SIGNED, 4},
        {"float32", GGUF_KIND_REAL, 4},    {"bool", GGUF_KIND_BOOL, 1},
        {"string", GGUF_KIND_TEXT, 8},     {NULL, 0, 0}, /* the list's own number */
        {"uint64", GGUF_KIND_UNSIGNED, 8}, {"int64", GGUF_KIND_SIGNED, 8},
        {"float64", GGUF_KIND_REAL, 8},
    };

    if (type >= sizeof types / sizeof types[0] || type == GGUF_VALUE_ARRAY) return NULL;
    return &types[type];
}

/* One element as it lies: integers sign-extended, bools as 0 or 1. */
static uint64_t load_integer(const gguf_value_type *type, const void *at)
{
    const unsigned unused = 64 - 8 * (unsigned)type->bytes;
    uint64_t bits = 0;

    memcpy(&bits, at, type->bytes);
    if (type->kind != GGUF_KIND_SIGNED) return bits;
    return (uint64_t)((int64_t)(bits << unused) >> unused);
}

/* By memcpy: a value lies at any address. */
static double load_real(const gguf_value_type *type, const void *at)
{
    float f32;
    double f64;

    if (type->bytes == sizeof f32) {
        memcpy(&f32, at, sizeof f32);
        return f32;
    }
    memcpy(&f64, at, sizeof f64);
    return f64;
}

/* A negative count is no count: refused by its type, rather than read as 2^64 less
 * something. */
err gguf_value_u64(const gguf_array *v, uint64_t *out)
{
    const gguf_value_type *type = gguf_value_type_of(v->type);
    uint64_t bits;

    if (type->kind != GGUF_KIND_UNSIGNED && type->kind != GGUF_KIND_SIGNED) return ERR_KEYTYPE;
    bits = load_integer(type, v->data);
    if (type->kind == GGUF_KIND_SIGNED && (int64_t)bits < 0) return ERR_KEYTYPE;
    *out = bits;
    return ERR_OK;
}

/* Converters write a whole number as an integer, "rope.freq_base = 10000" too. */
err gguf_value_f64(const gguf_array *v, double *out)
{
    const gguf_value_type *type = gguf_value_type_of(v->type);

    switch (type->kind) {
    case GGUF_KIND_REAL:
        *out = load_real(type, v->data);
        return ERR_OK;
    case GGUF_KIND_UNSIGNED:
        *out = (double)load_integer(type, v->data);
        return ERR_OK;
    case GGUF_KIND_SIGNED:
        *out = (double)(int64_t)load_integer(type, v->data);
        return ERR_OK;
    default:
        return ERR_KEYTYPE;
    }
}

/* The file was refused if it has a bool of neither 0 nor 1. */
err gguf_value_bool(const gguf_array *v, bool *out)
{
    const gguf_value_type *type = gguf_value_type_of(v->type);

    if (type->kind != GGUF_KIND_BOOL) return ERR_KEYTYPE;
    *out = load_integer(type, v->data);
    return ERR_OK;
}

/* Inside the mapping: it lives as long as the file is open. */
err gguf_value_text(const gguf_array *v, gguf_text *out)
{
    const void *at = v->data;

    if (gguf_value_type_of(v->type)->kind != GGUF_KIND_TEXT) return ERR_KEYTYPE;
    *out = gguf_next_text(&at);
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

/* A text that is being written; what does not fit is left out. */
typedef struct line {
    char *text;
    size_t n, size;
} line;

/* All or nothing: cutting a word or a character in two would look like another value. */
static void add(line *l, const char *bytes, size_t n)
{
    if (n >= l->size - l->n) return;
    memcpy(l->text + l->n, bytes, n);
    l->n += n;
    l->text[l->n] = '\0';
}

static void add_word(line *l, const char *word)
{
    add(l, word, strlen(word));
}

/* Whole characters only; control characters and what is not UTF-8 as '?'. */
static void add_text(line *l, gguf_text t)
{
    size_t length;

    for (size_t i = 0; i < t.n && l->n + 4 < l->size; i += length) {
        const bool whole = utf8_step(t.at + i, t.n - i, &length) == UTF8_WHOLE;
        const unsigned char lead = (unsigned char)t.at[i];

        if (lead == '\n')
            add(l, "\\n", 2);
        else if (!whole || lead < 0x20 || lead == 0x7f)
            add(l, "?", 1);
        else
            add(l, t.at + i, length);
    }
}

/* Nine digits name every float32, so what `inspect` prints can be put into a file again. */
static void add_number(line *l, const gguf_value_type *type, const void *at)
{
    char number[32];

    switch (type->kind) {
    case GGUF_KIND_REAL:
        snprintf(number, sizeof number, "%.9g", load_real(type, at));
        break;
    case GGUF_KIND_SIGNED:
        snprintf(number, sizeof number, "%lld", (long long)load_integer(type, at));
        break;
    case GGUF_KIND_BOOL:
        add_word(l, load_integer(type, at) ? "true" : "false");
        return;
    default:
        snprintf(number, sizeof number, "%llu", (unsigned long long)load_integer(type, at));
    }
    add_word(l, number);
}

/* A vocabulary has a hundred thousand: the first eight show what kind of list it is. */
static void add_elements(line *l, const gguf_value_type *type, const gguf_array *v)
{
    const void *at = v->data;

    for (uint64_t i = 0; i < v->n && i < PRINT_ELEMENTS; i++) {
        add_word(l, i ? ", " : " ");
        if (type->kind == GGUF_KIND_TEXT) {
            add_word(l, "\"");
            add_text(l, gguf_next_text(&at));
            add_word(l, "\"");
        } else {
            add_number(l, type, at);
            at = (const char *)at + type->bytes;
        }
    }
    if (v->n > PRINT_ELEMENTS) add_word(l, ", ...");
}

void gguf_value_print(const gguf_array *v, bool is_array, char *text, size_t n)
{
    const gguf_value_type *type = gguf_value_type_of(v->type);
    const void *at = v->data;
    line l = {text, 0, n};
    char head[64];

    if (n == 0) return;
    text[0] = '\0';
    if (is_array) {
        snprintf(head, sizeof head, "%s[%llu]", type->name, (unsigned long long)v->n);
        add_word(&l, head);
        add_elements(&l, type, v);
    } else if (type->kind == GGUF_KIND_TEXT) {
        add_text(&l, gguf_next_text(&at));
    } else {
        add_number(&l, type, at);
    }
}
