/* test_sample.c - each rule alone, their order, and reproducible draws. */
#include "engine/model/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

enum { V = 8 };

static const float scores[V] = {1, 4, 2, 3, 0, -1, 3.5f, -2};

/* One pick from fresh scores by a fresh sampler. */
static int32_t pick(const sample_params *p)
{
    float logits[V];
    sampler *s = NULL;
    int32_t id;

    memcpy(logits, scores, sizeof logits);
    CHECK(sampler_new(&s, V, p) == ERR_OK);
    id = sampler_pick(s, logits);
    sampler_free(s);
    return id;
}

/* How often each id comes in `draws` draws of one sampler. */
static void tally(const sample_params *p, int draws, int count[V])
{
    sampler *s = NULL;

    CHECK(sampler_new(&s, V, p) == ERR_OK);
    memset(count, 0, V * sizeof *count);
    for (int i = 0; i < draws; i++) {
        float logits[V];

        memcpy(logits, scores, sizeof logits);
        count[sampler_pick(s, logits)]++;
    }
    sampler_free(s);
}

TEST(sample_greedy_takes_the_best_and_the_lower_id_of_equals)
{
    float equal[V] = {1, 7, 7, 1, 7, 0, 0, 0};
    sampler *s = NULL;

    CHECK(pick(&sample_greedy) == 1);
    CHECK(sampler_new(&s, V, &sample_greedy) == ERR_OK);
    CHECK(sampler_pick(s, equal) == 1);
    sampler_free(s);
}

TEST(sample_draws_follow_the_softmax)
{
    const sample_params p = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 3};
    double sum = 0;
    int count[V];

    for (int i = 0; i < V; i++) sum += exp(scores[i]);
    tally(&p, 20000, count);
    for (int i = 0; i < V; i++) CHECK(fabs(count[i] / 20000.0 - exp(scores[i]) / sum) < 0.012);
}

TEST(sample_same_seed_same_tokens_other_seed_others)
{
    sample_params p = {.temperature = 2, .top_p = 1, .repetition_penalty = 1, .seed = 11};
    int32_t a[64], b[64];
    int differ = 0;

    for (int round = 0; round < 3; round++) {
        sampler *s = NULL;

        if (round == 2) p.seed = 12;
        CHECK(sampler_new(&s, V, &p) == ERR_OK);
        for (int i = 0; i < 64; i++) {
            float logits[V];

            memcpy(logits, scores, sizeof logits);
            b[i] = sampler_pick(s, logits);
        }
        sampler_free(s);
        if (round == 0) memcpy(a, b, sizeof a);
        if (round == 1) CHECK(memcmp(a, b, sizeof a) == 0);
    }
    for (int i = 0; i < 64; i++) differ += a[i] != b[i];
    CHECK(differ > 10);
}

TEST(sample_top_k_top_p_and_min_p_cut_where_they_should)
{
    int count[V];

    tally(&(sample_params){.temperature = 5, .top_p = 1, .repetition_penalty = 1, .top_k = 3},
          2000, count);
    CHECK(count[1] && count[6] && count[3]);
    CHECK(count[1] + count[6] + count[3] == 2000);

    /* softmax: .42 .25 .15 ... : .42 alone is below .5, so two tokens make the nucleus */
    tally(&(sample_params){.temperature = 1, .top_p = .5f, .repetition_penalty = 1}, 2000,
          count);
    CHECK(count[1] && count[6] && count[1] + count[6] == 2000);

    /* e^-1 = .37 of the best: 3.5 and 3 stay, 2 goes */
    tally(
        &(sample_params){.temperature = 1, .top_p = 1, .repetition_penalty = 1, .min_p = .36f},
        2000, count);
    CHECK(count[1] && count[6] && count[3]);
    CHECK(count[1] + count[6] + count[3] == 2000);
}

TEST(sample_bias_bans_and_forces)
{
    const sample_bias ban[] = {{1, -100}, {6, -100}}, force[] = {{7, 50}};
    sample_params p = sample_greedy;

    p.bias = ban;
    p.n_bias = 2;
    CHECK(pick(&p) == 3);
    p.bias = force;
    p.n_bias = 1;
    CHECK(pick(&p) == 7);
}

TEST(sample_penalties_count_what_they_say)
{
    sample_params p = sample_greedy;
    float logits[V];
    sampler *s = NULL;

    p.frequency_penalty = 0.2f;
    p.presence_penalty = 0.2f;
    CHECK(sampler_new(&s, V, &p) == ERR_OK);
    sampler_see_prompt(s, 1); /* the prompt does not count for these two */
    memcpy(logits, scores, sizeof logits);
    CHECK(sampler_pick(s, logits) == 1 && logits[1] == 4.0f);
    sampler_see_answer(s, 1);
    sampler_see_answer(s, 1);
    memcpy(logits, scores, sizeof logits);
    CHECK(sampler_pick(s, logits) == 6);
    CHECK(fabsf(logits[1] - (4.0f - 0.2f - 2 * 0.2f)) < 1e-6f);
    sampler_free(s);

    p = sample_greedy;
    p.repetition_penalty = 2;
    CHECK(sampler_new(&s, V, &p) == ERR_OK);
    sampler_see_prompt(s, 1);
    sampler_see_prompt(s, 5);
    memcpy(logits, scores, sizeof logits);
    CHECK(sampler_pick(s, logits) == 6);
    CHECK(logits[1] == 2.0f && logits[5] == -2.0f);
    sampler_free(s);
}

TEST(sample_best_lists_logprobs_in_order)
{
    sample_top best[V];
    double sum = 0;

    sample_best(scores, V, V, best);
    for (int i = 0; i < V; i++) {
        if (i) CHECK(best[i].logprob <= best[i - 1].logprob);
        CHECK(best[i].logprob == sample_logprob(scores, V, best[i].id));
        sum += exp(best[i].logprob);
    }
    CHECK(best[0].id == 1 && best[1].id == 6 && fabs(sum - 1) < 1e-6);
}

TEST(sample_penalties_look_back_so_far)
{
    sample_params p = sample_greedy;
    float logits[V];
    sampler *s = NULL;

    p.repetition_penalty = 4;
    p.repeat_last_n = 2;
    CHECK(sampler_new(&s, V, &p) == ERR_OK);
    sampler_see_prompt(s, 1);
    sampler_see_answer(s, 6);
    memcpy(logits, scores, sizeof logits);
    CHECK(sampler_pick(s, logits) == 3);
    sampler_see_answer(s, 3); /* the prompt's is forgotten */
    memcpy(logits, scores, sizeof logits);
    CHECK(sampler_pick(s, logits) == 1);
    sampler_see_answer(s, 3);
    sampler_see_answer(s, 3); /* again: it counts until the last one is gone */
    sampler_see_prompt(s, 1);
    memcpy(logits, scores, sizeof logits);
    CHECK(sampler_pick(s, logits) == 6);
    sampler_see_prompt(s, 0);
    memcpy(logits, scores, sizeof logits);
    logits[1] = -9;
    logits[6] = -9;
    CHECK(sampler_pick(s, logits) == 3);
    sampler_free(s);
    sample_look_back(&p, 0);
    CHECK(p.repetition_penalty == 1 && p.repeat_last_n == 0);
    p.repetition_penalty = 2;
    sample_look_back(&p, -1);
    CHECK(p.repetition_penalty == 2 && p.repeat_last_n == 0);
}

/* Deviation of the scores: 1.97. */
TEST(sample_top_n_sigma_cuts_by_deviations_of_all)
{
    sample_params p = sample_usual;
    int count[V];

    p.temperature = 5;
    p.top_n_sigma = 0.3f; /* 4 - .59: 1 and 6 */
    tally(&p, 2000, count);
    CHECK(count[1] > 0 && count[6] > 0 && count[1] + count[6] == 2000);
    p.top_n_sigma = 0.6f; /* 4 - 1.18: 3, too */
    tally(&p, 2000, count);
    CHECK(count[3] > 0 && count[1] + count[6] + count[3] == 2000);
}

TEST(sample_typical_p_and_xtc_leave_the_best_out)
{
    sample_params p = sample_usual;
    int count[V], often = 0;

    p.typical_p = 0.2f;
    tally(&p, 500, count);
    CHECK(count[1] == 0);
    p = sample_usual;
    p.xtc_probability = 1;
    tally(&p, 500, count); /* of .48 .29 .17 the last; all that are less likely stay */
    CHECK(count[1] == 0 && count[6] == 0 && count[3] > 250);
    p.xtc_probability = 0.5f;
    tally(&p, 4000, count);
    often = count[1] + count[6];
    CHECK(often > 1300 && often < 1800); /* .77 of the half that is left alone */
}

/* Entropy is .52 of the largest, so that the temperature is .1 + 1.8 * .52^2 = .58. */
TEST(sample_dynamic_temperature_follows_entropy)
{
    sample_params p = sample_usual;
    int sharp = 0, fixed = 0;

    p.dynatemp_exponent = 2;
    for (int i = 0; i < 2; i++) {
        sampler *s = NULL;

        p.dynatemp_range = i ? 0.9f : 0;
        CHECK(sampler_new(&s, V, &p) == ERR_OK);
        for (int n = 0; n < 3000; n++) {
            float logits[V] = {3, 0, 0, 0, 0, 0, 0, 0};

            *(i ? &sharp : &fixed) += sampler_pick(s, logits) == 0;
        }
        sampler_free(s);
    }
    CHECK(fixed > 2100 && fixed < 2350); /* .741 */
    CHECK(sharp > 2830 && sharp < 2930); /* .962 */
}

/* A long tail: surprise comes to what is aimed at. */
static double surprise_of(int version, float tau)
{
    enum { MANY = 500, DRAWS = 4000 };
    sample_params p = sample_usual;
    float logits[MANY];
    double bits = 0, log_sum;
    sampler *s = NULL;

    p.mirostat = version;
    p.mirostat_tau = tau;
    CHECK(sampler_new(&s, MANY, &p) == ERR_OK);
    for (int i = 0; i < MANY; i++) logits[i] = -1.1f * logf((float)(i + 1));
    log_sum = sample_log_sum(logits, MANY);
    for (int n = 0; n < DRAWS; n++)
        bits += (log_sum - (double)logits[sampler_pick(s, logits)]) / log(2) / DRAWS;
    sampler_free(s);
    return bits;
}

/* Its own measure is of what it kept, so that of all is a little more. */
TEST(sample_mirostat_holds_the_surprise)
{
    for (int version = 1; version <= 2; version++) {
        const double low = surprise_of(version, 2), high = surprise_of(version, 4);

        CHECK(low > 2 && low < 4.5 && high > low + 1 && high < 6.5);
    }
}
