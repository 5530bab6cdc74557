/* test_divergence.c - KL, likelihood and agreement of rows whose figures are known. */
#include "xcache/calibrate/divergence.h"

#include <math.h>

#include "tests/test.h"

static bool is_near(double a, double b)
{
    return fabs(a - b) < 1e-7; /* logits are floats */
}

TEST(divergence_of_known_rows_is_what_the_formula_says)
{
    const float even[] = {0, 0}, skewed[] = {1.0986123f, 0}; /* 1/2 1/2; 3/4 1/4 */
    const divergence d = divergence_of(even, skewed, 2, 1);

    CHECK(is_near(d.kl, .5 * log(.5 / .75) + .5 * log(.5 / .25)));
    CHECK(is_near(d.nll, log(4)));
    CHECK(is_near(d.top1, 1)); /* the lower of equals */
    CHECK(is_near(divergence_of(skewed, even, 2, 0).kl,
                  .75 * log(.75 / .5) + .25 * log(.25 / .5)));
}

TEST(divergence_of_equal_rows_is_zero_and_of_shifted_ones_nearly)
{
    float row[100], shifted[100];

    for (int i = 0; i < 100; i++) {
        row[i] = (float)(i * 37 % 100) * .25f;
        shifted[i] = row[i] + 4096; /* exp of it is no double; a softmax does not see it */
    }
    CHECK(!(divergence_of(row, row, 100, 3).kl < 0) &&
          !(divergence_of(row, row, 100, 3).kl > 0));
    CHECK(is_near(divergence_of(row, shifted, 100, 3).kl, 0));
    CHECK(
        is_near(divergence_of(row, shifted, 100, 3).nll, divergence_of(row, row, 100, 3).nll));
}

TEST(divergence_sees_another_best_token)
{
    const float a[] = {1, 2, 3}, b[] = {3, 2, 1};

    CHECK(is_near(divergence_of(a, b, 3, 0).top1, 0));
}

TEST(divergence_mean_is_over_all_positions)
{
    const divergence a = {1, 2, 1}, b = {3, 4, 0};
    const divergence mean = divergence_mean(divergence_sum(a, b), 2);

    CHECK(is_near(mean.kl, 2) && is_near(mean.nll, 3) && is_near(mean.top1, .5));
}

/* 1 .. n in no order. */
static divergence_tail tail_of(size_t n)
{
    float kl[101];

    for (size_t i = 0; i < n; i++) kl[i] = (float)(i * 37 % n + 1);
    return divergence_tail_of(kl, n);
}

TEST(divergence_tail_is_the_rank_that_99_of_100_reach_and_the_last)
{
    CHECK(is_near(tail_of(100).p99, 99) && is_near(tail_of(100).max, 100));
    CHECK(is_near(tail_of(101).p99, 100) && is_near(tail_of(101).max, 101));
    CHECK(is_near(tail_of(50).p99, 50) && is_near(tail_of(50).max, 50));
    CHECK(is_near(tail_of(1).p99, 1) && is_near(tail_of(1).max, 1));
}
