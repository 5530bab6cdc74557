/* test_rate.c - steps meet the bits that a ratio leaves, and steering makes up for what the
 * layers before took: on plans whose curves are known, so that the sixteenths are, too. */
#include "xcache/codec/rate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "xcache/codec/rans.h"

enum { D = 32, S = 17, MOST_L = 16, B = 128, OCTAVE = 16, MOST = 3 * OCTAVE };

/* Bits a token of a layer where the step is 2^octave. */
typedef double curve(size_t l, double octave);

/* 200 bits at 1, 32 less an octave: what a share of Gaussian components does. */
static double linear(size_t l, double octave)
{
    (void)l;
    return 200 - 32 * octave;
}

/* Flatter where it is coarse, and nothing at last: as real ones are. Layers differ. */
static double bent(size_t l, double octave)
{
    return fmax(0, (double)(2 + l % 3) * (150 * exp2(-octave / 2) - 45));
}

/* Steps from 2^-4 to 2^4, half an octave apart; layers without components. */
static plan *make_plan(size_t L, size_t E, curve *of)
{
    static uint16_t frequency[PLAN_TABLES][PLAN_SYMBOLS];
    float bias[PLAN_TABLES] = {0}, step[S], bits[S * MOST_L] = {0};
    size_t n[MOST_L] = {0};
    void *layers[MOST_L] = {NULL};
    plan_parts parts = {.about = {.D = D, .L = L, .E = E, .C = E, .steps = S},
                        .rates = {step, bits},
                        .tables = {frequency, bias},
                        .n = n,
                        .layers = layers};
    plan *out = NULL;

    for (size_t t = 0; t < PLAN_TABLES; t++) frequency[t][RANS_ESCAPE] = 1 << RANS_BITS;
    for (size_t s = 0; s < S; s++) {
        step[s] = (float)s / 2 - 4;
        for (size_t l = 1; l < L; l++) bits[s * L + l] = (float)of(l, (double)step[s]);
    }
    for (size_t l = 1; l < L; l++) layers[l] = calloc(1, plan_layer_bytes(&parts.about, 0));
    CHECK(plan_make(&out, &parts) == ERR_OK);
    for (size_t l = 1; l < L; l++) free(layers[l]);
    return out;
}

/* All layers' bits at a step, by the plan's own straight pieces. */
static double read_bits(const plan *p, double step)
{
    const plan_rates r = plan_read_rates(p);
    const plan_about a = plan_read_about(p);
    const double at = (log2(step) + 4) * 2;
    const size_t s = (size_t)fmin(fmax(floor(at), 0), S - 2);
    double sum = 0;

    for (size_t l = 1; l < a.L; l++) {
        const double low = (double)r.bits[s * a.L + l],
                     high = (double)r.bits[(s + 1) * a.L + l];

        sum += low + (at - (double)s) * (high - low);
    }
    return sum;
}

static bool near(double a, double b, double share)
{
    return fabs(a - b) <= share * fabs(b);
}

/* --- the step --- */

TEST(rate_wanted_bits_are_what_headers_leave)
{
    /* 16 layers of 64: 1024 bits a token in 128 tokens at 32 to 1, less ids of 4 bytes */
    const double block = 1024.0 / 8 * B - 4 * B;
    /* sizes of layers; M, half a byte a token and the coder's 16 */
    const double heads = 16 * 4 + 15 * (1 + B / 2 + 16);

    CHECK(near(rate_wanted_bits(64, 16, B, 32), (block - heads) * 8 / B, 1e-12));
}

TEST(rate_step_meets_the_wanted_bits)
{
    curve *const curves[] = {linear, bent};

    for (int i = 0; i < 2; i++) {
        plan *p = make_plan(8, 64, curves[i]);
        int inside = 0;

        for (double ratio = 4; ratio <= 64; ratio += 1.5) {
            const double step = rate_step(p, B, ratio),
                         wanted = rate_wanted_bits(64, 8, B, ratio);

            if (wanted > read_bits(p, 16) && wanted < read_bits(p, 1.0 / 16)) {
                CHECK(near(read_bits(p, step), wanted, 1e-4));
                inside++;
            } else { /* no step was tried that gives it */
                CHECK(near(step, wanted > read_bits(p, 1) ? 1.0 / 16 : 16, 1e-6));
            }
        }
        CHECK(inside > 10);
        plan_close(p);
    }
}

TEST(rate_step_rises_with_the_ratio)
{
    plan *p = make_plan(8, 64, bent);
    double last = 0;

    for (double ratio = 4; ratio <= 64; ratio += 0.5) {
        const double step = rate_step(p, B, ratio);

        CHECK(isfinite(step) && step >= last && step > 0);
        last = step;
    }
    CHECK(last > 4 * rate_step(p, B, 4));
    plan_close(p);
}

TEST(rate_step_is_the_coarsest_where_headers_leave_nothing)
{
    /* 512 bytes of codes; sizes and headers of 8 layers are 599 */
    plan *p = make_plan(8, 16, linear);

    CHECK(rate_wanted_bits(16, 8, B, 64) < 0);
    CHECK(near(rate_step(p, B, 64), 16, 1e-6));
    plan_close(p);
}

/* --- opening --- */

TEST(rate_refuses_blocks_without_room_for_codes)
{
    plan *none = make_plan(2, 32, linear), *scarce = make_plan(16, 4, linear);
    rate r;

    /* 4 bytes a token are its id */
    CHECK(rate_open(&r, none, B, 64) == ERR_PLANMODEL);
    CHECK(rate_step(none, B, 64) == 0);
    CHECK(rate_open(&r, none, B, 32) == ERR_OK);
    rate_close(&r);
    /* a line of 64 bytes is less than sizes and a byte of 16 layers */
    CHECK(plan_code_bytes(4, 16, B, 64 / 1.125) == 64);
    CHECK(rate_open(&r, scarce, B, 64 / 1.125) == ERR_PLANMODEL);
    CHECK(rate_open(&r, scarce, B, 64 / 1.25) == ERR_OK && r.code_bytes == 128);
    rate_close(&r);
    plan_close(none);
    plan_close(scarce);
}

TEST(rate_opens_at_the_least_and_the_largest_ratio)
{
    static const double ratios[] = {PLAN_RATIO_MIN, PLAN_RATIO_MAX};
    plan *p = make_plan(8, 64, bent);

    for (int i = 0; i < 2; i++) {
        rate_block b = {0};
        rate r;

        CHECK(rate_open(&r, p, B, ratios[i]) == ERR_OK);
        CHECK(r.code_bytes == plan_code_bytes(64, 8, B, ratios[i]));
        CHECK(r.step == rate_step(p, B, ratios[i]));
        for (size_t l = 1; l < 8; l++) {
            const int m = rate_steer(&r, &b, l, r.code_bytes - 8 * sizeof(uint32_t));

            CHECK(m >= -MOST && m <= MOST);
            rate_note(&r, &b, l, m, r.code_bytes / 8);
            CHECK(isfinite(b.octaves) && b.weight > 0);
        }
        rate_close(&r);
    }
    plan_close(p);
}

/* --- steering: 8 layers of linear curves --- */

typedef struct bench {
    plan *p;
    rate r;
    double layer;     /* bytes expected of a layer */
    double sixteenth; /* bytes more of a layer a sixteenth of an octave finer */
} bench;

static bench open_bench(curve *of)
{
    bench b = {.p = make_plan(8, 64, of)};

    CHECK(rate_open(&b.r, b.p, B, 11) == ERR_OK);
    CHECK(b.r.step > 0.25 && b.r.step < 4); /* three octaves to both sides, or nearly */
    b.layer = ((double)b.r.code_bytes - 8 * 4) / 7;
    b.sixteenth = 32.0 * B / 8 / OCTAVE;
    return b;
}

static void close_bench(bench *b)
{
    rate_close(&b->r);
    plan_close(b->p);
}

static size_t whole(double bytes)
{
    return (size_t)nearbyint(fmax(bytes, 0));
}

/* Layers l .. 7 by what is left of what is expected of them. */
static int steer(const bench *b, const rate_block *taken, size_t l, double extra)
{
    return rate_steer(&b->r, taken, l, whole((double)(8 - l) * b->layer + extra));
}

TEST(rate_steers_nothing_where_all_is_as_expected)
{
    curve *const curves[] = {linear, bent};

    for (int i = 0; i < 2; i++) {
        bench b = open_bench(curves[i]);
        const rate_block none = {0};

        /* a block as hard as the plan's text fills its bytes at the plan's step */
        CHECK(rate_steer(&b.r, &none, 1, b.r.code_bytes - 8 * sizeof(uint32_t)) == 0);
        close_bench(&b);
    }
}

TEST(rate_steers_by_the_sixteenths_that_bytes_are_worth)
{
    bench b = open_bench(linear);
    const rate_block none = {0};

    for (size_t l = 1; l < 8; l++)
        for (int k = -20; k <= 20; k++)
            CHECK(steer(&b, &none, l, k * b.sixteenth * (double)(8 - l)) == k);
    close_bench(&b);
}

/* n layers took k sixteenths more each, and what is left is what was expected: the layers that
 * follow are as much coarser, less the share of knowing nothing, which weighs three tenths of a
 * block. */
TEST(rate_steers_the_rest_coarser_after_layers_that_took_more)
{
    bench b = open_bench(linear);
    const double nothing = 0.3 * (double)(b.r.L - 1); /* layers that weigh as much */

    for (int k = -18; k <= 18; k++) {
        rate_block taken = {0};

        for (size_t n = 1; n < 7; n++) {
            rate_note(&b.r, &taken, n, 0, whole(b.layer + k * b.sixteenth));
            CHECK(fabs(steer(&b, &taken, n + 1, 0) + k * (double)n / ((double)n + nothing)) <
                  0.51);
        }
    }
    close_bench(&b);
}

TEST(rate_notes_against_what_the_multiplier_made_it_expect)
{
    bench b = open_bench(linear);

    for (int m = -24; m <= 24; m += 3) {
        rate_block taken = {0};

        rate_note(&b.r, &taken, 1, m, whole(b.layer + m * b.sixteenth));
        CHECK(fabs(taken.octaves) < 1e-3 * taken.weight);
        CHECK(near(taken.weight, b.layer + m * b.sixteenth, 1e-4));
        CHECK(steer(&b, &taken, 2, 0) == 0);
        /* and 8 sixteenths more than that are 8 of offset: coarser by its share */
        taken = (rate_block){0};
        rate_note(&b.r, &taken, 1, m, whole(b.layer + (m + 8) * b.sixteenth));
        CHECK(near(taken.octaves / taken.weight, -0.5, 1e-2));
    }
    close_bench(&b);
}

TEST(rate_steers_three_octaves_at_most)
{
    bench b = open_bench(linear);
    const rate_block none = {0};

    for (size_t l = 1; l < 8; l++) {
        CHECK(rate_steer(&b.r, &none, l, 0) == -MOST);
        CHECK(rate_steer(&b.r, &none, l, 1000 * b.r.code_bytes) == MOST);
        CHECK(steer(&b, &none, l, (MOST - 1) * b.sixteenth * (double)(8 - l)) == MOST - 1);
    }
    close_bench(&b);
}

TEST(rate_steers_finer_the_more_is_left)
{
    bench b = open_bench(bent);
    const rate_block states[] = {{0}, {500, 1000}, {-500, 1000}};

    for (int i = 0; i < 3; i++)
        for (size_t l = 1; l < 8; l++) {
            int last = -MOST;

            for (size_t left = 0; left <= 2 * b.r.code_bytes; left += 16) {
                const int m = rate_steer(&b.r, &states[i], l, left);

                CHECK(m >= last && m <= MOST);
                last = m;
            }
            CHECK(last > 0);
        }
    close_bench(&b);
}
