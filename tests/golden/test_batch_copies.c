/* test_batch_copies.c - several answers to one prompt, which is read once, are those that each
 * would give had it read the prompt itself. */
#include <stdlib.h>
#include <string.h>

#include "tests/embedded.h"
#include "tests/test.h"
#include "xcache/codec/codec.h"

enum { COPIES = 4, ANSWER = 8 };

/* The answers that number i gives with seeds of its own: as copies, or one after the other.
 * Returns how many tokens of the prompt were computed. */
static uint64_t answer_seeds(runtime *r, size_t prompt, bool copies,
                             int32_t out[COPIES][ANSWER])
{
    generation *of[COPIES], *g;
    uint64_t computed;
    batch b;

    cache_evict(r->cache, SIZE_MAX);
    CHECK(batch_open(&b, r, EMBEDDED_CROWD) == ERR_OK);
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
            CHECK(batch_add(&b, embedded_group(&of[i], copies ? COPIES : 1)) == ERR_OK);
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

    embedded_open(&r, &c, mode, "2");
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        CHECK(answer_seeds(&r, prompts[i], true, copies) == prompts[i]);
        answer_seeds(&r, prompts[i], false, alone);
        CHECK(memcmp(copies, alone, sizeof copies) == 0);
        CHECK(memcmp(copies[0], copies[1], sizeof copies[0]) != 0);
    }
    embedded_close(&r, &c);
}

TEST(batch_copies_answer_as_if_each_had_read_the_prompt)
{
    char mode[16];

    for (size_t i = 0; codec_mode(i, mode); i++) check_copies(mode);
    check_copies("klt16");
}
