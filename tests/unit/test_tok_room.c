/* test_tok_room.c - ids for which there is room, and no more work than they are worth. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/tokenizer/tok_merge.h"
#include "tests/body.h"
#include "tests/test.h"
#include "tests/tiny_spm.h"
#include "tests/vocabulary.h"

#define EMBEDDED "models/seedling-32m-mha-q8_0.gguf"

enum { KINDS = 2 };

static vocabulary open_kind(int kind)
{
    static const spm_word words[] = {
        {SPM_MARK, 0, SPM_NORMAL},     {"a", 0, SPM_NORMAL},
        {"aa", 1, SPM_NORMAL},         {"aaaa", 2, SPM_NORMAL},
        {"aaaaaaaa", 3, SPM_USER},     {"aaaaaaaaaaaaaaaaaaaa", 4, SPM_NORMAL},
        {SPM_MARK "a", 3, SPM_NORMAL}, {"a" SPM_MARK, 0, SPM_NORMAL},
    };

    if (kind == 0) return vocabulary_open(EMBEDDED);
    return vocabulary_open_tiny(tiny_spm(words, sizeof words / sizeof *words));
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint32_t draw(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*random >> 33);
}

/* --- no more than there is room for --- */

/* With room for exactly its ids a text has them, with less it is too long, and nothing is
 * written beyond. That a bound from below is not above the truth shows here, too. */
static void check_room(const tokenizer *t, const char *text, size_t n)
{
    int32_t *all = malloc((tokenizer_most_ids(t, n) + 1) * sizeof *all), *some;
    size_t count;

    CHECK(tokenizer_encode(t, text, n, TOKENIZER_SPECIALS, all, &count) == ERR_OK);
    some = malloc((count + 1) * sizeof *some);
    for (size_t less = 0; less <= count && less < 9; less += less < 2 ? 1 : 3) {
        token_ids to = {.at = some, .most = count - less};
        const err e = tokenizer_append(t, text, n, TOKENIZER_SPECIALS, &to);

        CHECK(e == (less ? ERR_TOOLONG : ERR_OK) && to.n <= to.most);
        CHECK(less || (to.n == count && memcmp(all, some, count * sizeof *all) == 0));
    }
    free(some);
    free(all);
}

TEST(tok_room_is_enough_for_exactly_the_ids_of_a_text)
{
    static const char *const parts[] = {"a",
                                        "aaaa",
                                        " ",
                                        "   ",
                                        "the ",
                                        " house",
                                        "internationally",
                                        "1",
                                        "\n",
                                        "\xe4\xb8\xad",
                                        "\xff",
                                        "\xf0\x9f\x98\x80",
                                        "<|im_end|>",
                                        "</s>",
                                        SPM_MARK,
                                        "aaaaaaaaaaaaaaaa",
                                        "q",
                                        "z"};
    uint64_t random = 3;
    char text[600];

    for (int kind = 0; kind < KINDS; kind++) {
        vocabulary v = open_kind(kind);

        for (int round = 0; round < 1500; round++) {
            const uint32_t parts_of = 1 + draw(&random) % 40, few = 1 + draw(&random) % 18;
            size_t n = 0;

            for (uint32_t i = 0; i < parts_of && n < sizeof text - 20; i++) {
                const char *part = parts[draw(&random) % few];

                memcpy(text + n, part, strlen(part));
                n += strlen(part);
            }
            check_room(v.t, text, n);
        }
        vocabulary_close(&v);
    }
}

TEST(tok_room_ids_go_behind_those_that_are_there)
{
    vocabulary v = open_kind(0);
    int32_t ids[16] = {7, 7};
    token_ids to = {.at = ids, .n = 2, .most = 16};

    CHECK(tokenizer_append(v.t, "Hello", 5, TOKENIZER_PLAIN, &to) == ERR_OK);
    CHECK(to.n > 2 && ids[0] == 7 && ids[1] == 7 && ids[2] != 7);
    to.most = to.n;
    CHECK(tokenizer_append(v.t, "", 0, TOKENIZER_PLAIN, &to) == ERR_OK);
    CHECK(tokenizer_append(v.t, "!", 1, TOKENIZER_PLAIN, &to) == ERR_TOOLONG);
    vocabulary_close(&v);
}

/* --- no more work --- */

/* Text number i of those that no space cuts, in n bytes; false: there is no such number. */
static bool fill(int i, char *text, size_t n)
{
    uint64_t random = 5;

    memset(text, i == 0 ? ' ' : 'a', n);
    if (i == 2)
        for (size_t at = 0; at < n; at++) text[at] = (char)('a' + draw(&random) % 26);
    for (size_t at = 0; i >= 3 && at + 4 <= n; at += i == 3 ? 3 : 4) {
        const uint32_t c = i == 3 ? 0x4e00 + draw(&random) % 0x5000
                                  : 0x10000 + draw(&random) % 0x100000;

        if (i == 3) {
            const char of[] = {(char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 63)),
                               (char)(0x80 | (c & 63))};
            memcpy(text + at, of, sizeof of);
        } else {
            const char of[] = {(char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 63)),
                               (char)(0x80 | (c >> 6 & 63)), (char)(0x80 | (c & 63))};
            memcpy(text + at, of, sizeof of);
        }
    }
    return i < 5;
}

/* Seconds that a text takes that has so much room. */
static double encode(const vocabulary *v, const char *text, size_t n, int32_t *ids, size_t room,
                     err wanted)
{
    token_ids to = {.at = ids, .most = room};
    const double begin = cpu_seconds();

    CHECK(tokenizer_append(v->t, text, n, TOKENIZER_PLAIN, &to) == wanted);
    return cpu_seconds() - begin;
}

/* It took as long as what fits: 0.3 s for each MB of a word without an end. A third of what a
 * word of letters takes, which has the most to merge; of three tries the quickest, for whatever
 * else the machine does only adds. */
TEST(tok_room_a_long_word_is_refused_before_it_is_merged)
{
    enum { N = 1 << 20, ROOM = 20000, LETTERS = 2 };
    char *text = malloc(N);
    int32_t *ids = malloc(2 * N * sizeof *ids);

    for (int kind = 0; kind < KINDS; kind++) {
        vocabulary v = open_kind(kind);
        double whole;

        fill(LETTERS, text, N);
        whole = encode(&v, text, N, ids, 2 * N, ERR_OK);
        for (int i = 0; fill(i, text, N); i++) {
            double bounded = INFINITY;

            for (int j = 0; j < 3; j++)
                bounded = fmin(bounded, encode(&v, text, N, ids, ROOM, ERR_TOOLONG));
            CHECK(bounded < whole / 3);
            encode(&v, text, N, ids, 2 * N, ERR_OK);
        }
        vocabulary_close(&v);
    }
    free(ids);
    free(text);
}

/* A body with 900,000 bytes of prompt, for which a context of 65,536 tokens could have room if
 * all were the longest: it was encoded to its end. */
TEST(tok_room_a_prompt_too_long_is_refused_by_how_much_is_known)
{
    static const char *const bodies[] = {
        "{\"prompt\":\"%s\"}", "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}"};
    const completion_kind *kinds[] = {&api_completions_kind, &api_chat_kind};
    enum { N = 900000 };
    request_env env = body_env();
    char *text = malloc(N + 1), *body = malloc(N + 100);
    fault why;
    request q;

    env.ctx_size = 65536;
    fill(2, text, N);
    text[N] = '\0';
    for (int k = 0; k < 2; k++) {
        const int n = snprintf(body, N + 100, bodies[k], text);

        CHECK(!request_read(&q, &kinds[k]->request, &env, body, (size_t)n, &why));
        CHECK(why.e == ERR_TOOLONG && strcmp(why.field, k ? "messages" : "prompt") == 0);
        CHECK(strstr(why.sentence, "maximum context length is 65536 tokens"));
        CHECK(strstr(why.sentence, "requested more than 73728 tokens"));
        request_free(&q);
    }
    free(body);
    free(text);
}

/* How much of it has to go is said where it is no great number. */
TEST(tok_room_a_prompt_somewhat_too_long_is_counted)
{
    const request_env env = body_env();
    const size_t n = 6000;
    char body[6100];
    fault why;
    request q;

    memcpy(body, "{\"prompt\":\"", 11);
    for (size_t i = 0; i < n; i++) body[11 + i] = (char)(i % 2 ? 'q' : '#');
    memcpy(body + 11 + n, "\"}", 3);
    CHECK(request_read(&q, &api_completions_kind.request, &env, body, 11 + n + 2, &why));
    CHECK(q.n_prompts == 1 && q.prompts[0].n > env.ctx_size);
    request_free(&q);
}

TEST(tok_room_a_text_of_a_bias_is_bounded)
{
    enum { N = 900000 };
    char *body = malloc(N + 100);
    size_t n = (size_t)sprintf(body, "{\"prompt\":\"a\",\"logit_bias\":{\"");

    memset(body + n, 'z', N);
    strcpy(body + n + N, "\":1}}");
    CHECK(body_refused(&api_completions_kind, body, "logit_bias"));
    free(body);
}

/* --- nobody waits for it --- */

TEST(tok_room_nothing_is_encoded_for_who_has_left)
{
    static const atomic_bool left = true;
    int32_t ids[64];
    token_ids to = {.at = ids, .most = 64, .cancel = &left};

    for (int kind = 0; kind < KINDS; kind++) {
        vocabulary v = open_kind(kind);

        CHECK(tokenizer_append(v.t, "aaaa", 4, TOKENIZER_PLAIN, &to) == ERR_CANCELED);
        vocabulary_close(&v);
    }
}

/* Any two make a token, and after some thousands the client has left. */
typedef struct leaving {
    atomic_bool left;
    size_t pairs;
} leaving;

static bool pair_and_leave(const tok_merge *m, uint32_t left, uint32_t *rank, int32_t *id)
{
    leaving *l = (leaving *)m->state;

    *rank = left & 1;
    *id = 1;
    if (++l->pairs == 150000) atomic_store(&l->left, true);
    return true;
}

TEST(tok_room_a_long_merge_ends_when_its_client_leaves)
{
    enum { N = 100000 };
    leaving l = {.pairs = 0};
    tok_merge m = {.pair = pair_and_leave, .state = &l, .cancel = &l.left};
    char *text = calloc(N, 1);

    CHECK(tok_merge_begin(&m, text, N) == ERR_OK);
    for (size_t i = 0; i < N; i++) tok_merge_put(&m, i, 0);
    CHECK(tok_merge_all(&m) == ERR_CANCELED);
    CHECK(l.pairs < 200000);
    tok_merge_free(&m);
    free(text);
}
