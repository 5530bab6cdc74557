/* test_batch_embed.c - texts that become vectors beside answers: every step gives who decodes a
 * token, answers and vectors are what they are alone, and who cancels ends. */
#include <stdlib.h>
#include <string.h>

#include "server/sched/batch.h"
#include "tests/embedded.h"
#include "tests/test.h"

enum { TEXTS = 9, LONG = 1500, ANSWER = 40, MOST_WIDTH = 512 };

static void nothing(generation *g)
{
    (void)g;
}

static void nothing_done(generation *g, err e)
{
    (void)g, (void)e;
}

static generation *make(runtime *r, generation_in *in)
{
    generation *g;

    CHECK(generation_new(&g, r->tokens, in) == ERR_OK);
    g->progress = nothing;
    g->done = nothing_done;
    return g;
}

/* n texts, the first of `longest` tokens, the others of some. */
static generation *make_texts(runtime *r, size_t n, size_t longest)
{
    generation_in in = {.ids = malloc((longest + 40 * n) * sizeof *in.ids),
                        .ends = malloc(n * sizeof *in.ends),
                        .n_texts = n};
    generation *g;

    CHECK(in.ids && in.ends);
    for (size_t i = 0; i < n; i++) {
        const size_t length = i ? 3 * i + 1 : longest;

        for (size_t t = 0; t < length; t++)
            in.ids[in.n_ids++] = (int32_t)(100 + (17 * t + 31 * i) % 7000);
        in.ends[i] = in.n_ids;
    }
    g = make(r, &in);
    g->out.vectors = calloc(n * encoder_width(r->encoder), sizeof *g->out.vectors);
    CHECK(g->out.vectors != NULL);
    return g;
}

static generation *make_answer(runtime *r, size_t prompt)
{
    generation_in in = {.ids = malloc(prompt * sizeof *in.ids),
                        .n_ids = prompt,
                        .max_tokens = ANSWER,
                        .ignore_eos = true,
                        .top = -1};

    CHECK(in.ids != NULL);
    for (size_t t = 0; t < prompt; t++) in.ids[t] = (int32_t)(50 + 13 * t % 5000);
    return make(r, &in);
}

/* Step until all are over; every step beside an answer that decodes gives it a token. Returns
 * how many of these had texts left behind them. */
static size_t finish(batch *b, const generation *answer, const generation *texts)
{
    size_t beside = 0;

    while (b->n) {
        const size_t before = answer ? generation_tokens(answer) : 0;
        const bool decodes = before > 0 && before < ANSWER;

        batch_step(b);
        if (decodes) CHECK(generation_tokens(answer) == before + 1);
        beside += decodes && texts && texts->out.finish == FINISH_NONE;
        while (batch_take(b)) continue;
    }
    return beside;
}

TEST(texts_beside_an_answer_stop_no_step_of_it)
{
    runtime r = {0};
    generation *alone, *texts, *first, *answer;
    config c;
    batch b;

    embedded_open(&r, &c, "xq8", "2");
    CHECK(batch_open(&b, &r, 4) == ERR_OK);
    alone = make_texts(&r, TEXTS, LONG);
    CHECK(batch_add(&b, embedded_group(&alone, 1)) == ERR_OK);
    finish(&b, NULL, NULL);
    CHECK(alone->out.finish == FINISH_STOP);
    CHECK(b.stats.embedded_texts == TEXTS && b.stats.embedded_tokens == alone->in.n_ids);
    first = make_answer(&r, 20);
    CHECK(batch_add(&b, embedded_group(&first, 1)) == ERR_OK);
    finish(&b, first, NULL);
    answer = make_answer(&r, 20);
    texts = make_texts(&r, TEXTS, LONG);
    CHECK(batch_add(&b, embedded_group(&answer, 1)) == ERR_OK);
    CHECK(batch_add(&b, embedded_group(&texts, 1)) == ERR_OK);
    CHECK(finish(&b, answer, texts) > 5);
    CHECK(texts->out.finish == FINISH_STOP && answer->out.finish == FINISH_LENGTH);
    CHECK(memcmp(alone->out.vectors, texts->out.vectors,
                 TEXTS * encoder_width(r.encoder) * sizeof(float)) == 0);
    for (size_t t = 0; t < ANSWER; t++)
        CHECK(first->out.tokens[t].id == answer->out.tokens[t].id);
    batch_close(&b);
    generation_free(alone);
    generation_free(texts);
    generation_free(first);
    generation_free(answer);
    embedded_close(&r, &c);
}

/* Of two requests in one group the one that is canceled ends at the next step, and the other
 * one has its vectors all the same; a group that nobody wants any more is dropped. */
TEST(texts_that_are_canceled_end_and_take_nobody_along)
{
    runtime r = {0};
    generation *left, *kept, *none;
    float first[MOST_WIDTH];
    config c;
    batch b;

    embedded_open(&r, &c, "xq8", "1");
    CHECK(batch_open(&b, &r, 4) == ERR_OK);
    CHECK(encoder_width(r.encoder) <= MOST_WIDTH);
    kept = make_texts(&r, 2, 200);
    CHECK(batch_add(&b, embedded_group(&kept, 1)) == ERR_OK);
    finish(&b, NULL, NULL);
    memcpy(first, kept->out.vectors, encoder_width(r.encoder) * sizeof *first);
    generation_free(kept);

    left = make_texts(&r, 2, 300);
    kept = make_texts(&r, 2, 200);
    CHECK(batch_add(&b, embedded_group(&left, 1)) == ERR_OK);
    CHECK(batch_add(&b, embedded_group(&kept, 1)) == ERR_OK);
    batch_step(&b);
    atomic_store(&left->cancel, true);
    batch_step(&b);
    CHECK(batch_take(&b) == left && left->out.finish == FINISH_ABORT);
    generation_free(left);
    finish(&b, NULL, NULL);
    CHECK(kept->out.finish == FINISH_STOP);
    CHECK(memcmp(first, kept->out.vectors, encoder_width(r.encoder) * sizeof *first) == 0);
    generation_free(kept);

    none = make_texts(&r, 1, LONG);
    CHECK(batch_add(&b, embedded_group(&none, 1)) == ERR_OK);
    batch_step(&b);
    atomic_store(&none->cancel, true);
    batch_step(&b);
    CHECK(batch_take(&b) == none && b.n == 0);
    generation_free(none);
    kept = make_texts(&r, 2, 200);
    CHECK(batch_add(&b, embedded_group(&kept, 1)) == ERR_OK);
    finish(&b, NULL, NULL);
    CHECK(memcmp(first, kept->out.vectors, encoder_width(r.encoder) * sizeof *first) == 0);
    generation_free(kept);
    batch_close(&b);
    embedded_close(&r, &c);
}

TEST(texts_are_checked_before_they_wait)
{
    const size_t good[] = {3, 10}, empty[] = {3, 3}, too_long[] = {3, 3 + 2049};
    runtime r = {0};
    config c;

    embedded_open(&r, &c, "xq8", "1");
    CHECK(run_check_texts(&r, good, 2) == ERR_OK);
    CHECK(run_check_texts(&r, empty, 2) == ERR_EMPTY);
    CHECK(run_check_texts(&r, too_long, 2) == ERR_TOOLONG);
    embedded_close(&r, &c);
}
