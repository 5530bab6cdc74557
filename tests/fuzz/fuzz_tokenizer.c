/* fuzz_tokenizer.c - any bytes as text: encoded, and decoded to the same bytes. Bits of the
 * first byte say whether special tokens are recognised, of which kind the vocabulary is, and
 * whether the text goes on inside another. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/detok.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/utf8.h"
#include "tests/tiny_spm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { SPECIALS = 1, SPM = 2, INSIDE = 4 };

/* The embedded model's vocabulary and a small one of SentencePiece's kind, for the life of
 * the process. */
static gguf *file[2];
static tokenizer *vocabulary[2];
static unsigned char *small;

static void close_vocabularies(void)
{
    for (int i = 0; i < 2; i++) {
        tokenizer_free(vocabulary[i]);
        gguf_close(file[i]);
    }
    free(small);
}

static void open_vocabularies(void)
{
    static const spm_word words[] = {
        {SPM_MARK, -1, SPM_NORMAL},
        {"a", -2, SPM_NORMAL},
        {"e", -3, SPM_NORMAL},
        {"aa", 2, SPM_NORMAL},
        {"ae", 1, SPM_NORMAL},
        {SPM_MARK "a", 3, SPM_NORMAL},
        {SPM_MARK SPM_MARK, 1, SPM_USER},
        {"\xc3\xa9", 1, SPM_NORMAL},
        {"a\xc3\xa9", 4, SPM_NORMAL},
        {"[INST]", 0, SPM_CONTROL},
    };
    tiny *m = tiny_spm(words, sizeof words / sizeof words[0]);
    size_t n;

    small = tiny_write(m, &n, NULL, NULL);
    tiny_free(m);
    if (gguf_open(&file[0], "models/seedling-32m-mha-q8_0.gguf", NULL) != ERR_OK) abort();
    if (gguf_open_memory(&file[1], small, n, NULL) != ERR_OK) abort();
    for (int i = 0; i < 2; i++)
        if (tokenizer_new(&vocabulary[i], file[i], NULL) != ERR_OK) abort();
    atexit(close_vocabularies);
}

/* Whole characters come out of the n bytes at text, and the same ones if they are text. */
static void check_characters(const char *text, size_t n)
{
    char *out = malloc(DETOK_GROWTH * (n + 4));
    size_t written = 0;
    detok d = {{0}, 0};

    for (size_t i = 0; i < n; i++) written += detok_push(&d, text + i, 1, out + written);
    written += detok_end(&d, out + written);
    if (!utf8_valid(out, written)) abort();
    if (utf8_valid(text, n) && (written != n || memcmp(out, text, n) != 0)) abort();
    free(out);
}

/* U+2581 and a space are one to vocabularies of that kind. Returns the bytes at out. */
static size_t unmark(const char *text, size_t n, char *out)
{
    size_t written = 0;

    for (size_t i = 0; i < n; i++) {
        const bool mark = n - i >= 3 && memcmp(text + i, SPM_MARK, 3) == 0;

        out[written++] = mark ? ' ' : text[i];
        if (mark) i += 2;
    }
    return written;
}

/* The pieces of ids are the n bytes at text, but for spaces that they have besides. */
static void check(const tokenizer *t, const int32_t *ids, size_t count, const char *text,
                  size_t n)
{
    const bool spm = t == vocabulary[1];
    char *expected = malloc(n + 1);
    const size_t length = spm ? unmark(text, n, expected) : n;
    size_t at = 0;

    if (!spm && n) memcpy(expected, text, n);
    for (size_t i = 0; i < count; i++) {
        const gguf_text piece = tokenizer_piece(t, ids[i], true);

        for (size_t k = 0; k < piece.n; k++) {
            if (at < length && piece.at[k] == expected[at])
                at++;
            else if (!spm || piece.at[k] != ' ')
                abort();
        }
    }
    if (at != length) abort();
    free(expected);
}

/* There is room for exactly `count` ids, and one less is too few. */
static void check_room(const tokenizer *t, const char *text, size_t n, tokenizer_specials how,
                       size_t count)
{
    int32_t *at = malloc((count + 1) * sizeof *at);
    token_ids all = {.at = at, .most = count}, some = {.at = at, .most = count - 1};

    if (tokenizer_append(t, text, n, how, &all) != ERR_OK || all.n != count) abort();
    if (count && tokenizer_append(t, text, n, how, &some) != ERR_TOOLONG) abort();
    free(at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const unsigned bits = n ? data[0] : 0;
    const tokenizer_specials how = bits & SPECIALS ? TOKENIZER_SPECIALS
                                   : bits & INSIDE ? TOKENIZER_INSIDE
                                                   : TOKENIZER_PLAIN;
    const char *text = (const char *)data + 1;
    const tokenizer *t;
    int32_t *ids;
    size_t count, most;

    if (n == 0) return 0;
    if (!vocabulary[0]) open_vocabularies();
    t = vocabulary[bits & SPM ? 1 : 0];
    n--;
    most = how == TOKENIZER_INSIDE ? n : tokenizer_most_ids(t, n);
    ids = malloc((most + 1) * sizeof *ids);
    if (tokenizer_encode(t, text, n, how, ids, &count) != ERR_OK || count > most) abort();
    for (size_t i = 0; how != TOKENIZER_SPECIALS && i < count; i++)
        if (tokenizer_piece(t, ids[i], true).n && !tokenizer_piece(t, ids[i], false).n) abort();
    check(t, ids, count, text, n);
    check_characters(text, n);
    check_room(t, text, n, how, count);
    free(ids);
    return 0;
}
