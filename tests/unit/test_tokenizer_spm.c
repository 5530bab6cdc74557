/* test_tokenizer_spm.c - the SentencePiece kind: scores, bytes, spaces, added tokens. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "tests/tiny_spm.h"
#include "tests/vocabulary.h"

#define STORIES "golden/models/stories260Ktok512.gguf"

#define MARK     SPM_MARK
#define IDS(...) ((const int32_t[]){__VA_ARGS__, -1})

/* Is the text written in these ids, from the first to the one below 0? */
static bool is(const tokenizer *t, const char *text, tokenizer_specials how, const int32_t *ids)
{
    size_t n = 0;

    while (ids[n] >= 0) n++;
    return encodes(t, text, strlen(text), how, ids, n);
}

TEST(spm_ids_are_those_of_the_shared_reference)
{
    const char *path = test_shared(STORIES);
    vocabulary v;

    if (!path) SKIP("no shared folder");
    v = vocabulary_open(path);
    CHECK(tokenizer_adds_bos(v.t) && tokenizer_bos(v.t) == 1 && tokenizer_is_end(v.t, 2));
    CHECK(check_golden_ids(v.t, test_shared("golden/tokenizer/stories260K.json")) == 60);
    vocabulary_close(&v);
}

TEST(spm_higher_score_merges_first_and_of_equals_the_leftmost)
{
    enum { A = SPM_WORDS, B, C, AB, BC, ABC, AA, AAA };
    static const spm_word words[] = {{"a", -9, 1},  {"b", -9, 1},  {"c", -9, 1},
                                     {"ab", -2, 1}, {"bc", -1, 1}, {"abc", 1, 1},
                                     {"aa", -3, 1}, {"aaa", -3, 1}};
    tiny *m = tiny_spm(words, 8);
    vocabulary v;

    tiny_set_bool(m, "tokenizer.ggml.add_space_prefix", 0);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "ab", TOKENIZER_PLAIN, IDS(AB)));
    CHECK(is(v.t, "abc", TOKENIZER_PLAIN, IDS(ABC))); /* a bc */
    CHECK(is(v.t, "bca", TOKENIZER_PLAIN, IDS(BC, A)));
    CHECK(is(v.t, "aaa", TOKENIZER_PLAIN, IDS(AAA))); /* aa a */
    CHECK(is(v.t, "aaaa", TOKENIZER_PLAIN, IDS(AAA, A)));
    CHECK(is(v.t, "aaaab", TOKENIZER_PLAIN, IDS(AAA, AB)));
    vocabulary_close(&v);
}

TEST(spm_words_that_no_merge_reaches_are_not_found)
{
    enum { A = SPM_WORDS, B, C };
    static const spm_word words[] = {{"a", 0, 1}, {"b", 0, 1}, {"c", 0, 1}, {"abc", 9, 1}};
    tiny *m = tiny_spm(words, 4);
    vocabulary v;

    tiny_set_bool(m, "tokenizer.ggml.add_space_prefix", 0);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "abc", TOKENIZER_PLAIN, IDS(A, B, C)));
    vocabulary_close(&v);
}

TEST(spm_characters_that_are_no_tokens_become_bytes)
{
    enum { SPACE = SPM_WORDS, A };
    static const spm_word words[] = {{MARK, 0, 1}, {"a", 0, 1}};
    vocabulary v = vocabulary_open_tiny(tiny_spm(words, 2));

    CHECK(is(v.t, "a\xc3\xa9\n", TOKENIZER_PLAIN,
             IDS(SPACE, A, SPM_BYTES + 0xc3, SPM_BYTES + 0xa9, SPM_BYTES + '\n')));
    CHECK(is(v.t, "\xff\xe2\x96", TOKENIZER_PLAIN,
             IDS(SPACE, SPM_BYTES + 0xff, SPM_BYTES + 0xe2, SPM_BYTES + 0x96)));
    CHECK(is(v.t, "<0x0A>", TOKENIZER_SPECIALS,
             IDS(SPACE, SPM_BYTES + '<', SPM_BYTES + '0', SPM_BYTES + 'x', SPM_BYTES + '0',
                 SPM_BYTES + 'A', SPM_BYTES + '>')));
    CHECK(tokenizer_piece(v.t, SPM_BYTES + '\n', false).at[0] == '\n');
    vocabulary_close(&v);
}

TEST(spm_a_space_is_put_before_text_and_behind_special_tokens)
{
    enum { SPACE = SPM_WORDS, A, SPACE_A };
    static const spm_word words[] = {{MARK, -2, 1}, {"a", -1, 1}, {MARK "a", 0, 1}};
    vocabulary v = vocabulary_open_tiny(tiny_spm(words, 3));

    CHECK(is(v.t, "a", TOKENIZER_PLAIN, IDS(SPACE_A)));
    CHECK(is(v.t, " a", TOKENIZER_PLAIN, IDS(SPACE, SPACE_A)));
    CHECK(is(v.t, "a a", TOKENIZER_PLAIN, IDS(SPACE_A, SPACE_A)));
    CHECK(is(v.t, MARK "a", TOKENIZER_PLAIN, IDS(SPACE, SPACE_A)));
    CHECK(is(v.t, "a", TOKENIZER_INSIDE, IDS(A)));
    CHECK(is(v.t, "a</s>a", TOKENIZER_SPECIALS, IDS(SPACE_A, SPM_EOS, SPACE_A)));
    CHECK(encodes(v.t, "", 0, TOKENIZER_PLAIN, NULL, 0));
    CHECK(tokenizer_most_ids(v.t, 5) == 10);
    CHECK(tokenizer_piece(v.t, SPACE_A, false).n == 2);
    vocabulary_close(&v);
}

TEST(spm_without_the_space_text_is_as_it_stands)
{
    enum { SPACE = SPM_WORDS, A, SPACE_A };
    static const spm_word words[] = {{MARK, -2, 1}, {"a", -1, 1}, {MARK "a", 0, 1}};
    tiny *m = tiny_spm(words, 3);
    vocabulary v;

    tiny_set_bool(m, "tokenizer.ggml.add_space_prefix", 0);
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "a", TOKENIZER_PLAIN, IDS(A)));
    CHECK(is(v.t, "a a", TOKENIZER_PLAIN, IDS(A, SPACE_A)));
    CHECK(is(v.t, "a</s>a", TOKENIZER_SPECIALS, IDS(A, SPM_EOS, A)));
    CHECK(tokenizer_most_ids(v.t, 5) == 5);
    vocabulary_close(&v);
}

TEST(spm_user_defined_tokens_are_found_before_merging_and_spaces_in_them_are_spaces)
{
    enum { SPACE = SPM_WORDS, A, TWO, TAG, TABLE };
    static const spm_word words[] = {{MARK, 0, 1},
                                     {"a", 0, 1},
                                     {MARK MARK, 0, SPM_USER},
                                     {"<t", 0, SPM_USER},
                                     {"<table>", 0, SPM_USER}};
    tiny *m = tiny_spm(words, 5);
    vocabulary v;

    tiny_set_bool(m, "tokenizer.ggml.add_space_prefix", 0);
    v = vocabulary_open_tiny(m);
    for (int how = TOKENIZER_PLAIN; how <= TOKENIZER_INSIDE; how++) {
        CHECK(is(v.t, "a   a", (tokenizer_specials)how, IDS(A, TWO, SPACE, A)));
        CHECK(is(v.t, "<table><ta", (tokenizer_specials)how, IDS(TABLE, TAG, A)));
    }
    CHECK(tokenizer_piece(v.t, TWO, false).n == 2 && tokenizer_is_special(v.t, TABLE));
    vocabulary_close(&v);
}

TEST(spm_user_text_never_makes_control_tokens)
{
    static const spm_word words[] = {{MARK, 0, 1},
                                     {"<", 0, 1},
                                     {"s", 0, 1},
                                     {">", 0, 1},
                                     {"<s", 0, 1},
                                     {"<|user|>", 0, SPM_USER},
                                     {"[INST]", 0, SPM_USER}};
    static const char text[] = "<s></s><unk><|user|>[INST]";
    vocabulary v = vocabulary_open_tiny(tiny_spm(words, 7));
    int32_t ids[2 * sizeof text];
    size_t n;

    CHECK(tokenizer_encode(v.t, text, strlen(text), TOKENIZER_PLAIN, ids, &n) == ERR_OK);
    for (size_t i = 0; i < n; i++) CHECK(!tokenizer_is_special(v.t, ids[i]));
    CHECK(is(v.t, text, TOKENIZER_SPECIALS,
             IDS(SPM_BOS, SPM_EOS, SPM_UNKNOWN, SPM_WORDS + 5, SPM_WORDS + 6)));
    vocabulary_close(&v);
}

TEST(spm_tokens_that_close_a_turn_end_an_answer_by_their_name)
{
    static const spm_word words[] = {
        {"<end_of_turn>", 0, SPM_USER}, {"<start_of_turn>", 0, SPM_USER}, {"<|end|>", 0, 1}};
    vocabulary v = vocabulary_open_tiny(tiny_spm(words, 3));

    CHECK(tokenizer_is_end(v.t, SPM_WORDS) && tokenizer_is_end(v.t, SPM_EOS));
    CHECK(!tokenizer_is_end(v.t, SPM_WORDS + 1) && !tokenizer_is_end(v.t, SPM_WORDS + 2));
    CHECK(tokenizer_piece(v.t, SPM_WORDS, false).n == 0); /* a control token by now */
    vocabulary_close(&v);
}

/* Of gpt-oss <|end|> closes a message, behind which its turn goes on. */
TEST(spm_an_end_of_a_message_is_none_of_a_turn_where_there_are_others)
{
    static const spm_word words[] = {{"<|end|>", 0, SPM_CONTROL},
                                     {"<|return|>", 0, SPM_CONTROL},
                                     {"<|call|>", 0, SPM_CONTROL}};
    vocabulary v = vocabulary_open_tiny(tiny_spm(words, 1));

    CHECK(tokenizer_is_end(v.t, SPM_WORDS));
    vocabulary_close(&v);
    v = vocabulary_open_tiny(tiny_spm(words, 3));
    CHECK(!tokenizer_is_end(v.t, SPM_WORDS) && tokenizer_is_special(v.t, SPM_WORDS));
    CHECK(tokenizer_is_end(v.t, SPM_WORDS + 1) && tokenizer_is_end(v.t, SPM_WORDS + 2));
    vocabulary_close(&v);
}

TEST(spm_added_tokens_of_phi3_take_the_white_space_behind_them)
{
    enum { SPACE = SPM_WORDS, A, USER_TURN };
    static const spm_word words[] = {{MARK, 0, 1}, {"a", 0, 1}, {"<|user|>", 0, SPM_CONTROL}};
    tiny *m = tiny_spm(words, 3);
    vocabulary v;

    v = vocabulary_open_tiny(m);
    CHECK(
        is(v.t, "<|user|>\na", TOKENIZER_SPECIALS, IDS(USER_TURN, SPACE, SPM_BYTES + '\n', A)));
    vocabulary_close(&v);
    m = tiny_spm(words, 3);
    tiny_set_text(m, "general.architecture", "phi3");
    v = vocabulary_open_tiny(m);
    CHECK(is(v.t, "<|user|>\n \ta\n", TOKENIZER_SPECIALS,
             IDS(USER_TURN, SPACE, A, SPM_BYTES + '\n')));
    CHECK(is(v.t, "</s> <s> a", TOKENIZER_SPECIALS, IDS(SPM_EOS, SPM_BOS, SPACE, SPACE, A)));
    CHECK(tokenizer_swallows(v.t, USER_TURN, " \n a", 4) == 3);
    CHECK(tokenizer_swallows(v.t, SPM_BOS, " a", 2) == 0);
    vocabulary_close(&v);
}

/* What tokenizer_new says of m, which is freed. */
static err refusal(tiny *m, fault *why)
{
    size_t n;
    unsigned char *bytes = tiny_write(m, &n, NULL, NULL);
    gguf *g;
    tokenizer *t = NULL;
    err e;

    tiny_free(m);
    CHECK(gguf_open_memory(&g, bytes, n, NULL) == ERR_OK);
    e = tokenizer_new(&t, g, why);
    CHECK(!t);
    gguf_close(g);
    free(bytes);
    return e;
}

TEST(spm_scores_must_be_numbers_one_a_token)
{
    static const spm_word words[] = {{"a", NAN, 1}};
    fault why;
    tiny *m = tiny_spm(words, 1);

    CHECK(refusal(m, &why) == ERR_RANGE && strcmp(why.field, "tokenizer.ggml.scores") == 0);
    m = tiny_spm(words, 0);
    tiny_remove(m, "tokenizer.ggml.scores");
    CHECK(refusal(m, &why) == ERR_MISSING && strcmp(why.field, "tokenizer.ggml.scores") == 0);
    m = tiny_spm(words, 0);
    tiny_set_floats(m, "tokenizer.ggml.scores", (const float[]){0, 0}, 2);
    CHECK(refusal(m, &why) == ERR_TOOMANY && strcmp(why.field, "tokenizer.ggml.scores") == 0);
    m = tiny_spm(words, 0);
    tiny_set_numbers(m, "tokenizer.ggml.scores", (const uint32_t[]){0}, 1);
    CHECK(refusal(m, &why) == ERR_KEYTYPE && strcmp(why.field, "tokenizer.ggml.scores") == 0);
    m = tiny_spm(words, 0);
    tiny_set_u32(m, "tokenizer.ggml.add_space_prefix", 1);
    CHECK(refusal(m, &why) == ERR_KEYTYPE && strstr(why.field, "add_space_prefix"));
}

/* Words of all powers of two, so that merges go on to the end; and one with a space inside,
 * if `spans`, so that text is not cut at spaces. */
static vocabulary open_powers(bool spans)
{
    static const spm_word words[] = {{MARK, 0, 1},    {"a", 0, 1},       {"aa", 1, 1},
                                     {"aaaa", 2, 1},  {MARK MARK, 1, 1}, {MARK "a", 3, 1},
                                     {"a" MARK, 0, 1}};

    return vocabulary_open_tiny(tiny_spm(words, spans ? 7 : 6));
}

TEST(spm_one_word_of_a_megabyte_is_merged)
{
    enum { N = 1 << 20 };
    static const char *const units[] = {"a", " ",  "a ",           "aaa  ",
                                        "1", "\n", "\xe4\xb8\xad", "\xff"};
    char *text = malloc(N);

    for (int spans = 0; spans < 2; spans++) {
        vocabulary v = open_powers(spans);

        for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
            const size_t n = strlen(units[u]);

            for (size_t i = 0; i < N; i++) text[i] = units[u][i % n];
            CHECK(round_trips(v.t, text, N, TOKENIZER_PLAIN));
        }
        vocabulary_close(&v);
    }
    free(text);
}

TEST(spm_any_bytes_round_trip)
{
    static const char alphabet[] = "a aaa \n1<s>\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\xff\xc0";
    uint64_t random = 1;
    char text[97];

    for (int spans = 0; spans < 2; spans++) {
        vocabulary v = open_powers(spans);

        for (int round = 0; round < 2000; round++) {
            const size_t n = (size_t)round % sizeof text;

            for (size_t i = 0; i < n; i++) {
                random = random * 6364136223846793005u + 1442695040888963407u;
                text[i] = round & 1 ? (char)(random >> 56)
                                    : alphabet[(random >> 40) % sizeof alphabet]; /* NUL, too */
                if (text[i] == MARK[2]) text[i] = 'a'; /* the mark comes back as a space */
            }
            CHECK(round_trips(v.t, text, n, TOKENIZER_PLAIN));
            CHECK(round_trips(v.t, text, n, TOKENIZER_INSIDE));
        }
        vocabulary_close(&v);
    }
}
