/* test_tok_kinds.c - unigram and WordPiece vocabularies, and SentencePiece's with merges. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tok_charsmap.h"
#include "tests/test.h"
#include "tests/tiny_spm.h"
#include "tests/vocabulary.h"

#define MARK     SPM_MARK
#define IDS(...) ((const int32_t[]){__VA_ARGS__, -1})

/* Is the text written in these ids, from the first to the one below 0? */
static bool is(const tokenizer *t, const char *text, const int32_t *ids)
{
    int32_t got[64];
    size_t n = 0, count = 0;

    while (ids[n] >= 0) n++;
    CHECK(tokenizer_most_ids(t, strlen(text)) < 64);
    CHECK(tokenizer_encode(t, text, strlen(text), TOKENIZER_PLAIN, got, &count) == ERR_OK);
    if (count == n && memcmp(got, ids, n * sizeof *ids) == 0) return true;
    fprintf(stderr, "'%s':", text);
    for (size_t i = 0; i < count; i++) fprintf(stderr, " %d", (int)got[i]);
    fprintf(stderr, "\n");
    return false;
}

/* --- rules --- */

enum { UNITS = 0x1000, TEXTS = 64, RULES = 4 + 4 * UNITS + TEXTS };

/* A trie by hand: nodes of the first byte are at 0x100, of the second of 0xc3 at 0x400, values
 * at 0x800 from their nodes. */
typedef struct rules {
    unsigned char bytes[RULES];
    size_t n;
    uint32_t text;
} rules;

static void put_unit(rules *r, size_t at, uint32_t unit)
{
    memcpy(r->bytes + 4 + 4 * at, &unit, sizeof unit);
}

static void put_value(rules *r, size_t node, unsigned char label, const char *to)
{
    put_unit(r, node, (uint32_t)label | 1u << 8 | 0x800u << 10);
    put_unit(r, node ^ 0x800, 1u << 31 | r->text);
    memcpy(r->bytes + 4 + 4 * UNITS + r->text, to, strlen(to) + 1);
    r->text += (uint32_t)strlen(to) + 1;
}

/* A tab is a space, a capital A is small, E with an accent is "ee", a bell is nothing. */
static rules make_rules(void)
{
    rules r = {.n = RULES};
    const uint32_t bytes = 4 * UNITS;

    memcpy(r.bytes, &bytes, sizeof bytes);
    put_unit(&r, 0, 0x100u << 10);
    put_value(&r, 0x100 ^ '\t', '\t', " ");
    put_value(&r, 0x100 ^ 'A', 'A', "a");
    put_value(&r, 0x100 ^ '\a', '\a', "");
    put_unit(&r, 0x100 ^ 0xc3, 0xc3u | 0x400u << 10);
    put_value(&r, 0x100 ^ 0xc3 ^ 0x400 ^ 0x89, 0x89, "ee");
    return r;
}

TEST(charsmap_longest_rule_counts_and_growth_is_measured)
{
    const rules r = make_rules();
    tok_charsmap m;
    gguf_text out;

    CHECK(tok_charsmap_open(&m, r.bytes, r.n) == ERR_OK && m.growth == 1);
    CHECK(tok_charsmap_match(&m, "Ax", 2, &out) == 1 && out.n == 1 && *out.at == 'a');
    CHECK(tok_charsmap_match(&m, "\xc3\x89", 2, &out) == 2 && out.n == 2);
    CHECK(tok_charsmap_match(&m, "\xc3\x89", 1, &out) == 0);
    CHECK(tok_charsmap_match(&m, "\xc3\x8a", 2, &out) == 0);
    CHECK(tok_charsmap_match(&m, "\a", 1, &out) == 1 && out.n == 0);
    CHECK(tok_charsmap_match(&m, "", 0, &out) == 0);
    tok_charsmap_close(&m);
    CHECK(tok_charsmap_open(&m, NULL, 0) == ERR_OK &&
          tok_charsmap_match(&m, "A", 1, &out) == 0);
    tok_charsmap_close(&m);
}

TEST(charsmap_that_leads_out_of_itself_is_refused)
{
    tok_charsmap m;

    for (int i = 0; i < 8; i++) {
        rules r = make_rules();

        if (i == 0) r.n = 3;
        if (i == 1) memset(r.bytes, 0, 4);
        if (i == 2) memset(r.bytes, 0xff, 4);
        if (i == 3) put_unit(&r, 0x100 ^ 'A' ^ 0x800, 1u << 31 | TEXTS); /* past the texts */
        if (i == 4)
            put_unit(&r, 0x100 ^ 'A', 'A' | 1u << 8 | 0x1fffffu << 10); /* no such unit */
        if (i == 5) memset(r.bytes + 4 + 4 * UNITS, 'x', TEXTS);        /* no end */
        if (i == 6) put_unit(&r, 0x100 ^ 0xc3, 0xc3u | 0xc3u << 10);    /* its own child */
        if (i == 7) r.n = 4 + 4 * UNITS;                                /* no texts */
        CHECK(tok_charsmap_open(&m, r.bytes, r.n) == ERR_STRING);
        tok_charsmap_close(&m);
    }
}

TEST(charsmap_of_any_bytes_is_opened_or_refused)
{
    uint64_t random = 3;

    for (int round = 0; round < 3000; round++) {
        rules r = make_rules();
        tok_charsmap m;
        gguf_text out;

        for (int i = 0; i <= round % 9; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            r.bytes[(random >> 20) % (4 * 0x600)] = (unsigned char)(random >> 50);
        }
        if (tok_charsmap_open(&m, r.bytes, r.n) == ERR_OK)
            for (int c = 0; c < 256; c++)
                (void)tok_charsmap_match(&m, (const char[]){(char)c, '\x89', 'A'}, 3, &out);
        tok_charsmap_close(&m);
    }
}

/* --- unigram --- */

static tiny *unigram(const spm_word *words, size_t n)
{
    tiny *m = tiny_spm(words, n);

    tiny_set_text(m, "tokenizer.ggml.model", "t5");
    tiny_set_u32(m, "tokenizer.ggml.unknown_token_id", SPM_UNKNOWN);
    tiny_set_bool(m, "tokenizer.ggml.remove_extra_whitespaces", 1);
    return m;
}

TEST(unigram_takes_the_likeliest_words)
{
    enum { SPACE = SPM_WORDS, A, B, AB, SPACE_A, BC, C };
    static const spm_word words[] = {{MARK, -3, 1}, {"a", -4, 1},      {"b", -4, 1},
                                     {"ab", -7, 1}, {MARK "a", -5, 1}, {"bc", -2, 1},
                                     {"c", -9, 1}};
    vocabulary v = vocabulary_open_tiny(unigram(words, 7));

    CHECK(is(v.t, "a", IDS(SPACE_A)));
    CHECK(is(v.t, "ab", IDS(SPACE_A, B)));    /* -9, and "_" "ab" -10 */
    CHECK(is(v.t, "bab", IDS(SPACE, B, AB))); /* "ab" -7 beats "a" "b" -8 */
    CHECK(is(v.t, "abc", IDS(SPACE_A, BC)));
    CHECK(is(v.t, "xyz a", IDS(SPACE, SPM_UNKNOWN, SPACE_A))); /* unknown once */
    CHECK(is(v.t, "axb", IDS(SPACE_A, SPM_UNKNOWN, B)));
    CHECK(is(v.t, "", IDS(-1)) && is(v.t, "   ", IDS(-1)));
    CHECK(!tokenizer_adds_bos(v.t) && tokenizer_pads(v.t));
    vocabulary_close(&v);
}

TEST(unigram_spaces_are_joined_and_rules_come_first)
{
    enum { SPACE = SPM_WORDS, A, E, SPACE_A };
    static const spm_word words[] = {
        {MARK, -3, 1}, {"a", -4, 1}, {"e", -4, 1}, {MARK "a", -5, 1}};
    const rules r = make_rules();
    tiny *m = unigram(words, 4);
    vocabulary v;

    tiny_set_bytes(m, "tokenizer.ggml.precompiled_charsmap", r.bytes, r.n);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "  A \t\ta  ", IDS(SPACE_A, SPACE_A)));
    CHECK(is(v.t,
             "\xc3\x89"
             "A\a",
             IDS(SPACE, E, E, A)));
    CHECK(is(v.t, "a " MARK "a", IDS(SPACE_A, SPACE, SPACE_A)));
    vocabulary_close(&v);
    m = unigram(words, 4);
    tiny_set_bool(m, "tokenizer.ggml.remove_extra_whitespaces", 0);
    tiny_set_bool(m, "tokenizer.ggml.add_space_prefix", 0);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "a  a", IDS(A, SPACE, SPACE_A)) && !tokenizer_pads(v.t));
    vocabulary_close(&v);
}

TEST(unigram_words_that_hold_spaces_are_found_across_words)
{
    enum { SPACE = SPM_WORDS, A, B, PHRASE };
    static const spm_word words[] = {
        {MARK, -3, 1}, {"a", -4, 1}, {"b", -4, 1}, {"a" MARK "b", -1, 1}};
    vocabulary v = vocabulary_open_tiny(unigram(words, 4));

    CHECK(is(v.t, "a b", IDS(SPACE, PHRASE)));
    CHECK(is(v.t, "b a", IDS(SPACE, B, SPACE, A)));
    vocabulary_close(&v);
}

TEST(unigram_that_lacks_what_it_needs_is_refused)
{
    static const spm_word words[] = {{MARK, -3, 1}};
    static const char *const keys[] = {"tokenizer.ggml.scores",
                                       "tokenizer.ggml.unknown_token_id"};

    for (size_t i = 0; i < 4; i++) {
        tiny *m = unigram(words, 1);
        const char *key = i < 2 ? keys[i] : "tokenizer.ggml.precompiled_charsmap";
        unsigned char *bytes;
        tokenizer *t = NULL;
        fault why;
        gguf *g;
        size_t n;

        if (i < 2) tiny_remove(m, key);
        if (i == 2) tiny_set_bytes(m, key, "abc", 3);
        if (i == 3) tiny_set_numbers(m, key, (const uint32_t[]){4, 0}, 2);
        bytes = tiny_write(m, &n, NULL, NULL);
        tiny_free(m);
        CHECK(gguf_open_memory(&g, bytes, n, NULL) == ERR_OK);
        CHECK(tokenizer_new(&t, g, &why) != ERR_OK && strcmp(why.field, key) == 0);
        gguf_close(g);
        free(bytes);
    }
}

/* --- WordPiece --- */

static tiny *wordpiece(const spm_word *words, size_t n)
{
    tiny *m = tiny_spm(words, n);

    tiny_set_text(m, "tokenizer.ggml.model", "bert");
    tiny_set_u32(m, "tokenizer.ggml.unknown_token_id", SPM_UNKNOWN);
    return m;
}

TEST(wordpiece_takes_the_longest_from_the_left)
{
    enum { UN = SPM_WORDS, AFF, ABLE, A, COMMA, CJK, E };
    static const spm_word words[] = {{MARK "un", 0, 1}, {"aff", 0, 1},
                                     {"able", 0, 1},    {MARK "a", 0, 1},
                                     {MARK ",", 0, 1},  {MARK "\xe4\xb8\xad", 0, 1},
                                     {MARK "e", 0, 1}};
    vocabulary v = vocabulary_open_tiny(wordpiece(words, 7));
    char hundred[102];

    CHECK(is(v.t, "UnAffAble", IDS(UN, AFF, ABLE)));
    CHECK(is(v.t, " a,\ta ", IDS(A, COMMA, A)));
    CHECK(is(v.t, "unx a", IDS(SPM_UNKNOWN, A))); /* as a whole */
    CHECK(is(v.t, "\xc3\x89\xe4\xb8\xad", IDS(E, CJK)));
    CHECK(is(v.t, "a\xe2\x80\x8b\x01\xef\xbf\xbd\xff", IDS(A))); /* what is no text goes */
    CHECK(is(v.t, "", IDS(-1)) && is(v.t, "able", IDS(SPM_UNKNOWN)));
    memset(hundred, 'a', 101);
    hundred[101] = '\0';
    CHECK(tokenizer_piece(v.t, UN, true).n == 3);
    {
        int32_t ids[512];
        size_t n;

        CHECK(tokenizer_encode(v.t, hundred, 101, TOKENIZER_PLAIN, ids, &n) == ERR_OK);
        CHECK(n == 1 && ids[0] == SPM_UNKNOWN);
    }
    vocabulary_close(&v);
}

TEST(wordpiece_keeps_capitals_and_accents_where_the_file_says_so)
{
    enum { A = SPM_WORDS, BIG, ACCENT, E };
    static const spm_word words[] = {
        {MARK "a", 0, 1}, {MARK "A", 0, 1}, {MARK "\xc3\xa9", 0, 1}, {MARK "e", 0, 1}};
    tiny *m = wordpiece(words, 4);
    vocabulary v;

    tiny_set_bool(m, "tokenizer.ggml.normalizer.lowercase", 0);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "A a \xc3\xa9", IDS(BIG, A, ACCENT)));
    vocabulary_close(&v);
    m = wordpiece(words, 4);
    tiny_set_bool(m, "tokenizer.ggml.normalizer.strip_accents", 0);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "A \xc3\x89", IDS(A, ACCENT)));
    vocabulary_close(&v);
    v = vocabulary_open_tiny(wordpiece(words, 4));
    CHECK(is(v.t, "A \xc3\x89", IDS(A, E)));
    vocabulary_close(&v);
}

/* --- SentencePiece's with merges --- */

static tiny *merged(const spm_word *words, size_t n, const char *const *merges, size_t count)
{
    tiny *m = tiny_spm(words, n);

    tiny_set_text(m, "tokenizer.ggml.model", "gemma4");
    tiny_remove(m, "tokenizer.ggml.scores");
    tiny_set_texts(m, "tokenizer.ggml.merges", merges, count);
    tiny_set_bool(m, "tokenizer.ggml.add_space_prefix", 0);
    return m;
}

TEST(spm_merges_rank_pairs_where_there_are_no_scores)
{
    enum { A = SPM_WORDS, B, AB, BA, SPACE, SPACE_A, LONE };
    static const spm_word words[] = {{"a", 0, 1},  {"b", 0, 1},      {"ab", 0, 1}, {"ba", 0, 1},
                                     {MARK, 0, 1}, {MARK "a", 0, 1}, {"bb", 0, 1}};
    static const char *const merges[] = {"b a", "a b", MARK " a", "a b", "a z"};
    vocabulary v = vocabulary_open_tiny(merged(words, 7, merges, 5));

    CHECK(is(v.t, "aba", IDS(A, BA)));
    CHECK(is(v.t, "ab a", IDS(AB, SPACE_A)));
    CHECK(is(v.t, "bb", IDS(B, B))); /* a token that no merge makes */
    vocabulary_close(&v);
}

TEST(spm_malformed_merges_are_refused)
{
    static const spm_word words[] = {{"a", 0, 1}};
    static const char *const bad[] = {"a", " a", ""};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tiny *m = merged(words, 1, &bad[i], 1);
        unsigned char *bytes;
        tokenizer *t = NULL;
        fault why;
        gguf *g;
        size_t n;

        bytes = tiny_write(m, &n, NULL, NULL);
        tiny_free(m);
        CHECK(gguf_open_memory(&g, bytes, n, NULL) == ERR_OK);
        CHECK(tokenizer_new(&t, g, &why) == ERR_STRING);
        CHECK(strcmp(why.field, "tokenizer.ggml.merges") == 0);
        gguf_close(g);
        free(bytes);
    }
}

/* --- what all share --- */

TEST(tokens_of_html_are_text_where_bos_is_another)
{
    enum { TEXT = SPM_WORDS, BACK };
    static const spm_word words[] = {
        {"<b>", 0, SPM_CONTROL}, {"<i>", 0, SPM_USER}, {"</i>", 0, SPM_USER}};
    tiny *m = tiny_spm(words, 3);
    vocabulary v;

    /* as Gemma: <bos> and <eos> are control tokens, "<s>" and "</s>" are not */
    tiny_set_u32(m, "tokenizer.ggml.bos_token_id", TEXT);
    tiny_set_u32(m, "tokenizer.ggml.eos_token_id", TEXT);
    tiny_patch_u32(m, "tokenizer.ggml.token_type", 16 + 4 * SPM_BOS, SPM_USER);
    tiny_patch_u32(m, "tokenizer.ggml.token_type", 16 + 4 * SPM_EOS, SPM_USER);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "<s></s>", IDS(SPM_BOS, SPM_EOS)));
    CHECK(!tokenizer_is_end(v.t, SPM_EOS) && tokenizer_is_end(v.t, TEXT));
    vocabulary_close(&v);
}

TEST(tokens_of_spaces_are_found_and_not_merged_or_as_the_file_says)
{
    enum { SPACE = SPM_WORDS, A, TWO };
    static const spm_word words[] = {{MARK, -1, 1}, {"a", -1, 1}, {"  ", -2, SPM_USER}};
    tiny *m = tiny_spm(words, 3);
    vocabulary v;

    tiny_set_bool(m, "tokenizer.ggml.add_space_prefix", 0);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "a   a", IDS(A, TWO, SPACE, A)));
    CHECK(is(v.t, "a" MARK MARK, IDS(A, SPACE, SPACE))); /* no merge makes it */
    vocabulary_close(&v);
    m = tiny_spm(words, 3);
    tiny_set_bool(m, "tokenizer.ggml.add_space_prefix", 0);
    tiny_set_bool(m, "xquantd.tokenizer.found_marked", 1);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, " " MARK MARK " ", IDS(SPACE, TWO, SPACE))); /* found first */
    CHECK(is(v.t, "a  a", IDS(A, TWO, A)));                    /* merged */
    CHECK(tokenizer_piece(v.t, TWO, false).n == 2);
    vocabulary_close(&v);
}

TEST(tokens_may_swallow_the_space_beside_them)
{
    enum { SPACE = SPM_WORDS, A, LEFT, RIGHT };
    static const spm_word words[] = {
        {MARK, 0, 1}, {"a", 0, 1}, {"<l>", 0, SPM_USER}, {"<r>", 0, SPM_USER}};
    static const uint32_t left[] = {LEFT}, right[] = {RIGHT};
    tiny *m = tiny_spm(words, 4);
    vocabulary v;

    tiny_set_bool(m, "tokenizer.ggml.add_space_prefix", 0);
    tiny_set_numbers(m, "xquantd.tokenizer.swallows_left", left, 1);
    tiny_set_numbers(m, "xquantd.tokenizer.swallows_right", right, 1);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "a \t\xe3\x80\x80<l> a", IDS(A, LEFT, SPACE, A)));
    CHECK(is(v.t, "a <r> \xc2\xa0\na", IDS(A, SPACE, RIGHT, A)));
    CHECK(is(v.t, " <l>", IDS(LEFT)) && is(v.t, "<r> ", IDS(RIGHT)));
    vocabulary_close(&v);
}

TEST(space_prefix_may_be_for_what_comes_first_alone)
{
    enum { SPACE = SPM_WORDS, A, SPACE_A, TAG };
    static const spm_word words[] = {
        {MARK, -3, 1}, {"a", -3, 1}, {MARK "a", -1, 1}, {"<t>", 0, SPM_USER}};
    tiny *m = tiny_spm(words, 4);
    vocabulary v;

    tiny_set_bool(m, "xquantd.tokenizer.space_prefix_first", 1);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "a<t>a a", IDS(SPACE_A, TAG, A, SPACE_A)));
    CHECK(is(v.t, "<t>a", IDS(TAG, A)) && !tokenizer_pads(v.t));
    CHECK(is(v.t, " a", IDS(SPACE, SPACE_A)));
    vocabulary_close(&v);
    m = tiny_spm(words, 4);
    tiny_set_bool(m, "xquantd.tokenizer.space_prefix_single", 1);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, " a", IDS(SPACE_A)) && is(v.t, MARK "a<t>a", IDS(SPACE_A, TAG, SPACE_A)));
    vocabulary_close(&v);
}

TEST(merges_that_make_no_token_are_passed_over)
{
    enum { HE = 259 };
    static const char *const merges[] = {
        "xx yy", "x y", "h e", "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh hhhhhhhhhhhhhhhhhhhhhh"};
    tiny *m = tiny_new();
    vocabulary v;

    tiny_set_texts(m, "tokenizer.ggml.merges", merges, 4);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "xyhe", IDS(3 + 'x', 3 + 'y', HE)));
    vocabulary_close(&v);
}
