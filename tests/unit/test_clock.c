/* test_clock.c - spans between moments, and that the clocks are the ones they say. */
#include "engine/clock.h"

#include <time.h>
#include <uv.h>

#include "tests/test.h"

TEST(clock_never_goes_back_and_is_libuvs)
{
    const uint64_t before = uv_hrtime(), now = clock_ns(), after = uv_hrtime();

    CHECK(before > 0 && before <= now && now <= after);
}

TEST(clock_spans_are_exact_after_years_of_uptime)
{
    const uint64_t from = UINT64_C(1) << 60, second = 1000000000;

    CHECK(clock_seconds_between(from, from + 3 * second) == 3);
    CHECK(clock_ms_between(from, from + second / 4) == 250);
    CHECK(clock_seconds_between(from + second, from) == -1);
}

TEST(clock_knows_the_year)
{
    const uint64_t seconds = clock_unix_ns() / 1000000000, now = (uint64_t)time(NULL);

    CHECK(seconds <= now && now - seconds <= 2);
}

TEST(clock_cpu_seconds_grow_with_work)
{
    const double before = clock_cpu_seconds(), until = clock_seconds() + 10;

    while (clock_cpu_seconds() - before < .001) CHECK(clock_seconds() < until);
}
