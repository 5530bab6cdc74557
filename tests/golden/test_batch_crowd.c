/* test_batch_crowd.c - the tokens of a request are the same alone and in company, at one thread
 * and two, cold and with what the cache has kept: for every mode, greedy and drawn. */
#include <stdlib.h>
#include <string.h>

#include "tests/embedded.h"
#include "tests/test.h"
#include "xcache/codec/codec.h"
#include "xcache/rebuild.h"

enum {
    CROWD = EMBEDDED_CROWD,
    SHORTEST = 114,
    ANSWER = 8,
    ASKED = 4 /* every so many-th is asked alone */
};

/* The answers of a crowd. */
typedef struct answers {
    int32_t ids[CROWD][ANSWER];
} answers;

/* Request number i: a prompt of its own length, which most of them fill a block with, every
 * third one with a common beginning; half of those asked alone draw. */
static generation *make(const runtime *r, int i)
{
    const size_t n = SHORTEST + (size_t)i;
    generation_in in = {.n_ids = n, .max_tokens = ANSWER, .sample = sample_greedy, .top = -1};
    generation *g = NULL;

    if (i / ASKED % 2)
        in.sample = (sample_params){.temperature = 1, .top_p = 1, .seed = (uint64_t)i};
    if (i / ASKED % 2) in.sample.repetition_penalty = 1;
    in.ignore_eos = true;
    in.ids = malloc(n * sizeof *in.ids);
    CHECK(in.ids != NULL);
    for (size_t t = 0; t < n; t++)
        in.ids[t] = (int32_t)(300 +
                              (t * 37 + (i % 3 || t >= 120 ? (size_t)i * 101 : 0)) % 4000);
    CHECK(generation_new(&g, r->tokens, &in) == ERR_OK);
    return g;
}

/* Note the answer of request i. */
static void keep(generation *g, int i, answers *out)
{
    CHECK(g->out.n_tokens == ANSWER);
    for (int t = 0; t < ANSWER; t++) out->ids[i][t] = g->out.tokens[t].id;
    generation_free(g);
}

/* Requests first .. last-1 in one batch. Returns the tokens that came from the cache. */
static size_t answer(runtime *r, int first, int last, answers *out)
{
    generation *of[CROWD], *g;
    size_t cached = 0;
    batch b;

    CHECK(batch_open(&b, r, CROWD) == ERR_OK);
    for (int i = first; i < last; i++) {
        of[i] = make(r, i);
        CHECK(batch_add(&b, embedded_group(&of[i], 1)) == ERR_OK);
    }
    while (b.n) {
        batch_step(&b);
        while ((g = batch_take(&b))) {
            int i = first;

            while (of[i] != g) i++;
            cached += g->out.cached_tokens;
            keep(g, i, out);
        }
    }
    batch_close(&b);
    return cached;
}

static void answer_alone(const char *mode, answers *out)
{
    runtime r = {0};
    config c;

    embedded_open(&r, &c, mode, "1");
    for (int i = 0; i < CROWD; i += ASKED) {
        cache_evict(r.cache, SIZE_MAX);
        CHECK(answer(&r, i, i + 1, out) == 0);
    }
    embedded_close(&r, &c);
}

static bool agree(const answers *a, const answers *b)
{
    for (int i = 0; i < CROWD; i += ASKED)
        if (memcmp(a->ids[i], b->ids[i], sizeof a->ids[i]) != 0) return false;
    return true;
}

/* All at once; again with every block kept, but no page; and without most blocks. */
static void check_together(const char *mode, const answers *alone)
{
    runtime r = {0};
    answers now;
    config c;

    embedded_open(&r, &c, mode, "2");
    for (int round = 0; round < 3; round++) {
        if (round == 1) rebuild_drop_pages(r.cache);
        if (round == 2) cache_evict(r.cache, 8);
        CHECK((answer(&r, 0, CROWD, &now) > 0) == (round > 0));
        CHECK(agree(&now, alone));
    }
    embedded_close(&r, &c);
}

static void check_mode(const char *mode)
{
    answers alone;

    answer_alone(mode, &alone);
    CHECK(memcmp(alone.ids[0], alone.ids[ASKED], sizeof alone.ids[0]) != 0);
    check_together(mode, &alone);
}

TEST(batch_of_32_answers_as_each_alone_in_every_fixed_mode)
{
    char mode[16];

    for (size_t i = 0; codec_mode(i, mode); i++) check_mode(mode);
}

TEST(batch_of_32_answers_as_each_alone_with_a_plan)
{
    check_mode("klt16");
}
