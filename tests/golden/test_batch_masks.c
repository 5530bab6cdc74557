/* test_batch_masks.c - a grammar that is made to be slow holds up its own answer, and no other.
 */
#include <stdlib.h>
#include <string.h>

#include "server/schema/guides.h"
#include "tests/embedded.h"
#include "tests/test.h"

enum { ANSWER = 24, STEPS = 30 };

/* Hundreds of configurations at once, and hardly a state twice: a mask takes a tenth of a
 * second and more. */
static const char slow[] = "([a-z ]*[aeiou][a-z ]{250})*";

static program *open_program(guides *all)
{
    guide g = {.kind = GUIDE_REGEX, .value = cJSON_CreateString(slow), .param = "regex"};
    program *p = NULL;
    fault why;

    CHECK(guides_find(all, &g, &p, &why));
    cJSON_Delete((cJSON *)g.value);
    return p;
}

static generation *ask(runtime *r, program *p, size_t max_tokens)
{
    generation_in in = {.n_ids = 8, .max_tokens = max_tokens, .top = -1, .program = p};
    generation *g;

    in.sample.repetition_penalty = 1;
    in.ignore_eos = true;
    in.ids = malloc(in.n_ids * sizeof *in.ids);
    CHECK(in.ids != NULL);
    for (size_t t = 0; t < in.n_ids; t++) in.ids[t] = (int32_t)(300 + t * 53);
    CHECK(generation_new(&g, r->tokens, &in) == ERR_OK);
    return g;
}

/* Until both have a token; then so many steps more. Returns those in which `held` waited for
 * its mask, and `other` had a token in each. */
static int steps_beside(batch *b, generation *held, generation *other)
{
    int waited = 0;

    while (!generation_tokens(held) || !generation_tokens(other)) batch_step(b);
    for (int i = 0; i < STEPS; i++) {
        const size_t before = generation_tokens(other), its = generation_tokens(held);

        batch_step(b);
        CHECK(generation_tokens(other) == before + 1);
        waited += generation_tokens(held) == its;
    }
    return waited;
}

/* To its end, alone. */
static void finish(batch *b, int32_t out[ANSWER])
{
    generation *g = NULL;

    while (b->n) {
        batch_step(b);
        while ((g = batch_take(b))) {
            if (g->in.program)
                for (int t = 0; t < ANSWER; t++) out[t] = g->out.tokens[t].id;
            generation_free(g);
        }
    }
}

TEST(a_slow_mask_holds_up_its_own_answer_alone)
{
    int32_t beside[ANSWER], alone[ANSWER];
    runtime r = {0};
    generation *held, *other;
    guides *all;
    config c;
    batch b;

    embedded_open(&r, &c, "xq4", "2");
    CHECK(guides_open(&all, r.tokens) == ERR_OK);
    CHECK(batch_open(&b, &r, EMBEDDED_CROWD) == ERR_OK);
    held = ask(&r, open_program(all), ANSWER);
    other = ask(&r, NULL, 100);
    CHECK(batch_add(&b, embedded_group(&held, 1)) == ERR_OK);
    CHECK(batch_add(&b, embedded_group(&other, 1)) == ERR_OK);
    CHECK(steps_beside(&b, held, other) > 0);
    finish(&b, beside);

    held = ask(&r, open_program(all), ANSWER);
    CHECK(batch_add(&b, embedded_group(&held, 1)) == ERR_OK);
    finish(&b, alone);
    CHECK(memcmp(beside, alone, sizeof alone) == 0);
    batch_close(&b);
    guides_close(all);
    embedded_close(&r, &c);
}
