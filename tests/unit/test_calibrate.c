/* test_calibrate.c - a plan depends on text, model and wish alone: not on threads, nor on what
 * was made before it; and it records what it measured of each text. */
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

static const plan_predictor full = {PLAN_FULL, 0}, ranked = {PLAN_RANK, 24},
                            none = {PLAN_NONE, 0};

TEST(calibrate_makes_the_same_bits_at_any_number_of_threads)
{
    const plan_predictor forms[] = {full, ranked, none};
    planned alone;

    planned_open(&alone, 1);
    for (int threads = 2; threads <= 4; threads += 2) {
        planned many;

        planned_open(&many, threads);
        for (size_t i = 0; i < 3; i++)
            check_equal(planned_make(&alone, forms[i]), planned_make(&many, forms[i]));
        planned_close(&many);
    }
    planned_close(&alone);
}

TEST(calibrate_makes_the_same_bits_whatever_was_made_before)
{
    planned fresh, used;

    planned_open(&fresh, 1);
    planned_open(&used, 1);
    plan_close(planned_make(&used, ranked));
    plan_close(planned_make(&used, none));
    check_equal(planned_make(&fresh, full), planned_make(&used, full));
    check_equal(planned_make(&fresh, none), planned_make(&used, none));
    planned_close(&fresh);
    planned_close(&used);
}

TEST(calibrate_describes_the_model_and_the_predictor)
{
    const plan_predictor forms[] = {full, ranked, none};
    plan_hash hash;
    planned p;

    planned_open(&p, 2);
    CHECK(plan_hash_model(p.file, &hash) == ERR_OK);
    for (size_t i = 0; i < 3; i++) {
        plan *made = planned_make(&p, forms[i]);
        const plan_about a = plan_read_about(made);

        CHECK(a.D == p.m->D && a.L == p.m->L && a.E == p.m->E && a.C == p.m->C);
        CHECK(memcmp(&a.model, &hash, sizeof hash) == 0);
        CHECK(a.predictor.kind == forms[i].kind && a.predictor.rank == forms[i].rank);
        for (size_t l = 1; l < a.L; l++) CHECK(plan_read_layer(made, l).n > 0);
        plan_close(made);
    }
    planned_close(&p);
}

/* --- what was measured --- */

static void check_text(const plan_measured *m, plan_text text)
{
    CHECK(m->kl[text] > 0 && m->p99[text] > m->kl[text]);
    CHECK(m->top1[text] > 0 && m->top1[text] <= 1);
}

TEST(calibrate_records_each_ratio_on_each_kind_of_text)
{
    static const double ratios[] = {5, 7.5, 10, 12, 14, 16, 20, 24, 30, 40};
    enum { RATIOS = sizeof ratios / sizeof ratios[0] };
    planned p;
    plan *made;

    planned_open(&p, 2);
    made = planned_make(&p, full);
    CHECK(plan_read_about(made).measured == RATIOS);
    CHECK(plan_read_about(made).kl_tokens == 255);
    for (size_t i = 0; i < RATIOS; i++) {
        const plan_measured *m = &plan_read_measured(made)[i];

        CHECK((double)m->ratio == ratios[i] && m == planned_measured(made, ratios[i]));
        check_text(m, PLAN_PROSE);
        check_text(m, PLAN_DIALOGUE);
        CHECK(m->kl[PLAN_CODE] < 0 && m->p99[PLAN_CODE] < 0 && m->top1[PLAN_CODE] < 0);
        CHECK(m->kl[PLAN_PROSE] != m->kl[PLAN_DIALOGUE]);
    }
    CHECK(planned_measured(made, 40)->kl[PLAN_PROSE] >
          planned_measured(made, 5)->kl[PLAN_PROSE]);
    plan_close(made);
    planned_close(&p);
}

TEST(calibrate_records_modes_that_need_no_plan)
{
    static const char *const modes[] = {"kivi8", "xq8", "kivi4", "xq4", "cl4", "cl3"};
    planned p;
    plan *made;

    planned_open(&p, 2);
    made = planned_make(&p, full);
    CHECK(plan_read_about(made).plain == 6);
    for (size_t i = 0; i < 6; i++) {
        const plan_plain *m = &plan_read_plain(made)[i];

        CHECK(strcmp(m->mode, modes[i]) == 0);
        check_text(&m->measured, PLAN_PROSE);
        check_text(&m->measured, PLAN_DIALOGUE);
        CHECK(m->measured.kl[PLAN_CODE] < 0);
        CHECK(m->measured.ratio > 1.5f && m->measured.ratio < 12);
    }
    CHECK(plan_plain_kl(made, "kivi8") < plan_plain_kl(made, "kivi4"));
    CHECK(plan_plain_kl(made, "xq8") < plan_plain_kl(made, "xq4"));
    plan_close(made);
    planned_close(&p);
}

TEST(calibrate_without_held_out_text_knows_no_divergence)
{
    const reader_text held[PLAN_TEXTS] = {{0}};
    calibration *c = NULL;
    plan *made = NULL;
    planned p;

    planned_open(&p, 2);
    {
        const reader_model parts = {p.m, &p.kern, p.team, CACHE_BLOCK_TOKENS};
        const reader_text text = {p.ids, 6, 256};

        CHECK(calibrate_open(&c, p.file, &parts, &text, held, &untold) == ERR_OK);
    }
    CHECK(calibrate_make(c, none, &untold, &made) == ERR_OK);
    CHECK(plan_kl(made, 5) < 0 && plan_best_ratio(made, 100) == 0);
    plan_close(made);
    calibrate_close(c);
    planned_close(&p);
}

/* --- what a ratio costs --- */

TEST(calibrate_rates_fall_with_the_step_and_span_the_ratios)
{
    double least = 0, most = 0;
    plan_rates r;
    plan_about a;
    planned p;
    plan *made;

    planned_open(&p, 2);
    made = planned_make(&p, full);
    a = plan_read_about(made);
    r = plan_read_rates(made);
    for (size_t l = 1; l < a.L; l++) {
        for (size_t s = 1; s < a.steps; s++)
            CHECK(r.bits[s * a.L + l] <= r.bits[(s - 1) * a.L + l]);
        most += (double)r.bits[l];
        least += (double)r.bits[(a.steps - 1) * a.L + l];
    }
    /* bits a token of klt10 and of klt40; a multiplier reaches what is finer */
    CHECK(most > 32.0 * (double)(a.E * a.L) / 10);
    CHECK(least < 32.0 * (double)(a.E * a.L) / 40);
    plan_close(made);
    planned_close(&p);
}

/* --- progress --- */

static void check_rising(void *arg, double share)
{
    double *last = arg;

    CHECK(share >= *last && share <= 1 + 1e-9);
    *last = share;
}

TEST(calibrate_never_tells_of_less_than_before)
{
    double last = 0;
    const stage told = {check_rising, &last, 0, 1};
    plan *made = NULL;
    planned p;

    planned_open(&p, 1);
    CHECK(calibrate_make(p.calibration, full, &told, &made) == ERR_OK && last > 0.99);
    plan_close(made);
    planned_close(&p);
}

TEST(calibrate_tells_while_it_reads)
{
    const reader_text held[PLAN_TEXTS] = {{0}};
    double last = 0;
    const stage told = {check_rising, &last, 0, 1};
    calibration *c = NULL;
    planned p;

    planned_open(&p, 1);
    {
        const reader_model parts = {p.m, &p.kern, p.team, CACHE_BLOCK_TOKENS};
        const reader_text text = {p.ids, 6, 256};

        CHECK(calibrate_open(&c, p.file, &parts, &text, held, &told) == ERR_OK && last > 0.99);
    }
    CHECK(calibrate_bytes(c) > 2 * 6 * 256 * p.m->D * p.m->L);
    calibrate_close(c);
    planned_close(&p);
}
