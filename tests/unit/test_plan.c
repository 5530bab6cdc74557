/* test_plan.c - plans survive the disk, know what they measured, and pack what they are made
 * of. Broken ones: test_plan_broken.c. */
#include "xcache/codec/plan.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/kern/cpu.h"
#include "tests/drawn.h"
#include "tests/plan_file.h"
#include "tests/test.h"
#include "xcache/codec/rans.h"

enum { D = 64, L = PLAN_FILE_L, E = 64, C = 32, MEASURED = PLAN_FILE_MEASURED };

static const plan_predictor full = {PLAN_FULL, 0}, ranked = {PLAN_RANK, 16},
                            none = {PLAN_NONE, 0};

/* --- from the disk --- */

static bool same_matrix(const plan_matrix *a, const plan_matrix *b)
{
    return a->rows == b->rows && memcmp(a->scale, b->scale, a->rows * sizeof *a->scale) == 0 &&
           memcmp(a->share, b->share, a->rows * plan_groups(D)) == 0 &&
           memcmp(a->code, b->code, a->rows * D) == 0;
}

static bool same_layer(const plan_layer *a, const plan_layer *b)
{
    return a->n == b->n && memcmp(a->c, b->c, (3 * D + 2 + a->n) * sizeof(float)) == 0 &&
           a->form.rows == 2 * E && b->form.rows == 2 * E &&
           memcmp(a->form.scale, b->form.scale, 2 * E * sizeof(float)) == 0 &&
           memcmp(a->form.half, b->form.half, 2 * E * C * sizeof(uint16_t)) == 0 &&
           same_matrix(&a->down, &b->down) && same_matrix(&a->up, &b->up) &&
           same_matrix(&a->q, &b->q);
}

static void check_about(const plan *p, const plan_file *s, plan_predictor r)
{
    const plan_about a = plan_read_about(p);
    plan_hash model;

    CHECK(plan_hash_model(s->g, &model) == ERR_OK);
    CHECK(memcmp(&a.model, &model, sizeof model) == 0);
    CHECK(a.D == D && a.L == L && a.E == E && a.C == C);
    CHECK(a.predictor.kind == r.kind && a.predictor.rank == r.rank);
    CHECK(a.steps == DRAWN_STEPS && a.measured == MEASURED && a.kl_tokens == DRAWN_TOKENS);
}

static void check_statistics(const plan *a, const plan *b)
{
    const plan_rates x = plan_read_rates(a), y = plan_read_rates(b);
    const plan_tables t = plan_read_tables(a), u = plan_read_tables(b);

    CHECK(memcmp(x.step, y.step, DRAWN_STEPS * sizeof *x.step) == 0);
    CHECK(memcmp(x.bits, y.bits, DRAWN_STEPS * L * sizeof *x.bits) == 0 && x.bits[1] == 90);
    CHECK(memcmp(t.frequency, u.frequency, PLAN_TABLES * sizeof *t.frequency) == 0);
    CHECK(memcmp(t.bias, u.bias, PLAN_TABLES * sizeof *t.bias) == 0 && t.bias[20] == .5f);
    CHECK(memcmp(plan_read_measured(a), plan_read_measured(b),
                 MEASURED * sizeof(plan_measured)) == 0);
    CHECK(plan_read_measured(b)[2].ratio == 20);
}

TEST(plan_comes_back_from_the_disk_as_it_was)
{
    const plan_predictor forms[] = {full, ranked, none};

    for (size_t i = 0; i < 3; i++) {
        plan *read = NULL;
        fault why;
        plan_file s;

        plan_file_open(&s, forms[i]);
        CHECK(plan_open(&read, s.path, s.g, &why) == ERR_OK);
        check_about(s.made, &s, forms[i]);
        check_about(read, &s, forms[i]);
        check_statistics(s.made, read);
        for (size_t l = 1; l < L; l++) {
            const plan_layer x = plan_read_layer(s.made, l), y = plan_read_layer(read, l);

            CHECK(x.n == (size_t)D >> l && same_layer(&x, &y));
        }
        plan_close(read);
        plan_file_close(&s);
    }
}

TEST(plan_written_twice_is_the_same_file)
{
    plan_file a, b;

    plan_file_open(&a, ranked);
    plan_file_open(&b, ranked);
    CHECK(a.n == b.n && memcmp(a.bytes, b.bytes, a.n) == 0);
    plan_file_close(&a);
    plan_file_close(&b);
}

/* --- making and writing --- */

TEST(plan_of_impossible_parts_is_not_made)
{
    uint16_t frequency[PLAN_TABLES][PLAN_SYMBOLS] = {{0}};
    float bias[PLAN_TABLES] = {0}, step[2] = {0, 1}, bits[2] = {0};
    const size_t n[1] = {0};
    void *const layers[1] = {NULL};
    plan_parts parts = {.about = {.D = D, .L = 1, .E = E, .C = C, .steps = 2},
                        .rates = {step, bits},
                        .tables = {frequency, bias},
                        .n = n,
                        .layers = layers};
    plan *p = NULL;

    CHECK(plan_make(&p, &parts) == ERR_PLAN && !p); /* tables are empty */
    for (size_t i = 0; i < PLAN_TABLES; i++) frequency[i][RANS_ESCAPE] = 1 << RANS_BITS;
    CHECK(plan_make(&p, &parts) == ERR_OK && p);
    plan_close(p);
    p = NULL;
    step[1] = 0;
    CHECK(plan_make(&p, &parts) == ERR_PLAN && !p);
}

TEST(plan_that_was_not_measured_knows_no_divergence)
{
    plan_file s;
    plan *fresh;

    plan_file_open(&s, none);
    fresh = drawn_plan(s.g, L, none, NULL, 0);
    CHECK(plan_kl(fresh, 8) < 0 && plan_best_ratio(fresh, 1) == 0);
    plan_close(fresh);
    plan_file_close(&s);
}

TEST(plan_divergence_is_that_of_the_next_ratio_measured_and_of_the_worst_text)
{
    plan_measured worse = drawn_measured(16, .001);
    plan *p;
    plan_file s;

    plan_file_open(&s, none);
    CHECK(fabs(plan_kl(s.made, 4) - .001) < 1e-9 && fabs(plan_kl(s.made, 8) - .001) < 1e-9);
    CHECK(fabs(plan_kl(s.made, 8.5) - .002) < 1e-9 && fabs(plan_kl(s.made, 20) - .006) < 1e-9);
    CHECK(plan_kl(s.made, 20.5) < 0);
    worse.kl[PLAN_CODE] = .25;
    p = drawn_plan(s.g, L, none, &worse, 1);
    CHECK(fabs(plan_kl(p, 16) - .25) < 1e-9);
    plan_close(p);
    plan_file_close(&s);
}

/* klt8, 12 and 20 as plan_file's, and two modes that need no plan. */
static plan *draw_beside(const plan_file *s, double xq4, double cl3)
{
    const plan_measured list[] = {drawn_measured(8, .001), drawn_measured(12, .002),
                                  drawn_measured(20, .006)};
    const plan_plain plain[] = {{"xq4", drawn_measured(3.76, xq4)},
                                {"cl3", drawn_measured(14.5, cl3)}};

    return drawn_plan_beside(s->g, L, none, list, 3, plain, 2);
}

static bool best_is(const plan *p, double max_kl, const char *wanted)
{
    char mode[16] = "";

    return plan_best_mode(p, max_kl, mode) == (*wanted != '\0') && strcmp(mode, wanted) == 0;
}

TEST(plan_best_mode_is_the_densest_of_all_that_are_near_enough)
{
    plan_file s;
    plan *p;

    plan_file_open(&s, none);
    p = draw_beside(&s, .0005, .003);
    CHECK(best_is(p, .0004, "") && best_is(p, .0006, "xq4") && best_is(p, .0011, "klt8"));
    CHECK(best_is(p, .0021, "klt12") && best_is(p, .0031, "cl3") && best_is(p, 1, "klt20"));
    CHECK(fabs(plan_plain_kl(p, "cl3") - .003) < 1e-9 && plan_plain_kl(p, "kivi4") < 0);
    plan_close(p);
    p = draw_beside(&s, -1, .3); /* one that was not measured is not near */
    CHECK(best_is(p, .0009, "") && best_is(p, .005, "klt12") && plan_plain_kl(p, "xq4") < 0);
    plan_close(p);
    plan_file_close(&s);
}

TEST(plan_lists_all_that_it_measured)
{
    static const char *const names[] = {"klt8", "klt12", "klt20", "xq4", "cl3"};
    plan_file s;
    char mode[16];
    plan *p;

    plan_file_open(&s, none);
    p = draw_beside(&s, .004, .003);
    for (size_t i = 0; i < 5; i++)
        CHECK(plan_measured_at(p, i, mode) && strcmp(mode, names[i]) == 0);
    CHECK(!plan_measured_at(p, 5, mode) && plan_read_about(p).plain == 2);
    CHECK(fabsf(plan_measured_at(p, 3, mode)->ratio - 3.76f) < 1e-6f);
    plan_close(p);
    plan_file_close(&s);
}

TEST(plan_best_ratio_is_the_largest_within_the_divergence)
{
    plan_file s;

    plan_file_open(&s, none);
    CHECK(plan_best_ratio(s.made, .0009) == 0);
    CHECK(plan_best_ratio(s.made, .0011) == 8 && plan_best_ratio(s.made, .005) == 12);
    CHECK(plan_best_ratio(s.made, .0061) == 20 && plan_best_ratio(s.made, 9) == 20);
    plan_file_close(&s);
}

TEST(plan_that_cannot_be_written_leaves_nothing)
{
    plan_file s;

    plan_file_open(&s, none);
    CHECK(plan_write(s.made, "/nowhere/at/all.xplan") == ERR_SYSTEM && errno == ENOENT);
    CHECK(plan_write(s.made, "/tmp") == ERR_SYSTEM && errno == EISDIR);
    CHECK(plan_write(s.made, "/dev/full") == ERR_SYSTEM && errno == EPERM);
    plan_file_close(&s);
}

TEST(plan_path_is_tried_before_there_is_a_plan)
{
    static const char path[] = "/tmp/xquantd-test-plan-tried.xplan";

    unlink(path);
    CHECK(plan_try_path("/nowhere/at/all.xplan") == ERR_SYSTEM && errno == ENOENT);
    CHECK(plan_try_path("/tmp") == ERR_SYSTEM && errno == EISDIR);
    CHECK(plan_try_path(path) == ERR_OK);
    CHECK(access(path, F_OK) != 0);
}

/* --- numbers --- */

static double far_off(const double *a, const float *b, size_t n, double scale)
{
    double off = 0;

    for (size_t i = 0; i < n; i++) off = fmax(off, fabs(a[i] - (double)b[i]) / scale);
    return off;
}

/* Of each group by itself: magnitudes differ by orders. A row of zeros stays one. */
TEST(plan_packs_a_group_to_a_half_of_its_127th)
{
    enum { ROWS = 3 };
    double rows[ROWS * D];
    float scale[ROWS], back[ROWS * D];
    uint8_t share[ROWS * D / PLAN_GROUP];
    int8_t code[ROWS * D];
    const plan_matrix m = {ROWS, scale, share, code};

    for (size_t i = 0; i < D; i++) {
        /* a channel that stands out takes nothing from those of the other group */
        rows[i] = i == D - 1 ? 1e6 : 1e4 * sin((double)i);
        rows[D + i] = 1e-6 * cos((double)i);
        rows[2 * D + i] = 0;
    }
    plan_pack(D, rows, &m);
    plan_unpack(D, &m, back);
    CHECK(far_off(rows, back, PLAN_GROUP, 1e4) < .7 / 127);
    CHECK(far_off(rows + PLAN_GROUP, back + PLAN_GROUP, PLAN_GROUP, 1e6) < .51 / 127);
    CHECK(far_off(rows + D, back + D, D, 1e-6) < .51 / 127);
    CHECK(far_off(rows + 2 * D, back + 2 * D, D, 1) <= 0);
}

TEST(plan_packs_a_form_to_an_eleventh_bit)
{
    double rows[2 * C];
    float scale[2], back[2 * C];
    uint16_t half[2 * C];
    const plan_form f = {2, scale, half};
    kern k;

    kern_init(&k, cpu_flags());
    for (size_t i = 0; i < C; i++) {
        rows[i] = 1e9 * sin((double)i + 1);
        rows[C + i] = 1e-9 * cos((double)i);
    }
    plan_pack_form(C, rows, &f);
    plan_unpack_form(&k, C, &f, back);
    CHECK(far_off(rows, back, C, 1e9) < 1. / 2048);
    CHECK(far_off(rows + C, back + C, C, 1e-9) < 1. / 2048);
}

TEST(plan_code_bytes_fill_whole_lines_and_keep_to_the_ratio)
{
    for (double ratio = PLAN_RATIO_MIN; ratio <= PLAN_RATIO_MAX; ratio += .5) {
        const size_t B = 128, bytes = plan_code_bytes(E, 16, B, ratio),
                     block = bytes + B * sizeof(int32_t);

        CHECK(bytes && block % 64 == 0);
        CHECK((double)block * 8 <= 32.0 * E * 16 / ratio * B);
        CHECK((double)(block + 64) * 8 > 32.0 * E * 16 / ratio * B);
    }
    CHECK(plan_code_bytes(8, 1, 128, 64) == 0); /* less than the ids */
}

/* Of 24 layers with two key heads of 64. */
static plan_predictor default_of(size_t width, double file_mb)
{
    const plan_about a = {.D = width, .L = 24, .E = 128, .C = 64};

    return plan_default_predictor(&a, (uint64_t)(file_mb * 1e6));
}

TEST(plan_default_predictor_follows_the_width_and_the_file)
{
    CHECK(default_of(384, 1).kind == PLAN_FULL && default_of(512, 1).kind == PLAN_FULL);
    CHECK(default_of(2048, 100).kind == PLAN_RANK && default_of(2048, 100).rank == 576);
    CHECK(default_of(576, 60).kind == PLAN_RANK && default_of(576, 60).rank == 160);
    /* 27 MB of plan: an eighteenth of a file of 490, a fifth of one of 135 */
    CHECK(default_of(896, 490).kind == PLAN_FULL && default_of(896, 135).kind == PLAN_RANK);
}
