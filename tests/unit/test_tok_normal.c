/* test_tok_normal.c - each step on text, normal forms against all of Unicode, what is
 * malformed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "engine/tokenizer/tok_normal.h"
#include "engine/tokenizer/tok_unicode.h"
#include "tests/test.h"
#include "tests/tiny.h"

enum { MOST_TEXTS = 8, LAST_CHARACTER = 0x10ffff };

/* Does the text become this behind the steps? */
static bool becomes(const char *const *steps, const char *text, size_t n, const char *expected)
{
    tiny *m = tiny_new();
    tok_normal *s = NULL;
    tok_text out = {0};
    unsigned char *bytes;
    size_t count = 0, size;
    gguf *g;
    bool same;

    while (steps[count]) count++;
    tiny_set_texts(m, TOK_NORMAL_KEY, steps, count);
    bytes = tiny_write(m, &size, NULL, NULL);
    tiny_free(m);
    CHECK(gguf_open_memory(&g, bytes, size, NULL) == ERR_OK);
    CHECK(tok_normal_open(&s, g, "nfkd", NULL) == ERR_OK && s);
    CHECK(tok_normal_text(s, text, n, &out) == ERR_OK);
    same = out.n == strlen(expected) && memcmp(out.n ? out.at : "", expected, out.n) == 0 &&
           out.n <= tok_normal_most(s, n);
    if (!same) fprintf(stderr, "%s: '%.*s'\n", steps[0], (int)out.n, out.at);
    tok_text_free(&out);
    tok_normal_close(s);
    gguf_close(g);
    free(bytes);
    return same;
}

TEST(normal_each_step_does_what_its_name_says)
{
    static const struct {
        const char *steps[MOST_TEXTS];
        const char *text, *expected;
    } cases[] = {
        {{"nfc"}, "Cafe\xcc\x81 e\xcc\x81\xcc\x81", "Caf\xc3\xa9 \xc3\xa9\xcc\x81"},
        {{"nfc"},
         "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8 \xef\xac\x81",
         "\xea\xb0\x81 \xef\xac\x81"},
        {{"nfc"},
         "\xea\xb0\x80\xe1\x86\xa8",
         "\xea\xb0\x81"}, /* a syllable and its last letter */
        {{"nfc"}, "q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87"}, /* marks in order */
        {{"nfc"}, "\xe2\x84\xab\xcd\x84", "\xc3\x85\xcc\x88\xcc\x81"},
        {{"nfc"}, "\xe3\x81\x8b\xe3\x82\x99", "\xe3\x81\x8c"},
        {{"nfd"}, "caf\xc3\xa9", "cafe\xcc\x81"},
        {{"nfkc"},
         "\xef\xac\x81 \xef\xbc\xa1 \xc2\xbd",
         "fi A 1\xe2\x81\x84"
         "2"},
        {{"nfkd"}, "\xef\xac\x81 \xc3\xa9", "fi e\xcc\x81"},
        {{"lowercase"}, "\xc3\x89\xce\xa3 \xc4\xb0 A", "\xc3\xa9\xcf\x83 i\xcc\x87 a"},
        {{"strip_accents"}, "e\xcc\x81 \xc3\xa9", "e \xc3\xa9"},
        {{"nfd", "strip_accents"}, "\xc3\xa9", "e"},
        {{"strip_left"}, " \t\xc2\xa0 a ", "a "},
        {{"strip_right"}, " a \xe3\x80\x80\n", " a"},
        {{"strip_left", "strip_right"}, " \n ", ""},
        {{"strip_left", "replace", "a", "b", "nfc", "lowercase"}, " ", ""},
        {{"prepend", "_"}, "a", "_a"},
        {{"prepend", "_"}, "", ""},
        {{"replace", " ", "__"}, " a b ", "__a__b__"},
        {{"replace", "aa", ""}, "aaaba", "aba"},
        {{"strip_left", "prepend", "<", "replace", "a", "b", "lowercase"}, " aA", "<ba"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK(becomes(cases[i].steps, cases[i].text, strlen(cases[i].text), cases[i].expected));
}

TEST(normal_bytes_that_are_no_text_stay_where_they_are)
{
    static const char *const steps[] = {"nfc", "lowercase", NULL};

    CHECK(becomes(steps,
                  "A\xff"
                  "E\xcc\x81\xc3",
                  6, "a\xff\xc3\xa9\xc3"));
}

/* The same by the library alone, which knows nothing of stretches. */
static bool is_library(tok_form form, const char *text, size_t n)
{
    static const utf8proc_option_t options[] = {
        [TOK_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [TOK_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [TOK_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [TOK_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    utf8proc_uint8_t *expected = NULL;
    const utf8proc_ssize_t bytes = utf8proc_map((const utf8proc_uint8_t *)text,
                                                (utf8proc_ssize_t)n, &expected, options[form]);
    tok_text out = {0};
    bool same = tok_unicode_form(form, text, n, &out) == ERR_OK && bytes >= 0;

    same = same && out.n == (size_t)bytes && memcmp(out.at, expected, out.n) == 0;
    same = same && out.n <= n * (form >= TOK_NFKC ? TOK_FORM_GROWTH_COMPAT : TOK_FORM_GROWTH);
    tok_text_free(&out);
    free(expected);
    return same;
}

TEST(normal_forms_of_every_character_are_those_of_the_library)
{
    for (int form = TOK_NFC; form <= TOK_NFKD; form++)
        for (int32_t c = 1; c <= LAST_CHARACTER; c++) {
            tok_text text = {0};

            if (c >= 0xd800 && c < 0xe000) continue;
            tok_text_add_char(&text, c);
            CHECK(is_library((tok_form)form, text.at, text.n));
            tok_text_free(&text);
        }
}

/* What may be joined: bases, marks of several classes, letters of Hangul, and all that is cut
 * before. */
TEST(normal_forms_of_joined_characters_are_those_of_the_library)
{
    static const int32_t parts[] = {
        'a',     'E',     ' ',     0xe9,    0x300,  0x301,  0x308,  0x323,  0x327,
        0x338,   0x345,   0x344,   0x340,   0x390,  0x3b9,  0x418,  0x430,  0x5d0,
        0x5b4,   0x627,   0x653,   0x654,   0x915,  0x93c,  0x9c7,  0x9be,  0xe33,
        0xf71,   0xf72,   0x1100,  0x1161,  0x11a8, 0xac00, 0xac01, 0x1e9b, 0x2190,
        0x212b,  0x2adc,  0x304b,  0x3099,  0x309a, 0x30cf, 0x4e2d, 0xfb01, 0xfdfa,
        0x1d15f, 0x1f600, 0x110ba, 0x11099, 0x2126, 0x3000, 0x2002};
    enum { PARTS = sizeof parts / sizeof parts[0], ROUNDS = 60000 };
    uint64_t random = 7;

    for (int round = 0; round < ROUNDS; round++) {
        tok_text text = {0};

        for (int i = 0; i < 2 + round % 7; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            tok_text_add_char(&text, parts[(random >> 33) % PARTS]);
        }
        CHECK(is_library((tok_form)(round % 4), text.at, text.n));
        tok_text_free(&text);
    }
}

/* Sorting by neighbours would take minutes. */
TEST(normal_form_of_a_megabyte_of_marks_out_of_order_takes_no_time)
{
    enum { N = 1 << 20 };
    char *text = malloc(N);
    tok_text out = {0};

    for (size_t i = 0; i < N; i += 4) memcpy(text + i, "\xcc\x81\xcc\xa3", 4);
    CHECK(tok_unicode_form(TOK_NFC, text, N, &out) == ERR_OK && out.n == N);
    CHECK(memcmp(out.at, "\xcc\xa3\xcc\xa3", 4) == 0);
    CHECK(memcmp(out.at + N - 4, "\xcc\x81\xcc\x81", 4) == 0);
    tok_text_free(&out);
    free(text);
}

TEST(normal_a_file_that_is_silent_has_what_its_family_does)
{
    tiny *m = tiny_new();
    tok_normal *s = NULL;
    tok_text out = {0};
    unsigned char *bytes;
    size_t n;
    gguf *g;

    bytes = tiny_write(m, &n, NULL, NULL);
    tiny_free(m);
    CHECK(gguf_open_memory(&g, bytes, n, NULL) == ERR_OK);
    CHECK(tok_normal_open(&s, g, NULL, NULL) == ERR_OK && !s);
    CHECK(tok_normal_open(&s, g, "nfc", NULL) == ERR_OK && s);
    CHECK(tok_normal_text(s, "e\xcc\x81", 3, &out) == ERR_OK && out.n == 2);
    tok_text_free(&out);
    tok_normal_close(s);
    gguf_close(g);
    free(bytes);
}
