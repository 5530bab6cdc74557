/* codec.c - from a mode's name to its codec. */
#include "xcache/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct row {
    const codec *codec;
    const char *mode, *n;
} row;

static const row rows[] = {
#define CODEC(id, mode, n, help) {&codec_##id, mode, n},
#include "xcache/codec.def"
#undef CODEC
};

enum { ROWS = sizeof rows / sizeof rows[0] };

/* Is `text` one of the numbers in `list` ("8 4 3 2")? An empty list has one: "". */
static bool in_list(const char *list, const char *text)
{
    const size_t n = strlen(text);

    if (!*list) return !n;
    for (const char *at = list; n && at; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, text, n) == 0 && (at[n] == ' ' || !at[n])) return true;
    }
    return false;
}

static const row *find_row(const char *mode, const char **n)
{
    for (size_t i = 0; i < ROWS; i++) {
        const size_t length = strlen(rows[i].mode);

        if (strncmp(mode, rows[i].mode, length) != 0) continue;
        if (!in_list(rows[i].n, mode + length)) continue;
        *n = mode + length;
        return &rows[i];
    }
    return NULL;
}

err codec_open(codec_state *out, const char *mode, const model *m, const kern *k,
               size_t block_tokens)
{
    codec_state s = {.m = m, .kern = k, .block_tokens = block_tokens};
    const char *n = "";
    const row *r;

    if (strcmp(mode, "auto") == 0) mode = model_is_mha(m) ? "xq4" : "kv16";
    r = find_row(mode, &n);
    if (!r) return ERR_MODE;
    s.codec = r->codec;
    s.bits = atoi(n);
    snprintf(s.mode, sizeof s.mode, "%s", mode);
    if (s.codec->open) TRY(s.codec->open(&s));
    *out = s;
    return ERR_OK;
}

void codec_close(codec_state *s)
{
    if (s->codec && s->codec->close) s->codec->close(s);
    s->codec = NULL;
}

bool codec_mode(size_t i, char mode[16])
{
    for (size_t r = 0; r < ROWS; r++) {
        const char *at = rows[r].n;

        do { /* every word of n, or the one empty word */
            const size_t word = strcspn(at, " ");

            if (i-- == 0) {
                snprintf(mode, 16, "%s%.*s", rows[r].mode, (int)word, at);
                return true;
            }
            at += word + (at[word] == ' ');
        } while (*at);
    }
    return false;
}
