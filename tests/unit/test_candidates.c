/* test_candidates.c - rules that cut a list of candidates, each against what its definition
 * says of a small one. */
#include "engine/model/candidates.h"

#include <math.h>
#include <string.h>

#include "tests/test.h"

enum { MOST = 200 };

/* Candidates of such probabilities, best first; ids count from 0. */
static candidates make(candidate list[MOST], const double *share, size_t n)
{
    float logits[MOST];
    candidates c = {.list = list};

    for (size_t i = 0; i < n; i++) logits[i] = logf((float)share[i]);
    candidates_list(&c, logits, n, logits[0], -INFINITY);
    candidates_order(&c);
    candidates_weigh(&c, 1);
    return c;
}

static void check_ids(const candidates *c, const int32_t *ids, size_t n)
{
    double mass = 0;

    CHECK(c->n == n);
    for (size_t i = 0; i < n; i++) {
        CHECK(c->list[i].id == ids[i]);
        mass += c->list[i].p;
    }
    CHECK(fabs(mass - c->mass) < 1e-12);
}

#define IDS(...) (const int32_t[]){__VA_ARGS__}, sizeof((int32_t[]){__VA_ARGS__}) / 4

static const double five[] = {.5, .2, .15, .1, .05};

TEST(candidates_lists_what_reaches_the_floor_and_is_not_banned)
{
    const float logits[] = {1, -INFINITY, 3, 2, 3};
    candidate list[MOST];
    candidates c = {.list = list};

    candidates_list(&c, logits, 5, 3, 2);
    CHECK(c.n == 3 && list[0].id == 2 && list[1].id == 3 && list[2].id == 4);
    candidates_order(&c);
    candidates_weigh(&c, 2);
    check_ids(&c, IDS(2, 4, 3)); /* of equals the lower id */
    CHECK(list[0].p == 1 && fabsf(list[2].p - expf(-0.5f)) < 1e-6f);
}

TEST(candidates_entropy_is_that_of_the_shares)
{
    candidate list[MOST];
    candidates c = make(list, five, 5);
    double wanted = 0;

    for (size_t i = 0; i < 5; i++) wanted -= five[i] * log(five[i]);
    CHECK(fabs(candidates_entropy(&c) - wanted) < 1e-6);
}

TEST(candidates_keep_best_and_keep_mass_take_from_the_front)
{
    candidate list[MOST];
    candidates c = make(list, five, 5);

    candidates_keep_best(&c, 9);
    check_ids(&c, IDS(0, 1, 2, 3, 4));
    candidates_keep_best(&c, 3);
    check_ids(&c, IDS(0, 1, 2));
    candidates_keep_mass(&c, 0.7); /* of the .85 that are left: .595 */
    check_ids(&c, IDS(0, 1));
    candidates_keep_mass(&c, 0);
    check_ids(&c, IDS(0));
}

/* Entropy 1.33 nats; surprises .69 1.61 1.90 2.30 3.00: nearest is 1, then 2, 0, 3, 4. */
TEST(candidates_keep_typical_takes_what_is_nearest_to_the_entropy)
{
    candidate list[MOST];
    candidates c = make(list, five, 5);

    candidates_keep_typical(&c, 0.19);
    check_ids(&c, IDS(1));
    c = make(list, five, 5);
    candidates_keep_typical(&c, 0.3);
    check_ids(&c, IDS(1, 2));
    c = make(list, five, 5);
    candidates_keep_typical(&c, 0.6);
    check_ids(&c, IDS(0, 1, 2)); /* the best first again */
    c = make(list, five, 5);
    candidates_keep_typical(&c, 0.9);
    check_ids(&c, IDS(0, 1, 2, 3));
}

TEST(candidates_drop_top_keeps_the_least_of_the_likely)
{
    candidate list[MOST];
    candidates c = make(list, five, 5);

    candidates_drop_top(&c, 0.6); /* none */
    check_ids(&c, IDS(0, 1, 2, 3, 4));
    candidates_drop_top(&c, 0.3); /* one alone stays */
    check_ids(&c, IDS(0, 1, 2, 3, 4));
    candidates_drop_top(&c, 0.12);
    check_ids(&c, IDS(2, 3, 4));
}

TEST(candidates_keep_expected_bounds_the_surprise)
{
    candidate list[MOST];
    candidates c = make(list, five, 5);

    candidates_keep_expected(&c, 2.8); /* bits: 1, 2.32, 2.74, 3.32 */
    check_ids(&c, IDS(0, 1, 2));
    candidates_keep_expected(&c, -5);
    check_ids(&c, IDS(0));
}

/* Shares of a power law: where k are kept, cross entropy is what mirostat's formula says. */
TEST(candidates_count_for_follows_the_power_law)
{
    double share[MOST];
    candidate list[MOST];
    candidates c;
    size_t before = 0;

    for (size_t i = 0; i < MOST; i++) share[i] = pow((double)(i + 1), -1.5);
    c = make(list, share, MOST);
    for (double bits = 0; bits < 9; bits += 0.5) {
        const double wanted = pow(0.5 * exp2(bits) / (1 - pow(MOST, -0.5)), 1 / 1.5);
        const size_t k = candidates_count_for(&c, bits, MOST);

        CHECK(k >= 1 && k <= MOST && k >= before);
        if (wanted > 1 && wanted < MOST) CHECK(fabs((double)k - wanted) < 1 + 0.01 * wanted);
        before = k;
    }
    c.n = 1;
    CHECK(candidates_count_for(&c, 3, MOST) == 1);
}

TEST(candidates_at_lays_them_out_by_weight)
{
    candidate list[MOST];
    const candidates c = make(list, five, 5);

    CHECK(candidates_at(&c, 0)->id == 0 && candidates_at(&c, 0.49)->id == 0);
    CHECK(candidates_at(&c, 0.51)->id == 1 && candidates_at(&c, 0.84)->id == 2);
    CHECK(candidates_at(&c, 0.96)->id == 4 && candidates_at(&c, 1)->id == 4);
}
