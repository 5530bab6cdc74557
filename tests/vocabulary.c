/* vocabulary.c - a tokenizer with the file under it, and what is asked of every one. */
#include "tests/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tests/read_file.h"
#include "tests/test.h"

vocabulary vocabulary_open(const char *path)
{
    vocabulary v = {0};

    CHECK(gguf_open(&v.file, path, NULL) == ERR_OK);
    CHECK(tokenizer_new(&v.t, v.file, NULL) == ERR_OK);
    return v;
}

vocabulary vocabulary_open_tiny(tiny *m)
{
    vocabulary v = {0};
    size_t n;

    v.bytes = tiny_write(m, &n, NULL, NULL);
    tiny_free(m);
    CHECK(gguf_open_memory(&v.file, v.bytes, n, NULL) == ERR_OK);
    CHECK(tokenizer_new(&v.t, v.file, NULL) == ERR_OK);
    return v;
}

void vocabulary_close(vocabulary *v)
{
    tokenizer_free(v->t);
    gguf_close(v->file);
    free(v->bytes);
}

/* Encode; the caller frees. False: an error, or one id too many was written. */
static bool encode(const tokenizer *t, const char *text, size_t n, tokenizer_specials how,
                   int32_t **ids, size_t *count)
{
    const size_t most = how == TOKENIZER_INSIDE ? n : tokenizer_most_ids(t, n);

    *ids = malloc((most + 1) * sizeof **ids);
    (*ids)[most] = 4711;
    *count = 0;
    return tokenizer_encode(t, text, n, how, *ids, count) == ERR_OK && *count <= most &&
           (*ids)[most] == 4711;
}

bool encodes(const tokenizer *t, const char *text, size_t n, tokenizer_specials how,
             const int32_t *expected, size_t n_expected)
{
    int32_t *ids;
    size_t count;
    bool same = encode(t, text, n, how, &ids, &count);

    same = same && count == n_expected &&
           (count == 0 || memcmp(ids, expected, count * sizeof *ids) == 0);
    free(ids);
    return same;
}

bool round_trips(const tokenizer *t, const char *text, size_t n, tokenizer_specials how)
{
    const bool pads = n && how != TOKENIZER_INSIDE && tokenizer_pads(t);
    int32_t *ids;
    size_t count, at = 0;
    bool same = encode(t, text, n, how, &ids, &count);

    for (size_t i = 0; same && i < count; i++) {
        gguf_text piece = tokenizer_piece(t, ids[i], true);

        same = piece.n <= tokenizer_longest(t);
        if (i == 0 && pads) {
            same = same && piece.n && piece.at[0] == ' ';
            piece = (gguf_text){piece.at + 1, piece.n - 1};
        }
        same = same && piece.n <= n - at && memcmp(piece.at, text + at, piece.n) == 0;
        at += piece.n;
    }
    free(ids);
    return same && at == n;
}

static bool encodes_as(const tokenizer *t, const cJSON *text, tokenizer_specials how,
                       const cJSON *list)
{
    int32_t *ids = malloc(((size_t)cJSON_GetArraySize(list) + 1) * sizeof *ids);
    const cJSON *item;
    size_t n = 0;
    bool same;

    cJSON_ArrayForEach (item, list) ids[n++] = (int32_t)item->valuedouble;
    same = encodes(t, text->valuestring, strlen(text->valuestring), how, ids, n);
    free(ids);
    return same;
}

int check_golden_ids(const tokenizer *t, const char *path)
{
    char *text = read_file(path, NULL);
    cJSON *rows = cJSON_Parse(text);
    const int n = cJSON_GetArraySize(rows);
    const cJSON *row;

    free(text);
    cJSON_ArrayForEach (row, rows) {
        const cJSON *of = cJSON_GetObjectItem(row, "text");

        CHECK(encodes_as(t, of, TOKENIZER_SPECIALS, cJSON_GetObjectItem(row, "ids")));
        CHECK(encodes_as(t, of, TOKENIZER_PLAIN, cJSON_GetObjectItem(row, "ids_plain")));
    }
    cJSON_Delete(rows);
    return n;
}
