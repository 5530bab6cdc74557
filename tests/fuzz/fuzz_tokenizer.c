/* fuzz_tokenizer.c - any bytes as text: encoded, and decoded to the same bytes. Bits of the
 * first byte say whether special tokens are recognised, of which kind the vocabulary is, and
 * whether the text goes on inside another. Kinds that change text first do not give it back; of
 * them the ids are looked at. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/detok.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/utf8.h"
#include "tests/tiny_spm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { SPECIALS = 1, SPM = 2, INSIDE = 4, KIND = 8 /* and above */ };

/* The embedded model's vocabulary and small ones of the other kinds, for the life of the
 * process.
 */
enum kind { EMBEDDED, CHARACTERS, UNIGRAM, WORDPIECE, MERGED, NORMAL, KINDS };
static gguf *file[KINDS];
static tokenizer *vocabulary[KINDS];
static unsigned char *small[KINDS];

static void close_vocabularies(void)
{
    for (int i = 0; i < KINDS; i++) {
        tokenizer_free(vocabulary[i]);
        gguf_close(file[i]);
        free(small[i]);
    }
}

static void open_small(enum kind kind, tiny *m)
{
    size_t n;

    small[kind] = tiny_write(m, &n, NULL, NULL);
    tiny_free(m);
    if (gguf_open_memory(&file[kind], small[kind], n, NULL) != ERR_OK) abort();
}

/* As another kind. */
static tiny *become(tiny *m, const char *model)
{
    static const char *const merges[] = {"a e", "a a", SPM_MARK " a", "a \xc3\xa9"};

    tiny_set_text(m, "tokenizer.ggml.model", model);
    tiny_set_texts(m, "tokenizer.ggml.merges", merges, sizeof merges / sizeof merges[0]);
    tiny_set_u32(m, "tokenizer.ggml.unknown_token_id", SPM_UNKNOWN);
    tiny_set_bool(m, "tokenizer.ggml.remove_extra_whitespaces", 1);
    return m;
}

/* Byte pairs behind all that may be done to text. */
static tiny *normalizing(void)
{
    static const char *const steps[] = {"strip_left",  "nfkc",      "replace", "a",
                                        "bb",          "lowercase", "prepend", "_",
                                        "strip_right", "nfc"};
    tiny *m = tiny_new();

    tiny_set_texts(m, "xquantd.tokenizer.normalizer", steps, sizeof steps / sizeof steps[0]);
    return m;
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
    const size_t n = sizeof words / sizeof words[0];

    if (gguf_open(&file[EMBEDDED], "models/seedling-32m-mha-q8_0.gguf", NULL) != ERR_OK)
        abort();
    open_small(CHARACTERS, tiny_spm(words, n));
    open_small(UNIGRAM, become(tiny_spm(words, n), "t5"));
    open_small(WORDPIECE, become(tiny_spm(words, n), "bert"));
    open_small(MERGED, become(tiny_spm(words, n), "gemma4"));
    open_small(NORMAL, normalizing());
    for (int i = 0; i < KINDS; i++)
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
    const bool spm = t != vocabulary[EMBEDDED];
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
    static const enum kind kinds[] = {EMBEDDED, UNIGRAM, WORDPIECE, MERGED, NORMAL};
    enum kind kind;
    const tokenizer *t;
    int32_t *ids;
    size_t count, most;

    if (n == 0) return 0;
    if (!vocabulary[0]) open_vocabularies();
    kind = bits & SPM ? CHARACTERS : kinds[bits / KIND % (sizeof kinds / sizeof kinds[0])];
    t = vocabulary[kind];
    n--;
    most = tokenizer_most_ids(t, n);
    if (how == TOKENIZER_INSIDE && kind <= CHARACTERS) most = n;
    ids = malloc((most + 1) * sizeof *ids);
    if (tokenizer_encode(t, text, n, how, ids, &count) != ERR_OK || count > most) abort();
    for (size_t i = 0; how != TOKENIZER_SPECIALS && i < count; i++)
        if (ids[i] != SPM_UNKNOWN && tokenizer_piece(t, ids[i], true).n &&
            !tokenizer_piece(t, ids[i], false).n)
            abort();
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= tokenizer_size(t)) abort();
    if (kind <= CHARACTERS || kind == MERGED) check(t, ids, count, text, n);
    check_characters(text, n);
    check_room(t, text, n, how, count);
    free(ids);
    return 0;
}
