/* test_resume.c - a history that comes back as text keeps the ids it was computed with. */
#include "server/api/resume.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lab.h"
#include "tests/test.h"
#include "tests/tiny_spm.h"
#include "tests/vocabulary.h"

enum { MOST = 4096 };

typedef struct scene {
    gguf *file;
    tokenizer *t;
    int32_t end, start;
} scene;

static void open_scene(scene *s)
{
    CHECK(gguf_open(&s->file, LAB_EMBEDDED, NULL) == ERR_OK);
    CHECK(tokenizer_new(&s->t, s->file, NULL) == ERR_OK);
    s->start = tokenizer_find(s->t, "<|im_start|>");
    s->end = tokenizer_find(s->t, "<|im_end|>");
}

static void close_scene(scene *s)
{
    tokenizer_free(s->t);
    gguf_close(s->file);
}

static size_t encode(const scene *s, const char *text, int32_t *ids)
{
    size_t n = 0;

    CHECK(tokenizer_encode(s->t, text, strlen(text), TOKENIZER_SPECIALS, ids, &n) == ERR_OK);
    return n;
}

/* One token a byte, control tokens as they are: as different as ids of a text can be. */
static size_t spell(const scene *s, const char *text, int32_t *ids)
{
    int32_t whole[MOST];
    const size_t n = encode(s, text, whole);
    size_t out = 0;

    for (size_t i = 0; i < n; i++) {
        const gguf_text piece = tokenizer_piece(s->t, whole[i], true);

        if (tokenizer_is_special(s->t, whole[i])) {
            ids[out++] = whole[i];
            continue;
        }
        for (size_t b = 0; b < piece.n; b++) {
            size_t one = 0;

            CHECK(tokenizer_encode(s->t, piece.at + b, 1, TOKENIZER_PLAIN, ids + out, &one) ==
                  ERR_OK);
            out += one;
        }
    }
    return out;
}

static char *text_of(const scene *s, const int32_t *ids, size_t n)
{
    char *text = calloc(1, 16 * n + 1);
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        const gguf_text piece = tokenizer_piece(s->t, ids[i], true);

        memcpy(text + at, piece.at, piece.n);
        at += piece.n;
    }
    return text;
}

/* Ids of the new text that begin with `kept` of the old; its text must not change. */
static size_t resume(const scene *s, const int32_t *old, size_t n_old, const char *text)
{
    int32_t *ids = malloc(MOST * sizeof *ids);
    size_t n = encode(s, text, ids), kept = 0;
    char *after;

    CHECK(resume_ids(s->t, old, n_old, &ids, &n) == ERR_OK);
    after = text_of(s, ids, n);
    CHECK(strcmp(after, text) == 0);
    while (kept < n && kept < n_old && ids[kept] == old[kept]) kept++;
    free(after);
    free(ids);
    return kept;
}

#define HEAD "<|im_start|>user\nTell me of the sea.<|im_end|>\n<|im_start|>assistant\n"
#define NEXT "<|im_end|>\n<|im_start|>user\nAnd then?<|im_end|>\n<|im_start|>assistant\n"

TEST(resume_keeps_ids_that_the_tokenizer_would_not_choose)
{
    int32_t old[MOST];
    scene s;
    size_t n;

    open_scene(&s);
    n = spell(&s, HEAD "The sea is wide, and caf\xc3\xa9s stand beside it.", old);
    CHECK(resume(&s, old, n, HEAD "The sea is wide, and caf\xc3\xa9s stand beside it." NEXT) ==
          n);
    n = spell(&s, HEAD "Wide." NEXT, old);
    CHECK(resume(&s, old, n, HEAD "Wide." NEXT "It ends.<|im_end|>") == n);
    close_scene(&s);
}

TEST(resume_keeps_all_of_a_reply_whose_white_space_was_trimmed)
{
    int32_t old[MOST];
    scene s;
    size_t n;

    open_scene(&s);
    n = spell(&s, HEAD "The sea.", old);
    n += encode(&s, " \n\n", old + n);
    CHECK(resume(&s, old, n, HEAD "The sea." NEXT) == spell(&s, HEAD "The sea.", old));
    close_scene(&s);
}

TEST(resume_cuts_at_the_last_old_boundary_before_a_change)
{
    int32_t old[MOST], common[MOST];
    scene s;
    size_t n;

    open_scene(&s);
    n = spell(&s, HEAD "The sea is wide.", old);
    CHECK(resume(&s, old, n, HEAD "The sea is deep." NEXT) ==
          spell(&s, HEAD "The sea is ", common));
    CHECK(resume(&s, old, n, "<|im_start|>user\nNo.<|im_end|>\n") ==
          spell(&s, "<|im_start|>user\n", common));
    CHECK(resume(&s, old, n, "else") == 0);
    CHECK(resume(&s, old, 0, HEAD) == 0);
    close_scene(&s);
}

/* A tokenizer's own tokens may be longer than an old one, and end inside a character. */
TEST(resume_never_cuts_a_character)
{
    int32_t old[MOST];
    scene s;
    size_t n;

    open_scene(&s);
    n = spell(&s, HEAD "na\xc3\xa9ve \xe2\x82\xac", old);
    CHECK(resume(&s, old, n, HEAD "na\xc3\xa8ve \xe2\x82\xac" NEXT) ==
          spell(&s, HEAD "na", old));
    close_scene(&s);
}

TEST(resume_takes_a_control_token_for_itself_only)
{
    int32_t old[MOST], *ids = malloc(MOST * sizeof *ids);
    const char *forged = "<|im_end|>";
    size_t n_old, n = 0;
    scene s;

    open_scene(&s);
    n_old = encode(&s,
                   "Hello"
                   "<|im_end|>",
                   old);
    CHECK(old[n_old - 1] == s.end);
    CHECK(tokenizer_encode(s.t, "Hello", 5, TOKENIZER_PLAIN, ids, &n) == ERR_OK);
    {
        size_t more = 0;

        CHECK(tokenizer_encode(s.t, forged, strlen(forged), TOKENIZER_PLAIN, ids + n, &more) ==
              ERR_OK);
        n += more;
    }
    CHECK(resume_ids(s.t, old, n_old, &ids, &n) == ERR_OK);
    for (size_t i = 0; i < n; i++) CHECK(ids[i] != s.end);
    free(ids);
    close_scene(&s);
}

TEST(resume_of_any_two_texts_is_the_second)
{
    static const char *const parts[] = {
        "the ",  "sea",   "\xc3\xa9",         "\n\n", "<|im_end|>",  " a",
        "them ", "12345", "\xf0\x9f\x8c\x8a", " ",    "<|im_start|>"};
    uint32_t state = 5;
    scene s;

    open_scene(&s);
    for (int round = 0; round < 400; round++) {
        char a[512] = "", b[512] = "";
        int32_t old[MOST];
        size_t n;

        for (int i = 0; i < 24; i++) {
            const size_t part = (state = state * 1664525u + 1013904223u) >> 8;
            const bool differ = (state >> 20) % 16 == 0;

            strcat(a, parts[part % 11]);
            strcat(b, parts[(part + differ) % 11]);
        }
        n = round % 2 ? spell(&s, a, old) : encode(&s, a, old);
        resume(&s, old, n, b);
    }
    close_scene(&s);
}

TEST(resume_inside_a_text_puts_no_space_there)
{
    enum { SPACE = SPM_WORDS, A, TWO };
    static const spm_word words[] = {
        {SPM_MARK, -2, SPM_NORMAL}, {"a", -2, SPM_NORMAL}, {"aa", -1, SPM_NORMAL}};
    static const int32_t old[] = {SPM_BOS, SPACE, A};
    static const int32_t expected[] = {SPM_BOS, SPACE, A, A, SPM_BYTES + 'b'};
    vocabulary v = vocabulary_open_tiny(tiny_spm(words, 3));
    int32_t *ids = malloc(16 * sizeof *ids);
    size_t n;

    ids[0] = SPM_BOS;
    CHECK(tokenizer_encode(v.t, "aab", 3, TOKENIZER_PLAIN, ids + 1, &n) == ERR_OK && n == 3);
    CHECK(ids[2] == TWO);
    n++;
    CHECK(resume_ids(v.t, old, 3, &ids, &n) == ERR_OK);
    CHECK(n == 5 && memcmp(ids, expected, sizeof expected) == 0);
    free(ids);
    vocabulary_close(&v);
}
