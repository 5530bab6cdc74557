/* hf_forms.c - lays out the tensors of hf_forms.h, number by number: slow, and short enough to
 * be read beside what `convert` does the other way round. */
#include "tests/hf_forms.h"

#include <stdlib.h>
#include <string.h>

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "hf_forms: %s\n", what);
    exit(1);
}

static const char *text_of(const cJSON *form, const char *member)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(form, member);

    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static bool says(const cJSON *form, const char *member)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(form, member));
}

static void fill_name(char *out, size_t n, const char *pattern, size_t layer, size_t plane)
{
    size_t used = 0;

    for (; *pattern && used + 24 < n; pattern++)
        if (*pattern == '%' || *pattern == '#')
            used += (size_t)snprintf(out + used, n - used, "%zu",
                                     *pattern == '%' ? layer : plane);
        else
            out[used++] = *pattern;
    out[used] = '\0';
}

/* --- shapes --- */

static bool is_stack(const gguf_tensor *t)
{
    return t->n_dims == 3;
}

static size_t planes_of(const gguf_tensor *t, bool stacked)
{
    return is_stack(t) ? t->dim[2] : stacked ? t->dim[1] : 1;
}

static size_t rows_of(const hf_item *i)
{
    return i->flat ? 1 : i->of[0]->dim[1];
}

static size_t bytes_of(const hf_item *i)
{
    return i->of[0] && i->of[0]->type == GGUF_F16 ? 2 : 4;
}

/* Of a block of 32. */
static size_t half_bytes(const hf_item *i)
{
    return i->half == HF_BLOCKS ? 16 : 1;
}

/* --- lists --- */

/* False: there is no such layer. */
static bool read_number(const gguf *g, const char *key, size_t layer, float *out)
{
    gguf_array a;

    if (gguf_get_array(g, key, &a) != ERR_OK) fail(key);
    if (layer >= a.n) return false;
    memcpy(out, (const char *)a.data + layer * sizeof *out, sizeof *out);
    return true;
}

static const gguf_tensor *find(const gguf *g, const cJSON *form, int i, size_t layer)
{
    const cJSON *of = cJSON_GetObjectItemCaseSensitive(form, "of"),
                *name = cJSON_GetArrayItem(of, i);
    char full[128];

    if (!cJSON_IsString(name)) return NULL;
    snprintf(full, sizeof full, "blk.%zu.%s", layer, name->valuestring);
    return gguf_find(g, full);
}

static size_t list_halves(hf_item *one, const char *pattern, size_t layer, hf_item *out)
{
    static const char *const suffixes[] = {"_blocks", "_scales"};

    one->turned = false;
    for (int i = 0; out && i < 2; i++) {
        char name[128];

        out[i] = *one;
        out[i].half = i ? HF_SCALES : HF_BLOCKS;
        snprintf(name, sizeof name, "%s%s", pattern, suffixes[i]);
        fill_name(out[i].name, sizeof out[i].name, name, layer, 0);
    }
    return 2;
}

size_t hf_forms_list(const gguf *g, const cJSON *form, size_t layer, hf_item *out)
{
    const char *pattern = text_of(form, "name"), *key = text_of(form, "key");
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(form, "number");
    const bool each = strchr(pattern, '#') != NULL;
    hf_item one = {.of = {find(g, form, 0, layer), find(g, form, 1, layer)},
                   .woven = says(form, "woven"),
                   .turned = says(form, "turned"),
                   .flat = says(form, "flat"),
                   .line = says(form, "line")};
    size_t planes, n;

    if (number ? layer > 0 : key ? !read_number(g, key, layer, &one.number) : !one.of[0])
        return 0;
    if (number) one.number = (float)number->valuedouble;
    planes = key || number ? 1 : planes_of(one.of[0], one.flat);
    n = each ? planes : 1;
    one.planes = each ? 1 : planes;
    if (key) one.dims = (int)cJSON_GetObjectItemCaseSensitive(form, "dims")->valuedouble;
    if (one.of[0] && one.of[0]->type == GGUF_MXFP4)
        return list_halves(&one, pattern, layer, out);
    for (size_t i = 0; out && i < n; i++) {
        out[i] = one;
        out[i].plane = i;
        fill_name(out[i].name, sizeof out[i].name, pattern, layer, i);
    }
    return n;
}

bool hf_forms_has(const cJSON *record, const char *part)
{
    const cJSON *form, *name;

    cJSON_ArrayForEach (form, cJSON_GetObjectItemCaseSensitive(record, "forms"))
        cJSON_ArrayForEach (name, cJSON_GetObjectItemCaseSensitive(form, "of"))
            if (strcmp(name->valuestring, part) == 0) return true;
    return false;
}

/* --- bytes --- */

static void add_shape(text_builder *t, const hf_item *i)
{
    const size_t pair = i->of[1] ? 2 : 1, rows = i->of[0] ? rows_of(i) * pair : 1;
    const size_t cols = i->of[0] ? i->of[0]->dim[0] : 1;
    const bool stacked = i->of[0] && (is_stack(i->of[0]) || i->flat) && i->planes > 1;

    if (i->half) {
        text_addf(t, "%zu,%zu,%zu%s", i->planes, rows, cols / 32,
                  i->half == HF_BLOCKS ? ",16" : "");
        return;
    }
    if (stacked) text_addf(t, "%zu,", i->planes);
    if (!i->of[0])
        text_add_string(t, i->dims ? "1" : "");
    else if (i->flat)
        text_addf(t, "%zu", cols * pair);
    else if (i->line)
        text_addf(t, "1,%zu", cols);
    else
        text_addf(t, "%zu,%zu", i->turned ? cols : rows, i->turned ? rows : cols);
}

void hf_forms_describe(text_builder *t, const hf_item *i, size_t *offset)
{
    const size_t pair = i->of[1] ? 2 : 1, from = *offset;
    const size_t n = i->of[0] ? i->planes * rows_of(i) * pair * i->of[0]->dim[0] : 1;

    text_addf(t, "\"%s\":{\"dtype\":\"%s\",\"shape\":[", i->name,
              i->half            ? "U8"
              : bytes_of(i) == 2 ? "F16"
                                 : "F32");
    add_shape(t, i);
    *offset += i->half ? n / 32 * half_bytes(i) : n * bytes_of(i);
    text_addf(t, "],\"data_offsets\":[%zu,%zu]}", from, *offset);
}

/* Row r of a plane of the folder's is row r of the first, then of the second; or in turns. */
static const gguf_tensor *find_row(const hf_item *i, size_t plane, size_t r, size_t *row)
{
    const size_t rows = rows_of(i);
    const bool second = i->of[1] && (i->woven ? r % 2 : r / rows);
    const size_t within = !i->of[1] ? r : i->woven ? r / 2 : r % rows;

    *row = (i->plane + plane) * rows + within;
    return i->of[second];
}

static void put(FILE *f, const hf_item *i, size_t plane, size_t r, size_t c)
{
    const size_t bytes = bytes_of(i);
    size_t row;
    const gguf_tensor *t = find_row(i, plane, r, &row);

    if (fwrite((const char *)t->data + (row * t->dim[0] + c) * bytes, 1, bytes, f) != bytes)
        fail("write");
}

static int code_at(const uint8_t *block, int i)
{
    return i < 16 ? block[1 + i] & 15 : block[1 + i - 16] >> 4;
}

/* A byte of the folder's holds numbers side by side, the first of them in its low half. */
static void put_half(FILE *f, const hf_item *i, size_t plane, size_t r)
{
    size_t row;
    const gguf_tensor *t = find_row(i, plane, r, &row);
    const size_t blocks = t->dim[0] / 32;

    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *block = (const uint8_t *)t->data + (row * blocks + b) * 17;
        uint8_t bytes[16] = {block[0]};

        for (int k = 0; k < 16 && i->half == HF_BLOCKS; k++)
            bytes[k] = (uint8_t)(code_at(block, 2 * k) | code_at(block, 2 * k + 1) << 4);
        if (fwrite(bytes, 1, half_bytes(i), f) != half_bytes(i)) fail("write");
    }
}

void hf_forms_write(FILE *f, const hf_item *i)
{
    const size_t rows = i->of[0] ? rows_of(i) * (i->of[1] ? 2 : 1) : 0;
    const size_t cols = i->of[0] ? i->of[0]->dim[0] : 0;

    if (!i->of[0] && fwrite(&i->number, 1, sizeof i->number, f) != sizeof i->number)
        fail("write");
    for (size_t p = 0; p < i->planes && i->half; p++)
        for (size_t r = 0; r < rows; r++) put_half(f, i, p, r);
    for (size_t p = 0; p < i->planes && i->of[0] && !i->half; p++)
        for (size_t a = 0; a < (i->turned ? cols : rows); a++)
            for (size_t b = 0; b < (i->turned ? rows : cols); b++)
                put(f, i, p, i->turned ? b : a, i->turned ? a : b);
}
