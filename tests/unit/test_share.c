/* test_share.c - who has had how much, and who goes first. */
#include "server/sched/share.h"

#include <math.h>

#include "tests/test.h"

TEST(share_of_a_stranger_is_nothing)
{
    const share s = {0};

    CHECK(share_of(&s, 7, 100) == 0);
}

TEST(share_fades)
{
    share s = {0};

    share_charge(&s, 7, 2, 100);
    CHECK(share_of(&s, 7, 100) == 2);
    CHECK(fabs(share_of(&s, 7, 110) - 2 * exp(-1)) < 1e-12);
    share_charge(&s, 7, 1, 110);
    CHECK(fabs(share_of(&s, 7, 110) - 1 - 2 * exp(-1)) < 1e-12);
    CHECK(share_of(&s, 8, 110) == 0);
}

/* Ten steps a second, each divided between those who are there: equals stay equal, whoever asks
 * for a third of the time goes before one that takes the rest. */
TEST(share_puts_who_takes_less_before_who_takes_more)
{
    share s = {0};
    double now = 0;

    for (int i = 0; i < 1000; i++, now += 0.1) {
        share_charge(&s, 1, i % 3 ? 0.1 : 0, now);
        share_charge(&s, 2, i % 3 ? 0 : 0.1, now);
        share_charge(&s, 3, 0.05, now);
        share_charge(&s, 4, 0.05, now);
    }
    CHECK(share_goes_first(share_of(&s, 2, now), share_of(&s, 1, now)));
    CHECK(!share_goes_first(share_of(&s, 1, now), share_of(&s, 2, now)));
    CHECK(!share_goes_first(share_of(&s, 3, now), share_of(&s, 4, now)));
    CHECK(!share_goes_first(share_of(&s, 4, now), share_of(&s, 3, now)));
}

TEST(share_forgets_the_least_of_too_many)
{
    share s = {0};

    for (uint64_t i = 0; i < 10 * SHARE_TENANTS; i++) {
        share_charge(&s, 1, 5, (double)i);
        share_charge(&s, 1000 + i, 0.1, (double)i);
    }
    CHECK(s.n == SHARE_TENANTS);
    CHECK(share_of(&s, 1, 10 * SHARE_TENANTS) > 40);
    CHECK(share_of(&s, 1000, 10 * SHARE_TENANTS) == 0);
}
