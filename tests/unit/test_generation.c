/* test_generation.c - from ids to text: what is shown, when, and where the answer ends. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "server/sched/generation.h"
#include "tests/lab.h"
#include "tests/test.h"
#include "tests/tiny_spm.h"
#include "tests/vocabulary.h"

enum { MAX_IDS = 512, MAX_TEXT = 512 };

static tokenizer *embedded(void)
{
    static tokenizer *t; /* once for all tests of this program */
    static gguf *g;

    if (!t && (gguf_open(&g, LAB_EMBEDDED, NULL) || tokenizer_new(&t, g, NULL))) abort();
    return t;
}

static generation *make(size_t max_tokens, const char *const *stops, size_t n_stops)
{
    generation_in in = {.max_tokens = max_tokens, .n_stop = n_stops, .top = -1};
    generation *g = NULL;

    in.stop = calloc(n_stops + 1, sizeof *in.stop);
    for (size_t i = 0; i < n_stops; i++) in.stop[i] = strdup(stops[i]);
    CHECK(generation_new(&g, embedded(), &in) == ERR_OK);
    return g;
}

/* The ids of the n bytes, encoded alone: half characters become byte tokens. */
static size_t encode(const char *text, size_t n, int32_t *ids)
{
    size_t count = 0;

    CHECK(tokenizer_encode(embedded(), text, n, TOKENIZER_PLAIN, ids, &count) == ERR_OK);
    return count;
}

/* One id a byte. */
static size_t encode_bytes(const char *text, int32_t *ids)
{
    size_t n = 0;

    for (size_t i = 0; text[i]; i++) n += encode(text + i, 1, ids + n);
    CHECK(n == strlen(text));
    return n;
}

static int32_t end_token(void)
{
    const int32_t id = tokenizer_find(embedded(), "<|im_end|>");

    CHECK(id >= 0 && tokenizer_is_end(embedded(), id));
    return id;
}

/* Feeds ids until the answer is complete; how many it took. Checks, at each step, what is
 * promised of text_end. */
static size_t feed(generation *g, const int32_t *ids, size_t n)
{
    size_t shown = 0;

    for (size_t i = 0; i < n; i++) {
        const bool complete = generation_add(g, ids[i], NULL);

        CHECK(atomic_load(&g->out.published) == i + 1);
        CHECK(g->out.tokens[i].id == ids[i] && g->out.tokens[i].text_end >= shown);
        shown = g->out.tokens[i].text_end;
        CHECK(utf8_valid(g->out.text, shown));
        if (complete) return i + 1;
    }
    generation_end(g, FINISH_LENGTH);
    return n;
}

/* The same with one id a byte. */
static size_t feed_bytes(generation *g, const char *text)
{
    int32_t ids[64];

    return feed(g, ids, encode_bytes(text, ids));
}

static bool text_is(const generation *g, const char *want)
{
    return g->out.text_bytes == strlen(want) &&
           memcmp(g->out.text, want, g->out.text_bytes) == 0;
}

static size_t shown_after(const generation *g, size_t tokens)
{
    return g->out.tokens[tokens - 1].text_end;
}

TEST(generation_gives_the_text_of_its_tokens)
{
    generation *g = make(MAX_IDS, NULL, 0);
    int32_t ids[MAX_IDS];
    const char *text = "The quick brown fox, gr\xc3\xbc\xc3\x9f dich!";
    const size_t n = encode(text, strlen(text), ids);

    CHECK(feed(g, ids, n) == n);
    CHECK(text_is(g, text) && g->out.n_tokens == n);
    CHECK(shown_after(g, n) == strlen(text));
    generation_free(g);
}

TEST(generation_holds_half_an_emoji_back)
{
    generation *g = make(16, NULL, 0);

    CHECK(feed_bytes(g, "a\xf0\x9f\x98\x80z") == 6);
    CHECK(shown_after(g, 1) == 1 && shown_after(g, 2) == 1 && shown_after(g, 4) == 1);
    CHECK(shown_after(g, 5) == 5 && shown_after(g, 6) == 6);
    CHECK(text_is(g, "a\xf0\x9f\x98\x80z"));
    generation_free(g);
}

TEST(generation_that_ends_in_half_a_character_shows_one_replacement)
{
    generation *g = make(3, NULL, 0);

    CHECK(feed_bytes(g, "a\xf0\x9f\x98") == 3);
    CHECK(g->out.finish == FINISH_LENGTH);
    CHECK(text_is(g, "a\xef\xbf\xbd"));
    CHECK(shown_after(g, 3) == 1); /* the rest comes with the end */
    generation_free(g);
}

TEST(generation_cuts_at_a_stop_string_across_tokens)
{
    const char *stops[] = {"\n\nUser:"};
    generation *g = make(64, stops, 1);

    CHECK(feed_bytes(g, "Hi.\n\nUser: x") == 10);
    CHECK(g->out.finish == FINISH_STOP && text_is(g, "Hi."));
    CHECK(shown_after(g, 4) == 3 && shown_after(g, 9) == 3 && shown_after(g, 10) == 3);
    CHECK(g->out.n_tokens == 10);
    generation_free(g);
}

TEST(generation_cuts_at_a_stop_string_inside_a_token)
{
    const char *stops[] = {"ck"};
    generation *g = make(64, stops, 1);
    int32_t ids[64];
    const size_t n = encode("the quick brown", 15, ids);

    feed(g, ids, n);
    CHECK(g->out.finish == FINISH_STOP && text_is(g, "the qui"));
    generation_free(g);
}

TEST(generation_lets_go_what_turned_out_to_be_no_stop_string)
{
    const char *stops[] = {"abcd"};
    generation *g = make(64, stops, 1);

    feed_bytes(g, "abcabcx");
    CHECK(shown_after(g, 3) == 0);
    CHECK(shown_after(g, 4) == 3); /* the second "a" may begin it again */
    CHECK(shown_after(g, 7) == 7 && text_is(g, "abcabcx"));
    generation_free(g);
}

TEST(generation_shows_a_held_stop_prefix_at_the_end)
{
    const char *stops[] = {"abcd"};
    generation *g = make(3, stops, 1);

    feed_bytes(g, "abc");
    CHECK(shown_after(g, 3) == 0);
    CHECK(g->out.finish == FINISH_LENGTH && text_is(g, "abc"));
    generation_free(g);
}

TEST(generation_stops_at_the_string_that_ends_first)
{
    const char *inside[] = {"abcd", "bc"};
    const char *longest[] = {"cd", "abcd", "d"};
    generation *g = make(64, inside, 2);

    CHECK(feed_bytes(g, "xabcd") == 4);
    CHECK(text_is(g, "xa"));
    generation_free(g);
    g = make(64, longest, 3);
    CHECK(feed_bytes(g, "xabcd") == 5);
    CHECK(text_is(g, "x"));
    generation_free(g);
}

/* After "aabaaa" comes "b": only the right border of what was seen finds the match. */
TEST(generation_finds_a_stop_string_that_overlaps_its_own_beginning)
{
    const char *stops[] = {"aabaaac"};
    generation *g = make(64, stops, 1);

    CHECK(feed_bytes(g, "aabaaabaaacx") == 11);
    CHECK(g->out.finish == FINISH_STOP && text_is(g, "aaba"));
    generation_free(g);
}

TEST(generation_stops_at_a_control_token_that_a_stop_string_spells)
{
    const char *const stops[] = {"never", "<|im_start|>"};
    const int32_t start = tokenizer_find(embedded(), "<|im_start|>");
    generation *g = make(8, stops, 2);
    int32_t ids[8];

    CHECK(start >= 0 && !tokenizer_is_end(embedded(), start));
    CHECK(encode("a", 1, ids) == 1);
    CHECK(!generation_add(g, ids[0], NULL));
    CHECK(generation_add(g, start, NULL));
    CHECK(g->out.finish == FINISH_STOP && g->out.n_tokens == 2);
    CHECK(g->out.text_bytes == 1 && g->out.text[0] == 'a');
    generation_free(g);
}

TEST(generation_end_token_stops_and_gives_no_text)
{
    generation *g = make(64, NULL, 0);
    int32_t ids[64];
    size_t n = encode("Hi", 2, ids);

    ids[n++] = end_token();
    CHECK(feed(g, ids, n) == n);
    CHECK(g->out.finish == FINISH_STOP && text_is(g, "Hi"));
    CHECK(g->out.n_tokens == n && g->out.tokens[n - 1].id == end_token());
    generation_free(g);
}

TEST(generation_ignore_eos_goes_on_after_an_end_token)
{
    generation *g = make(4, NULL, 0);
    int32_t ids[8];

    g->in.ignore_eos = true;
    CHECK(encode_bytes("a", ids) == 1);
    ids[1] = end_token();
    CHECK(encode_bytes("b", ids + 2) == 1);
    ids[3] = end_token();
    CHECK(feed(g, ids, 4) == 4);
    CHECK(g->out.finish == FINISH_LENGTH && text_is(g, "ab"));
    generation_free(g);
}

TEST(generation_without_tokens_ends_empty)
{
    generation *g = make(0, NULL, 0);

    generation_end(g, FINISH_LENGTH);
    generation_end(g, FINISH_ABORT);
    CHECK(g->out.finish == FINISH_LENGTH && g->out.n_tokens == 0 && text_is(g, ""));
    generation_free(g);
}

TEST(generation_keeps_logprobs_of_the_best_tokens)
{
    const size_t V = tokenizer_size(embedded());
    float *logits = calloc(V, sizeof *logits);
    generation_in in = {.max_tokens = 2, .top = 2};
    generation *g = NULL;

    CHECK(logits && generation_new(&g, embedded(), &in) == ERR_OK);
    logits[300] = 20;
    logits[301] = 19;
    generation_add(g, 301, logits);
    CHECK(g->out.top[0].id == 300 && g->out.top[1].id == 301);
    CHECK(fabsf(g->out.tokens[0].logprob - g->out.top[1].logprob) < 1e-6f);
    CHECK(g->out.top[0].logprob < 0 && g->out.top[0].logprob > -1);
    logits[302] = 40;
    generation_add(g, 302, logits);
    CHECK(g->out.top[2].id == 302 && g->out.finish == FINISH_LENGTH);
    generation_free(g);
    free(logits);
}

/* --- any split into tokens gives what the whole text says --- */

typedef struct whole {
    size_t cut; /* bytes of the answer */
    size_t end; /* bytes of text read when that was known */
    bool stopped;
} whole;

/* The definition: the shortest prefix of the text that ends with a stop string decides, and
 * of several the longest is cut off. */
static whole define(const char *text, const char *const *stops, size_t n_stops)
{
    const size_t n = strlen(text);

    for (size_t end = 1; end <= n; end++) {
        size_t longest = 0;

        for (size_t i = 0; i < n_stops; i++) {
            const size_t m = strlen(stops[i]);

            if (m <= end && memcmp(text + end - m, stops[i], m) == 0 && m > longest)
                longest = m;
        }
        if (longest) return (whole){end - longest, end, true};
    }
    return (whole){n, n, false};
}

/* The longest suffix of the first n bytes that is a proper prefix of a stop string. */
static size_t define_held(const char *text, size_t n, const char *const *stops, size_t n_stops)
{
    for (size_t held = n; held > 0; held--)
        for (size_t i = 0; i < n_stops; i++)
            if (strlen(stops[i]) > held && memcmp(text + n - held, stops[i], held) == 0)
                return held;
    return 0;
}

static uint32_t draw(uint32_t *state, uint32_t n)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % n;
}

/* A text of few letters, so that stop strings and their beginnings are common. */
static void draw_text(uint32_t *state, char *text, size_t letters, uint32_t kinds)
{
    static const char *const alphabet[] = {"a", "b", "c", "\xc3\xa9", "\xf0\x9f\x98\x80"};

    text[0] = '\0';
    for (size_t i = 0; i < letters; i++) strcat(text, alphabet[draw(state, kinds)]);
}

/* Cut anywhere, also inside characters; every piece is encoded for itself. */
static size_t split(uint32_t *state, const char *text, int32_t *ids)
{
    const size_t n = strlen(text);
    size_t count = 0, take;

    for (size_t at = 0; at < n; at += take) {
        take = 1 + draw(state, 7);
        if (take > n - at) take = n - at;
        count += encode(text + at, take, ids + count);
    }
    return count;
}

/* After each token: exactly what the definition lets be shown of the characters so far. */
static bool shows_what_it_may(const generation *g, const whole *want, const char *text,
                              const char *const *stops, size_t n_stops)
{
    size_t bytes = 0;

    for (size_t i = 0; i < g->out.n_tokens; i++) {
        size_t known, may;

        bytes += tokenizer_piece(embedded(), g->out.tokens[i].id, false).n;
        known = utf8_prefix(text, bytes);
        may = known - define_held(text, known, stops, n_stops);
        if (want->stopped && known >= want->end) may = want->cut;
        if (g->out.tokens[i].text_end != may) return false;
    }
    return true;
}

static bool agrees_with_definition(uint32_t seed)
{
    uint32_t state = seed;
    char text[MAX_TEXT], stop[4][32];
    const char *stops[4] = {stop[0], stop[1], stop[2], stop[3]};
    const size_t n_stops = draw(&state, 5);
    const uint32_t kinds = 2 + draw(&state, 4);
    int32_t ids[MAX_IDS];
    generation *g;
    whole want;
    bool good;

    for (size_t i = 0; i < n_stops; i++) draw_text(&state, stop[i], 1 + draw(&state, 7), kinds);
    draw_text(&state, text, 1 + draw(&state, 80), kinds);
    want = define(text, stops, n_stops);
    g = make(MAX_IDS, stops, n_stops);
    feed(g, ids, split(&state, text, ids));
    good = g->out.text_bytes == want.cut && memcmp(g->out.text, text, want.cut) == 0 &&
           (g->out.finish == FINISH_STOP) == want.stopped &&
           shows_what_it_may(g, &want, text, stops, n_stops);
    generation_free(g);
    return good;
}

TEST(generation_any_split_into_tokens_gives_the_same_answer)
{
    for (uint32_t seed = 1; seed <= 5000; seed++) CHECK(agrees_with_definition(seed));
}

/* Random bytes: never an invalid character, and always within the arrays (under ASan). */
TEST(generation_random_bytes_stay_valid_utf8)
{
    uint32_t state = 7;

    for (int round = 0; round < 200; round++) {
        generation *g = make(MAX_IDS, NULL, 0);
        int32_t ids[MAX_IDS];

        for (size_t i = 0; i < MAX_IDS; i++) {
            const char byte = (char)draw(&state, 256);

            CHECK(encode(&byte, 1, ids + i) == 1);
        }
        feed(g, ids, MAX_IDS);
        CHECK(utf8_valid(g->out.text, g->out.text_bytes));
        generation_free(g);
    }
}

/* Is this the text of the ids, behind a prompt of one token? */
static bool answers(const tokenizer *t, int32_t prompt, const int32_t *ids, size_t n,
                    const char *text)
{
    generation_in in = {.ids = malloc(sizeof *in.ids), .n_ids = 1, .max_tokens = n, .top = -1};
    generation *g = NULL;
    size_t at = 0;
    bool same;

    in.ids[0] = prompt;
    CHECK(generation_new(&g, t, &in) == ERR_OK);
    feed(g, ids, n);
    for (size_t i = 0; i < n; i++) {
        const gguf_text piece = generation_piece(g, i);

        CHECK(piece.n <= g->out.text_bytes - at);
        CHECK(memcmp(g->out.text + at, piece.at, piece.n) == 0);
        at += piece.n;
    }
    CHECK(at == g->out.text_bytes);
    same = g->out.text_bytes == strlen(text) && memcmp(g->out.text, text, strlen(text)) == 0;
    generation_free(g);
    return same;
}

TEST(generation_space_that_begins_a_text_is_not_part_of_it)
{
    enum { SPACE = SPM_WORDS, A, SPACE_A, MARKER };
    static const spm_word words[] = {{SPM_MARK, 0, SPM_NORMAL},
                                     {"a", 0, SPM_NORMAL},
                                     {SPM_MARK "a", 0, SPM_NORMAL},
                                     {"[/INST]", 0, SPM_CONTROL}};
    static const int32_t word[] = {SPACE_A, SPACE_A, A}, spaces[] = {SPACE, SPACE_A},
                         bare[] = {A, SPACE_A};
    vocabulary v = vocabulary_open_tiny(tiny_spm(words, 4));
    tiny *m = tiny_spm(words, 4);

    CHECK(answers(v.t, MARKER, word, 3, "a aa"));
    CHECK(answers(v.t, SPM_BOS, spaces, 2, " a"));
    CHECK(answers(v.t, MARKER, bare, 2, "a a"));
    CHECK(answers(v.t, A, word, 3, " a aa")); /* it goes on inside text */
    vocabulary_close(&v);
    tiny_set_bool(m, "tokenizer.ggml.add_space_prefix", 0);
    v = vocabulary_open_tiny(m);
    CHECK(answers(v.t, MARKER, word, 3, " a aa"));
    vocabulary_close(&v);
}
