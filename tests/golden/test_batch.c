/* test_batch.c - the tokens of a request are the same alone and in company, at one thread and
 * two, cold and with what the cache has kept: for every mode, greedy and drawn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/sched/batch.h"
#include "tests/lab.h"
#include "tests/test.h"
#include "xcache/codec/codec.h"
#include "xcache/rebuild.h"

enum {
    CROWD = 32,
    SHORTEST = 114,
    ANSWER = 8,
    ASKED = 4 /* every so many-th is asked alone */
};

/* The answers of a crowd. */
typedef struct answers {
    int32_t ids[CROWD][ANSWER];
} answers;

static void open_runtime(runtime *r, config *c, const char *mode, const char *threads)
{
    char *argv[] = {
        "--model",       LAB_EMBEDDED, "--cache",          (char *)(uintptr_t)mode,
        "--cache-size",  "256MiB",     "--workspace-size", "512MiB",
        "--max-running", "32",         "--threads",        (char *)(uintptr_t)threads};
    char what[256];

    CHECK(config_load(c, CONFIG_SERVE, sizeof argv / sizeof *argv, argv, NULL) == NULL);
    CHECK(runtime_open(r, c, c->model, what, sizeof what) == ERR_OK);
}

static void close_runtime(runtime *r, config *c)
{
    runtime_close(r);
    config_free(c);
}

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

static generation_group *group(generation *const *members, size_t n)
{
    generation_group *w = NULL;

    CHECK(generation_group_new(&w, members, n) == ERR_OK);
    return w;
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
        CHECK(batch_add(&b, group(&of[i], 1)) == ERR_OK);
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

enum { COPIES = 4 };

/* The answers that number i gives with seeds of its own: as copies, or one after the other.
 * Returns how many tokens of the prompt were computed. */
static uint64_t answer_seeds(runtime *r, size_t prompt, bool copies,
                             int32_t out[COPIES][ANSWER])
{
    generation *of[COPIES], *g;
    uint64_t computed;
    batch b;

    cache_evict(r->cache, SIZE_MAX);
    CHECK(batch_open(&b, r, CROWD) == ERR_OK);
    for (size_t i = 0; i < COPIES; i++) {
        generation_in in = {.n_ids = prompt, .max_tokens = ANSWER, .top = -1};

        in.sample = (sample_params){.temperature = 1, .top_p = 1, .seed = i};
        in.sample.repetition_penalty = 1;
        in.ignore_eos = true;
        in.ids = malloc(prompt * sizeof *in.ids);
        CHECK(in.ids != NULL);
        for (size_t t = 0; t < prompt; t++) in.ids[t] = (int32_t)(300 + t * 53 % 4000);
        CHECK(generation_new(&of[i], r->tokens, &in) == ERR_OK);
    }
    for (size_t i = 0, left = COPIES; left;) {
        if (i < COPIES && !b.n) {
            CHECK(batch_add(&b, group(&of[i], copies ? COPIES : 1)) == ERR_OK);
            i += copies ? COPIES : 1;
        }
        batch_step(&b);
        while ((g = batch_take(&b))) {
            for (size_t c = 0; c < COPIES; c++)
                for (int t = 0; of[c] == g && t < ANSWER; t++) out[c][t] = g->out.tokens[t].id;
            generation_free(g);
            left--;
        }
    }
    computed = b.stats.prompt_tokens;
    batch_close(&b);
    return computed;
}

/* Prompts that end before, at and after a block's border, and cross one while they answer. */
static void check_copies(const char *mode)
{
    static const size_t prompts[] = {1, 124, 128, 129, 256};
    int32_t copies[COPIES][ANSWER], alone[COPIES][ANSWER];
    runtime r = {0};
    config c;

    open_runtime(&r, &c, mode, "2");
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        CHECK(answer_seeds(&r, prompts[i], true, copies) == prompts[i]);
        answer_seeds(&r, prompts[i], false, alone);
        CHECK(memcmp(copies, alone, sizeof copies) == 0);
        CHECK(memcmp(copies[0], copies[1], sizeof copies[0]) != 0);
    }
    close_runtime(&r, &c);
}

TEST(batch_copies_answer_as_if_each_had_read_the_prompt)
{
    char mode[16];

    for (size_t i = 0; codec_mode(i, mode); i++) check_copies(mode);
    check_copies("klt16");
}

static void answer_alone(const char *mode, answers *out)
{
    runtime r = {0};
    config c;

    open_runtime(&r, &c, mode, "1");
    for (int i = 0; i < CROWD; i += ASKED) {
        cache_evict(r.cache, SIZE_MAX);
        CHECK(answer(&r, i, i + 1, out) == 0);
    }
    close_runtime(&r, &c);
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

    open_runtime(&r, &c, mode, "2");
    for (int round = 0; round < 3; round++) {
        if (round == 1) rebuild_drop_pages(r.cache);
        if (round == 2) cache_evict(r.cache, 8);
        CHECK((answer(&r, 0, CROWD, &now) > 0) == (round > 0));
        CHECK(agree(&now, alone));
    }
    close_runtime(&r, &c);
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
