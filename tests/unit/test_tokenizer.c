/* test_tokenizer.c - text to ids exactly as the reference does it, and back without loss. */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/tokenizer/detok.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/utf8.h"
#include "tests/read_file.h"
#include "tests/test.h"
#include "tests/tiny.h"
#include "tests/vocabulary.h"

#define EMBEDDED "models/seedling-32m-mha-q8_0.gguf"

/* The numbers of a JSON list; the caller frees. */
static int32_t *list_of(const cJSON *list, size_t *n)
{
    int32_t *ids = malloc(((size_t)cJSON_GetArraySize(list) + 1) * sizeof *ids);
    const cJSON *item;

    *n = 0;
    cJSON_ArrayForEach (item, list) ids[(*n)++] = (int32_t)item->valuedouble;
    return ids;
}

static cJSON *json_of(const char *path)
{
    char *text = read_file(path, NULL);
    cJSON *json = cJSON_Parse(text);

    free(text);
    CHECK(json);
    return json;
}

/* Every row of a golden list, both ways; returns how many. */
static int check_golden(const tokenizer *t, const char *path)
{
    cJSON *rows = json_of(path);
    const cJSON *row;

    cJSON_ArrayForEach (row, rows) {
        const cJSON *text = cJSON_GetObjectItem(row, "text");

        CHECK(round_trips(t, text->valuestring, strlen(text->valuestring), TOKENIZER_PLAIN));
        CHECK(round_trips(t, text->valuestring, strlen(text->valuestring), TOKENIZER_SPECIALS));
    }
    cJSON_Delete(rows);
    return check_golden_ids(t, path);
}

TEST(tokenizer_ids_are_those_of_the_reference)
{
    vocabulary v = vocabulary_open(EMBEDDED);

    CHECK(check_golden(v.t, "tests/golden/tokenizer.json") >= 12);
    vocabulary_close(&v);
}

TEST(tokenizer_ids_are_those_of_the_shared_reference)
{
    const char *path = test_shared("golden/tokenizer/seedling.json");
    vocabulary v;

    if (!path) SKIP("no shared folder");
    v = vocabulary_open(EMBEDDED);
    CHECK(check_golden(v.t, path) == 60);
    vocabulary_close(&v);
}

TEST(tokenizer_prompts_of_the_greedy_reference_have_its_ids)
{
    const char *path = test_shared("golden/greedy/seedling-32m-mha-f16.json");
    cJSON *json;
    const cJSON *row;
    vocabulary v;

    if (!path) SKIP("no shared folder");
    json = json_of(path);
    v = vocabulary_open(EMBEDDED);
    CHECK(tokenizer_adds_bos(v.t));
    cJSON_ArrayForEach (row, cJSON_GetObjectItem(json, "cases")) {
        const cJSON *text = cJSON_GetObjectItem(row, "prompt");
        size_t n;
        int32_t *ids = list_of(cJSON_GetObjectItem(row, "prompt_ids"), &n);

        CHECK(n > 1 && ids[0] == tokenizer_bos(v.t));
        CHECK(encodes(v.t, text->valuestring, strlen(text->valuestring), TOKENIZER_SPECIALS,
                      ids + 1, n - 1));
        free(ids);
    }
    cJSON_Delete(json);
    vocabulary_close(&v);
}

TEST(tokenizer_user_text_never_makes_control_tokens)
{
    static const char text[] = "<|im_start|>x<|im_end|><|endoftext|>\n<|im_end|>";
    vocabulary v = vocabulary_open(EMBEDDED);
    int32_t ids[sizeof text];
    size_t n;

    CHECK(tokenizer_encode(v.t, text, sizeof text - 1, TOKENIZER_PLAIN, ids, &n) == ERR_OK);
    for (size_t i = 0; i < n; i++) CHECK(!tokenizer_is_special(v.t, ids[i]));
    CHECK(tokenizer_encode(v.t, text, sizeof text - 1, TOKENIZER_SPECIALS, ids, &n) == ERR_OK);
    CHECK(n == 6 && ids[0] == 1 && ids[2] == 2 && ids[3] == 0 && ids[5] == 2);
    vocabulary_close(&v);
}

TEST(tokenizer_control_token_that_merges_could_spell_is_not_made_by_them)
{
    enum { HE = 259, LL = 260, HELL = 262 };
    static const char *const merges[] = {"h e", "l l", "\xc4\xa0 w"};
    static const int32_t apart[] = {HE, LL}, whole[] = {HELL};
    tiny *m = tiny_new();
    vocabulary v;

    tiny_patch_u32(m, "tokenizer.ggml.token_type", 16 + 4 * HELL, 3);
    tiny_set_texts(m, "tokenizer.ggml.merges", merges, 3);
    v = vocabulary_open_tiny(m);
    CHECK(encodes(v.t, "hell", 4, TOKENIZER_PLAIN, apart, 2));
    CHECK(encodes(v.t, "hell", 4, TOKENIZER_SPECIALS, whole, 1));
    CHECK(tokenizer_piece(v.t, HELL, false).n == 0 && tokenizer_piece(v.t, HELL, true).n == 4);
    vocabulary_close(&v);
}

TEST(tokenizer_piece_that_is_a_token_stays_whole_though_no_merge_makes_it)
{
    enum { HE = 259, LL = 260, HELL = 262 };
    static const char *const merges[] = {"h e", "l l", "\xc4\xa0 w"};
    static const int32_t whole[] = {HELL}, apart[] = {HE, LL, 3 + 'o'};
    tiny *m = tiny_new();
    vocabulary v;

    tiny_set_texts(m, "tokenizer.ggml.merges", merges, 3);
    v = vocabulary_open_tiny(m);
    CHECK(encodes(v.t, "hell", 4, TOKENIZER_PLAIN, whole, 1));
    CHECK(encodes(v.t, "hello", 5, TOKENIZER_PLAIN, apart, 3));
    vocabulary_close(&v);
}

TEST(tokenizer_longest_special_token_wins_and_user_defined_ones_are_always_found)
{
    enum { HE = 259, HELL = 262, O = 3 + 'o' };
    static const char *const merges[] = {"l l"};
    tiny *m = tiny_new();
    vocabulary v;
    int32_t ids[16];
    size_t n;

    tiny_patch_u32(m, "tokenizer.ggml.token_type", 16 + 4 * HE, 4);
    tiny_patch_u32(m, "tokenizer.ggml.token_type", 16 + 4 * HELL, 4);
    tiny_set_texts(m, "tokenizer.ggml.merges", merges, 1);
    v = vocabulary_open_tiny(m);
    for (int how = TOKENIZER_PLAIN; how <= TOKENIZER_SPECIALS; how++) {
        CHECK(tokenizer_encode(v.t, "ohellohelhe", 11, how, ids, &n) == ERR_OK);
        CHECK(n == 6 && ids[0] == O && ids[1] == HELL && ids[2] == O && ids[3] == HE);
        CHECK(ids[4] == 3 + 'l' && ids[5] == HE);
    }
    CHECK(tokenizer_is_special(v.t, HELL) && tokenizer_piece(v.t, HELL, false).n == 4);
    CHECK(tokenizer_find(v.t, "hell") == HELL && tokenizer_find(v.t, "hel") == TOKENIZER_NONE);
    CHECK(tokenizer_find(v.t, "hello") == TOKENIZER_NONE);
    vocabulary_close(&v);
}

TEST(tokenizer_chat_markers_are_control_tokens_even_where_the_file_says_user_defined)
{
    tiny *m = tiny_new();
    vocabulary v;
    int32_t ids[64];
    size_t n;

    for (size_t id = 0; id < 3; id++)
        tiny_patch_u32(m, "tokenizer.ggml.token_type", 16 + 4 * id, 4);
    v = vocabulary_open_tiny(m);
    CHECK(tokenizer_encode(v.t, "<|im_end|><|im_start|><|endoftext|>", 35, TOKENIZER_PLAIN, ids,
                           &n) == ERR_OK);
    CHECK(n == 35 && tokenizer_find(v.t, "<|im_end|>") == 2);
    vocabulary_close(&v);
}

TEST(tokenizer_any_bytes_round_trip)
{
    static const char alphabet[] =
        "a \n1!'s<|im_end|>\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\xff\xc0";
    vocabulary v = vocabulary_open(EMBEDDED);
    uint64_t random = 1;
    char text[97];

    for (int round = 0; round < 4000; round++) {
        const size_t n = (size_t)round % sizeof text;

        for (size_t i = 0; i < n; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            text[i] = round & 1 ? (char)(random >> 56)
                                : alphabet[(random >> 40) % sizeof alphabet]; /* NUL, too */
        }
        CHECK(round_trips(v.t, text, n, round & 2 ? TOKENIZER_SPECIALS : TOKENIZER_PLAIN));
    }
    vocabulary_close(&v);
}

TEST(tokenizer_bytes_that_are_no_text_become_byte_tokens)
{
    vocabulary v = vocabulary_open_tiny(tiny_new());
    int32_t ids[16];
    size_t n;

    CHECK(tokenizer_encode(v.t, "he\xff\0\xc3he", 7, TOKENIZER_PLAIN, ids, &n) == ERR_OK);
    CHECK(n == 5 && ids[0] == 259 && ids[1] == 3 + 0xff && ids[2] == 3 && ids[3] == 3 + 0xc3 &&
          ids[4] == 259);
    vocabulary_close(&v);
}

TEST(tokenizer_one_word_of_a_megabyte_is_merged)
{
    enum { N = 1 << 20 };
    static const char *const units[] = {
        "a", " ", "1", "!", "\n", "hello", "\xe4\xb8\xad", "<|", "the", "\t ", "\xff"};
    vocabulary v = vocabulary_open(EMBEDDED);
    char *text = malloc(N);

    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        const size_t n = strlen(units[u]);

        for (size_t i = 0; i < N; i++) text[i] = units[u][i % n];
        CHECK(round_trips(v.t, text, N, TOKENIZER_SPECIALS));
    }
    free(text);
    vocabulary_close(&v);
}

TEST(tokenizer_ends_and_beginning_are_those_of_the_file)
{
    vocabulary v = vocabulary_open(EMBEDDED);

    CHECK(tokenizer_size(v.t) == 8192 && tokenizer_bos(v.t) == 0);
    CHECK(tokenizer_is_end(v.t, 0) && tokenizer_is_end(v.t, 2) && !tokenizer_is_end(v.t, 1));
    CHECK(!tokenizer_is_end(v.t, TOKENIZER_NONE) && !tokenizer_is_special(v.t, TOKENIZER_NONE));
    CHECK(!tokenizer_is_special(v.t, 3) && !tokenizer_is_special(v.t, 8192));
    CHECK(tokenizer_piece(v.t, 8192, true).n == 0 && tokenizer_piece(v.t, -1, true).n == 0);
    vocabulary_close(&v);
}

TEST(tokenizer_finds_the_tokens_around_a_gap)
{
    tiny *m = tiny_new();
    vocabulary v = vocabulary_open_tiny(m);

    for (int i = 0; i < TOKENIZER_FILLS; i++)
        CHECK(tokenizer_fill(v.t, (tokenizer_gap)i) == TOKENIZER_NONE);
    vocabulary_close(&v);
    m = tiny_new();
    tiny_set_u32(m, "tokenizer.ggml.fim_pre_token_id", 5);
    tiny_set_u32(m, "tokenizer.ggml.suffix_token_id", 6); /* as older files have it */
    tiny_set_u32(m, "tokenizer.ggml.fim_mid_token_id", UINT32_MAX);
    tiny_set_u32(m, "tokenizer.ggml.fim_sep_token_id", 7);
    v = vocabulary_open_tiny(m);
    CHECK(tokenizer_fill(v.t, TOKENIZER_FILL_PREFIX) == 5);
    CHECK(tokenizer_fill(v.t, TOKENIZER_FILL_SUFFIX) == 6 && !tokenizer_is_end(v.t, 6));
    CHECK(tokenizer_fill(v.t, TOKENIZER_FILL_MIDDLE) == TOKENIZER_NONE);
    CHECK(tokenizer_is_end(v.t, 7)); /* another file follows */
    vocabulary_close(&v);
}

TEST(tokenizer_absent_ids_are_none)
{
    tiny *m = tiny_new();
    vocabulary v;

    tiny_set_u32(m, "tokenizer.ggml.bos_token_id", UINT32_MAX);
    tiny_remove(m, "tokenizer.ggml.eos_token_id");
    tiny_remove(m, "tokenizer.ggml.eot_token_id");
    v = vocabulary_open_tiny(m);
    CHECK(tokenizer_bos(v.t) == TOKENIZER_NONE && !tokenizer_adds_bos(v.t));
    CHECK(!tokenizer_is_end(v.t, 1) && !tokenizer_is_end(v.t, 3));
    CHECK(tokenizer_is_end(v.t, 0) && tokenizer_is_end(v.t, 2)); /* by their names */
    vocabulary_close(&v);
}

TEST(tokenizer_bos_follows_the_key_or_else_the_pretokenizer)
{
    tiny *m = tiny_new();
    vocabulary v;

    tiny_set_bool(m, "tokenizer.ggml.add_bos_token", 0);
    v = vocabulary_open_tiny(m);
    CHECK(!tokenizer_adds_bos(v.t));
    vocabulary_close(&v);
    m = tiny_new();
    tiny_remove(m, "tokenizer.ggml.add_bos_token");
    v = vocabulary_open_tiny(m);
    CHECK(tokenizer_adds_bos(v.t));
    vocabulary_close(&v);
}

/* Push n bytes in pieces of `step`, then the end. */
static size_t decode(const char *bytes, size_t n, size_t step, char *out)
{
    detok d = {0};
    size_t written = 0;

    for (size_t i = 0; i < n; i += step) {
        const size_t before = written;

        written += detok_push(&d, bytes + i, n - i < step ? n - i : step, out + written);
        CHECK(utf8_valid(out + before, written - before));
    }
    written += detok_end(&d, out + written);
    CHECK(detok_end(&d, out + written) == 0);
    return written;
}

TEST(detok_gives_whole_characters_however_the_bytes_arrive)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80.", "\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80."},
        {"\xff"
         "a",
         "\xef\xbf\xbd"
         "a"},
        {"\xc3(", "\xef\xbf\xbd("},
        {"\xf0\x9f\x98", "\xef\xbf\xbd"},
        {"\xf0\x9f\xc3\xa9", "\xef\xbf\xbd\xc3\xa9"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    char out[64];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t n = strlen(cases[i].bytes);

        for (size_t step = 1; step <= 5; step++) {
            const size_t written = decode(cases[i].bytes, n, step, out);

            CHECK(written <= DETOK_GROWTH * (n + 4) && written == strlen(cases[i].text));
            CHECK(memcmp(out, cases[i].text, written) == 0);
        }
    }
}

TEST(detok_holds_back_half_a_character)
{
    detok d = {0};
    char out[64];

    CHECK(detok_push(&d, "a\xf0\x9f", 3, out) == 1 && out[0] == 'a');
    CHECK(detok_push(&d, "\x98", 1, out) == 0);
    CHECK(detok_push(&d,
                     "\x80"
                     "b",
                     2, out) == 5);
    CHECK(memcmp(out,
                 "\xf0\x9f\x98\x80"
                 "b",
                 5) == 0 &&
          detok_end(&d, out) == 0);
}

TEST(utf8_is_what_unicode_says)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xc3",
                                      "\xe4\xb8",
                                      "a\xff"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        CHECK(utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(!utf8_valid(bad[i], strlen(bad[i])));
    CHECK(utf8_valid("a\0b", 3));
}
