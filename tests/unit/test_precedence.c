/* test_precedence.c - tenants that have had less go first, and steps that are given up for
 * them. */
#include "server/sched/precedence.h"

#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "tests/embedded.h"
#include "tests/test.h"

/* --- by itself --- */

enum { LIGHT = 2, HEAVY = 3 };

/* A run of each, of whom one has had five seconds and the other nothing. */
typedef struct pair {
    generation of[2];
    run light, heavy;
    run *runs[2];
    precedence p;
} pair;

static void open_pair(pair *s)
{
    *s = (pair){.of = {{.in.tenant = LIGHT}, {.in.tenant = HEAVY}}};
    s->light.generation = &s->of[0];
    s->heavy.generation = &s->of[1];
    s->runs[0] = &s->light;
    s->runs[1] = &s->heavy;
    share_charge(&s->p.share, HEAVY, 5, 0);
}

TEST(precedence_of_one_tenant_makes_nobody_stand_back)
{
    pair s;

    open_pair(&s);
    precedence_begin(&s.p, s.runs + 1, 1, 0);
    CHECK(!precedence_stands_back(&s.p, &s.heavy) && s.p.tenants);
    s.of[0].in.tenant = s.of[1].in.tenant = GENERATION_ANYBODY;
    precedence_begin(&s.p, s.runs, 2, 0);
    CHECK(!precedence_stands_back(&s.p, &s.heavy) && !s.p.tenants);
}

TEST(precedence_leaves_a_sixteenth_to_who_is_behind)
{
    pair s;
    int theirs = 0;

    open_pair(&s);
    for (int i = 0; i < 1600; i++) {
        precedence_begin(&s.p, s.runs, 2, 0);
        CHECK(!precedence_stands_back(&s.p, &s.light));
        theirs += !precedence_stands_back(&s.p, &s.heavy);
        precedence_end(&s.p, 0.01, false);
    }
    CHECK(theirs >= 95 && theirs <= 105);
}

/* Before he came a step took 10 ms, so 15 such are his. */
TEST(precedence_gives_who_comes_the_first_steps)
{
    pair s;
    int his = 0;

    open_pair(&s);
    for (int i = 0; i < 10; i++) {
        precedence_begin(&s.p, s.runs + 1, 1, 0);
        precedence_end(&s.p, 0.01, false);
    }
    for (;; his++) {
        precedence_begin(&s.p, s.runs, 2, 0);
        if (!precedence_stands_back(&s.p, &s.heavy)) break;
        precedence_end(&s.p, 0.01, false);
    }
    CHECK(his == 15);
}

TEST(precedence_interrupts_for_the_lighter_and_not_twice)
{
    pair s;

    open_pair(&s);
    precedence_begin(&s.p, s.runs + 1, 1, 0);
    CHECK(precedence_interrupts(&s.p, s.runs + 1, 1, LIGHT, 0));
    CHECK(!precedence_interrupts(&s.p, s.runs + 1, 1, GENERATION_ANYBODY, 0));
    CHECK(!precedence_interrupts(&s.p, s.runs, 2, 4, 0)); /* as light as who takes part */
    precedence_end(&s.p, 0.01, true);
    CHECK(!precedence_interrupts(&s.p, s.runs + 1, 1, LIGHT, 0));
    precedence_begin(&s.p, s.runs + 1, 1, 0);
    precedence_end(&s.p, 0.01, false);
    CHECK(precedence_interrupts(&s.p, s.runs + 1, 1, LIGHT, 0));
}

/* Who has been here alone has had two seconds; a crowd that comes has had one less. */
TEST(precedence_counts_a_crowd_before_it_has_had_anything)
{
    enum { MANY = 6 };
    generation of[MANY];
    run all[MANY], *runs[MANY];
    precedence p = {0};

    for (int i = 0; i < MANY; i++) {
        of[i] = (generation){.in.tenant = i ? HEAVY : LIGHT};
        all[i] = (run){.generation = &of[i]};
        runs[i] = &all[i];
    }
    share_charge(&p.share, LIGHT, 2, 0);
    share_charge(&p.share, HEAVY, 1, 0);
    precedence_begin(&p, runs, 2, 0); /* one of each: by what they have had */
    CHECK(all[0].behind && !all[1].behind);
    precedence_begin(&p, runs, 3, 0);
    CHECK(!all[0].behind && !all[1].behind);
    precedence_begin(&p, runs, MANY, 0);
    CHECK(!all[0].behind && all[1].behind && all[MANY - 1].behind);
    CHECK(precedence_interrupts(&p, runs + 1, MANY - 1, LIGHT, 0));
    share_charge(&p.share, LIGHT, 3, 0); /* but what it has not had comes to it */
    precedence_begin(&p, runs, MANY, 0);
    CHECK(all[0].behind && !all[1].behind);
}

/* --- in a batch --- */

enum { ANSWER = 12, CROWD = 6 };

static generation *make(const runtime *r, int i, uint64_t tenant, size_t prompt, size_t tokens)
{
    generation_in in = {.n_ids = prompt,
                        .max_tokens = tokens,
                        .sample = sample_greedy,
                        .top = -1,
                        .tenant = tenant,
                        .ignore_eos = true};
    generation *g = NULL;

    in.ids = malloc(prompt * sizeof *in.ids);
    CHECK(in.ids != NULL);
    for (size_t t = 0; t < prompt; t++)
        in.ids[t] = (int32_t)(300 + ((size_t)i + t * 37) % 4000);
    CHECK(generation_new(&g, r->tokens, &in) == ERR_OK);
    return g;
}

typedef struct answers {
    int32_t ids[CROWD][ANSWER];
} answers;

/* The answers of all, in one batch; `wanted` is asked between the layers. Returns how many
 * steps were given up: how many there were depends on how long they took. */
static int answer(runtime *r, answers *out, bool (*wanted)(void *), void *user)
{
    generation *of[CROWD], *g;
    int given_up = 0;
    batch b;

    CHECK(batch_open(&b, r, CROWD + 1) == ERR_OK);
    b.is_wanted = wanted;
    b.user = user;
    for (int i = 0; i < CROWD; i++) {
        of[i] = make(r, 101 * i, LIGHT, 100 + 50 * (size_t)i, ANSWER);
        CHECK(batch_add(&b, embedded_group(&of[i], 1)) == ERR_OK);
    }
    while (b.n) {
        batch_step(&b);
        given_up += b.given_up;
        while ((g = batch_take(&b)))
            for (int i = 0; i < CROWD; i++) {
                if (of[i] != g) continue;
                CHECK(g->out.n_tokens == ANSWER);
                for (int t = 0; t < ANSWER; t++) out->ids[i][t] = g->out.tokens[t].id;
                generation_free(g);
                of[i] = NULL;
                break;
            }
    }
    batch_close(&b);
    return given_up;
}

enum { ASKED = 41 }; /* times until a step is given up: two and a half of 16 layers */

static bool want_now_and_then(void *user)
{
    int *asked = user;

    return ++*asked % ASKED == 0;
}

TEST(batch_answers_alike_when_steps_are_given_up)
{
    static const char *const modes[] = {"klt16", "xq4", "kivi4", "kv16"};
    answers calm, hasty;
    config c;

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        runtime r = {0};
        int asked = 0, given_up;

        embedded_open(&r, &c, modes[i], "2");
        CHECK(answer(&r, &calm, NULL, NULL) == 0);
        cache_evict(r.cache, SIZE_MAX);
        given_up = answer(&r, &hasty, want_now_and_then, &asked);
        CHECK(given_up == asked / ASKED && given_up > 5);
        CHECK(memcmp(&calm, &hasty, sizeof calm) == 0);
        embedded_close(&r, &c);
    }
}

/* One decodes; another's prompt is read as if nearly alone. The bound is wide: what is shared
 * out is time, and a busy machine stretches any step. */
TEST(batch_lets_the_lighter_tenant_go_first)
{
    runtime r = {0};
    generation *heavy, *light;
    size_t before;
    config c;
    batch b;

    embedded_open(&r, &c, "klt16", "1");
    CHECK(batch_open(&b, &r, 4) == ERR_OK);
    heavy = make(&r, 0, HEAVY, 100, 1500);
    CHECK(batch_add(&b, embedded_group(&heavy, 1)) == ERR_OK);
    while (generation_tokens(heavy) < 20) batch_step(&b);
    share_charge(&b.precedence.share, HEAVY, 100, clock_seconds());
    light = make(&r, 1000, LIGHT, 600, 300);
    CHECK(batch_add(&b, embedded_group(&light, 1)) == ERR_OK);
    before = generation_tokens(heavy);
    while (!generation_tokens(light)) batch_step(&b);
    CHECK(generation_tokens(heavy) < before + 25); /* beside an equal: 50 and more */
    while (light->out.finish == FINISH_NONE) batch_step(&b);
    CHECK(generation_tokens(heavy) > before);
    atomic_store(&heavy->cancel, true);
    while (b.n) {
        generation *g;

        batch_step(&b);
        while ((g = batch_take(&b))) generation_free(g);
    }
    batch_close(&b);
    embedded_close(&r, &c);
}

TEST(batch_keeps_a_place_for_a_tenant_that_has_none)
{
    runtime r = {0};
    generation *g[5];
    config c;
    batch b;

    embedded_open(&r, &c, "klt16", "1");
    CHECK(batch_open(&b, &r, 3) == ERR_OK);
    for (int i = 0; i < 5; i++) g[i] = make(&r, i, i == 3 ? LIGHT : HEAVY, 10, 4);
    for (int i = 0; i < 5; i++) {
        generation_group *w = embedded_group(&g[i], 1);
        const bool fits = i < 2 || i == 3;

        CHECK(batch_add(&b, w) == (fits ? ERR_OK : ERR_BUSY));
        if (!fits) generation_free(g[i]);
    }
    while (b.n) {
        generation *done;

        batch_step(&b);
        while ((done = batch_take(&b))) generation_free(done);
    }
    batch_close(&b);
    embedded_close(&r, &c);
}
