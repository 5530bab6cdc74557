/* fuzz_tokenizer.c - any bytes as text: encoded, and decoded to the same bytes. The first
 * byte says whether special tokens are recognised. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The embedded model's vocabulary, for the life of the process. */
static gguf *file;
static tokenizer *vocabulary;

static void close_vocabulary(void)
{
    tokenizer_free(vocabulary);
    gguf_close(file);
}

static void open_vocabulary(void)
{
    if (gguf_open(&file, "models/seedling-32m-mha-q8_0.gguf", NULL) != ERR_OK) abort();
    if (tokenizer_new(&vocabulary, file, NULL) != ERR_OK) abort();
    atexit(close_vocabulary);
}

/* The pieces of ids are the n bytes at text, and whole characters come out of them. */
static void check(const tokenizer *t, const int32_t *ids, size_t count, const char *text,
                  size_t n, tokenizer_specials how)
{
    char *out = malloc(DETOK_GROWTH * (n + 4));
    size_t at = 0, written = 0;
    detok d = {{0}, 0};

    for (size_t i = 0; i < count; i++) {
        const gguf_text piece = tokenizer_piece(t, ids[i], true);

        if (how == TOKENIZER_PLAIN && tokenizer_is_special(t, ids[i])) abort();
        if (piece.n > n - at || memcmp(piece.at, text + at, piece.n) != 0) abort();
        at += piece.n;
        written += detok_push(&d, piece.at, piece.n, out + written);
    }
    written += detok_end(&d, out + written);
    if (at != n || !utf8_valid(out, written)) abort();
    if (utf8_valid(text, n) && (written != n || memcmp(out, text, n) != 0)) abort();
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const tokenizer_specials how = n && data[0] & 1 ? TOKENIZER_SPECIALS : TOKENIZER_PLAIN;
    int32_t *ids;
    size_t count;

    if (n == 0) return 0;
    if (!vocabulary) open_vocabulary();
    n--;
    ids = malloc((n + 1) * sizeof *ids);
    if (tokenizer_encode(vocabulary, (const char *)data + 1, n, how, ids, &count) != ERR_OK)
        abort();
    if (count > n) abort();
    check(vocabulary, ids, count, (const char *)data + 1, n, how);
    free(ids);
    return 0;
}
