/* test_calibrate.c - a plan depends on text, model and wish alone: not on threads, nor on what
 * was made before it; and a search finds the last ratio that is close enough. */
#include "xcache/calibrate/calibrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/planned.h"
#include "tests/read_file.h"
#include "tests/test.h"

static const stage untold = {0};

/* The file of a plan; the plan is closed, the caller frees. */
static char *take_bytes(plan *p, size_t *n)
{
    char path[64], *bytes;

    snprintf(path, sizeof path, "/tmp/xquantd-test-calibrate-%d", (int)getpid());
    CHECK(plan_write(p, path) == ERR_OK);
    plan_close(p);
    bytes = read_file(path, n);
    unlink(path);
    CHECK(bytes != NULL);
    return bytes;
}

static void check_equal(plan *a, plan *b)
{
    size_t n, m;
    char *first = take_bytes(a, &n), *second = take_bytes(b, &m);

    CHECK(n == m && memcmp(first, second, n) == 0);
    free(first);
    free(second);
}

TEST(calibrate_makes_the_same_bits_at_any_number_of_threads)
{
    const plan_predictor forms[] = {{PLAN_FULL, 0}, {PLAN_RANK, 24}, {PLAN_NONE, 0}};
    planned alone;

    planned_open(&alone, 1);
    for (int threads = 2; threads <= 4; threads += 2) {
        planned many;

        planned_open(&many, threads);
        for (size_t i = 0; i < 3; i++)
            check_equal(planned_make(&alone, 10, forms[i]), planned_make(&many, 10, forms[i]));
        planned_close(&many);
    }
    planned_close(&alone);
}

TEST(calibrate_makes_the_same_bits_whatever_was_made_before)
{
    const plan_predictor full = {PLAN_FULL, 0}, none = {PLAN_NONE, 0};
    planned fresh, used;

    planned_open(&fresh, 1);
    planned_open(&used, 1);
    plan_close(planned_make(&used, 20, full));
    plan_close(planned_make(&used, 6, none));
    check_equal(planned_make(&fresh, 9, full), planned_make(&used, 9, full));
    planned_close(&fresh);
    planned_close(&used);
}

static double divergence(planned *p, double ratio, plan_predictor r)
{
    plan *made = planned_make(p, ratio, r);
    const plan_about about = plan_read_about(made);

    CHECK(about.kl > 0 && about.kl_tokens == 255);
    plan_close(made);
    return about.kl;
}

TEST(calibrate_search_ends_at_the_last_half_within_the_divergence)
{
    const plan_predictor full = {PLAN_FULL, 0};
    double wanted, ratio;
    plan *found = NULL;
    planned p;

    planned_open(&p, 2);
    wanted = divergence(&p, 14, full) * 1.0001;
    CHECK(calibrate_search(p.calibration, wanted, full, &untold, &found) == ERR_OK);
    ratio = plan_read_about(found).ratio;
    CHECK(plan_read_about(found).kl <= wanted);
    CHECK(ratio < PLAN_RATIO_MAX && ratio * 2 == (int)(ratio * 2));
    CHECK(divergence(&p, ratio + 0.5, full) > wanted);
    check_equal(found, planned_make(&p, ratio, full));
    planned_close(&p);
}

TEST(calibrate_search_says_when_no_ratio_is_close_enough)
{
    plan *found = NULL;
    planned p;

    planned_open(&p, 1);
    CHECK(calibrate_search(p.calibration, 1e-15, (plan_predictor){PLAN_NONE, 0}, &untold,
                           &found) == ERR_RANGE);
    CHECK(found == NULL);
    planned_close(&p);
}

static void check_rising(void *arg, double share)
{
    double *last = arg;

    CHECK(share >= *last && share <= 1 + 1e-9);
    *last = share;
}

TEST(calibrate_never_tells_of_less_than_before)
{
    const plan_predictor full = {PLAN_FULL, 0};
    double last = 0;
    const stage told = {check_rising, &last, 0, 1};
    plan *made = NULL;
    planned p;

    planned_open(&p, 1);
    CHECK(calibrate_make(p.calibration, 8, full, &told, &made) == ERR_OK && last > 0.99);
    plan_close(made);
    made = NULL;
    last = 0;
    CHECK(calibrate_search(p.calibration, 1e-4, full, &told, &made) == ERR_OK && last > 0.8);
    plan_close(made);
    planned_close(&p);
}
