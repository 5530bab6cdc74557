/* test_census.c - symbols are counted where the coder looks for them, and tables, biases and
 * bits are those of a plain recount. */
#include "xcache/calibrate/census.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "tests/test.h"

enum { N = 60, B = 128, PARTS = 5 };

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* A layer's values: rows from wide to narrow, tokens of all weights. */
typedef struct sample {
    int16_t row[N], q[N * B];
    int8_t column[B];
    float u[N * B], inverse[B];
} sample;

/* The states as kern_trellis.h gives them in bits, written out. */
static const int after[8][2] = {{0, 2}, {5, 7}, {1, 3}, {6, 4}, {2, 0}, {4, 6}, {3, 1}, {7, 5}};

static void draw(sample *s, uint32_t seed)
{
    uint32_t state = seed;
    int path[B] = {0};

    for (size_t i = 0; i < N; i++) s->row[i] = (int16_t)(75 - 2 * (int)i);
    for (size_t t = 0; t < B; t++) {
        s->column[t] = (int8_t)((int)(next(&state) % 21) - 10);
        s->inverse[t] = 1 + (float)(next(&state) % 8) / 8;
    }
    for (size_t i = 0; i < N * B; i++) {
        const int class = s->row[i / B] + s->column[i % B];
        /* a few deviations wide, at most; and now and then far out */
        const double sigma = exp2((fmin(class, 60) - 24) / 4);
        double z = 0;

        for (int k = 0; k < 4; k++) z += (double)(next(&state) % 1024) / 512 - 1;
        if (next(&state) % 50 == 0) z *= 12;
        z *= sigma;
        s->q[i] = (int16_t)fmin(fmax(trunc(z), -30000), 30000);
        if (path[i % B] % 2) s->q[i] = (int16_t)-s->q[i];
        path[i % B] = after[path[i % B]][s->q[i] % 2 != 0];
        s->u[i] = (float)z / s->inverse[i % B];
    }
}

static kern_classes classes_of(const sample *s)
{
    return (kern_classes){s->row, s->column, N, B};
}

static void add(census *c, const sample *s, size_t sinks)
{
    const kern_classes k = classes_of(s);

    census_add(c, &k, s->q, s->u, s->inverse, sinks);
}

static census *new_census(void)
{
    census *c = calloc(1, sizeof *c);

    CHECK(c != NULL);
    return c;
}

static void draw_all(sample *s)
{
    for (uint32_t i = 0; i < PARTS; i++) draw(&s[i], 3 + i);
}

static census *count_all(const sample *s)
{
    census *c = new_census();

    for (size_t i = 0; i < PARTS; i++) add(c, &s[i], 0);
    return c;
}

/* --- a plain recount --- */

typedef struct recount {
    uint64_t count[PLAN_TABLES][PLAN_SYMBOLS], raw, nonzero[PLAN_TABLES];
    double excess[PLAN_TABLES];
} recount;

/* From the rules at the heads of kern_rans.h and kern_trellis.h. */
static void count_plainly(recount *r, const sample *s, size_t sinks)
{
    for (size_t t = sinks; t < B; t++)
        for (size_t i = 0, state = 0, mirrored; i < N; i++) {
            const int sum = s->row[i] + s->column[t], q = s->q[i * B + t];
            const int class = sum < 0 ? 0 : sum > 79 ? 79 : sum;
            const int table = class < 40 ? class : 36 + class % 4;
            const int shift = class < 32 ? 0 : (class - 28) / 4;
            const double cell = exp2(shift);
            const double hi = floor((q + (shift ? cell / 2 : 0)) / cell);
            const bool escapes = hi < -16 || hi > 16;

            r->count[table][escapes ? 33 : (int)hi + 16]++;
            r->raw += escapes ? 16 : (uint64_t)shift;
            mirrored = state % 2;
            state = (size_t)after[state][q % 2 != 0];
            if (!q) continue;
            r->nonzero[table]++;
            /* both turned to where the index is positive */
            r->excess[table] += (q > 0 ? q - .25 : .25 - q) -
                                (q > 0 ? 1 : -1) * (mirrored ? -1 : 1) *
                                    ((double)s->u[i * B + t] * (double)s->inverse[t]);
        }
}

TEST(census_counts_what_a_plain_recount_does)
{
    enum { SINKS = 4 };
    static sample s[PARTS];
    recount *r = calloc(1, sizeof *r);
    census *c = new_census();
    uint64_t all = 0;

    CHECK(r != NULL);
    draw_all(s);
    for (size_t i = 0; i < PARTS; i++) {
        add(c, &s[i], i == 0 ? SINKS : 0);
        count_plainly(r, &s[i], i == 0 ? SINKS : 0);
    }
    CHECK(memcmp(c->count, r->count, sizeof c->count) == 0);
    CHECK(c->raw_bits == r->raw);
    CHECK(c->tokens == PARTS * B - SINKS);
    for (size_t t = 0; t < PLAN_TABLES; t++) {
        CHECK(c->nonzero[t] == r->nonzero[t]);
        /* floats of values as large as 30000 */
        CHECK(fabs((double)c->excess[t] * 0x1p-20 - r->excess[t]) <=
              4e-3 * (double)r->nonzero[t]);
        for (size_t v = 0; v < PLAN_SYMBOLS; v++) all += c->count[t][v];
    }
    CHECK(all == N * (PARTS * B - SINKS));
    free(r);
    free(c);
}

TEST(census_does_not_look_at_sinks)
{
    static sample s, other;
    census *a = new_census(), *b = new_census();

    draw(&s, 1);
    other = s;
    for (size_t i = 0; i < N; i++)
        for (size_t t = 0; t < 4; t++) {
            other.q[i * B + t] = 9999;
            other.u[i * B + t] = NAN;
        }
    add(a, &s, 4);
    add(b, &other, 4);
    CHECK(memcmp(a, b, sizeof *a) == 0);
    add(b, &s, 0);
    CHECK(b->tokens == 2 * B - 4);
    free(a);
    free(b);
}

TEST(census_merges_in_any_order)
{
    static sample s[PARTS];
    census *whole, *rising = new_census(), *falling = new_census();

    draw_all(s);
    whole = count_all(s);
    for (size_t i = 0; i < PARTS; i++) {
        census *part = new_census();

        add(part, &s[i], 0);
        census_merge(rising, part);
        memset(part, 0, sizeof *part);
        add(part, &s[PARTS - 1 - i], 0);
        census_merge(falling, part);
        free(part);
    }
    CHECK(memcmp(whole, rising, sizeof *whole) == 0);
    CHECK(memcmp(whole, falling, sizeof *whole) == 0);
    free(whole);
    free(rising);
    free(falling);
}

/* --- tables --- */

static uint16_t frequency[PLAN_TABLES][PLAN_SYMBOLS];
static float bias[PLAN_TABLES];

static double bits_of(const census *c)
{
    return census_bits(c, (const uint16_t(*)[PLAN_SYMBOLS])frequency);
}

/* Does every table add up, and can the coder use them? */
static void check_valid(void)
{
    rans_model *m = NULL;
    kern k;

    for (size_t t = 0; t < PLAN_TABLES; t++) {
        unsigned sum = 0;

        for (size_t v = 0; v < PLAN_SYMBOLS; v++) sum += frequency[t][v];
        CHECK(sum == 1u << RANS_BITS && frequency[t][RANS_ESCAPE] >= 1);
        CHECK(bias[t] >= -.5f && bias[t] <= .5f);
    }
    kern_init(&k, cpu_flags());
    CHECK(rans_open(&m, frequency[0], &k, NULL) == ERR_OK);
    rans_close(m);
}

TEST(census_tables_follow_the_counts)
{
    static sample s[PARTS];
    census *c;
    int full = 0;

    draw_all(s);
    c = count_all(s);
    census_tables(c, frequency, bias);
    check_valid();
    for (size_t t = 0; t < PLAN_TABLES; t++) {
        double all = 0;

        for (size_t v = 0; v < PLAN_SYMBOLS; v++) all += (double)c->count[t][v];
        if (all < 200) continue;
        full++;
        for (size_t v = 0; v < PLAN_SYMBOLS; v++) {
            const double share = (double)c->count[t][v] / all;

            /* eight more symbols at most, and what rounding to 2048ths is */
            CHECK(fabs(frequency[t][v] / 2048.0 - share) <= 8 / all + 2.0 / 2048);
        }
    }
    CHECK(full > 10);
    free(c);
}

TEST(census_biases_are_the_mean_excess)
{
    static sample s[PARTS];
    recount *r = calloc(1, sizeof *r);
    census *c;
    int moderate = 0;

    CHECK(r != NULL);
    draw_all(s);
    c = count_all(s);
    for (size_t i = 0; i < PARTS; i++) count_plainly(r, &s[i], 0);
    census_tables(c, frequency, bias);
    for (size_t t = 0; t < PLAN_TABLES; t++) {
        const double mean = r->nonzero[t] ? r->excess[t] / (double)r->nonzero[t] : .05;

        CHECK(fabs((double)bias[t] - fmin(fmax(mean, -.5), .5)) < 4e-3);
        /* truncated towards zero: a value is farther from it than its code, by half a step */
        if (r->nonzero[t] > 100) moderate += bias[t] < -.2f;
    }
    CHECK(moderate > 5);
    c->excess[7] = 100 << 20;
    c->nonzero[7] = 10;
    c->excess[8] = -(100 << 20);
    c->nonzero[8] = 10;
    census_tables(c, frequency, bias);
    CHECK(bias[7] == .5f && bias[8] == -.5f);
    free(r);
    free(c);
}

TEST(census_of_nothing_gives_tables_that_serve)
{
    census *c = new_census();

    census_tables(c, frequency, bias);
    check_valid();
    for (size_t t = 0; t < PLAN_TABLES; t++) {
        CHECK(bias[t] == .05f);
        /* a Laplacian: falling to both sides alike, and wider from table to table */
        for (size_t hi = 0; hi < 16; hi++) {
            CHECK(frequency[t][16 + hi] >= frequency[t][17 + hi]);
            CHECK(abs(frequency[t][16 + hi] - frequency[t][16 - hi]) <= 1);
        }
        CHECK(t == 0 || frequency[t][16] <= frequency[t - 1][16]);
    }
    CHECK(frequency[0][16] > 2000 && frequency[PLAN_TABLES - 1][16] < 300);
    CHECK(bits_of(c) == 0);
    free(c);
}

/* --- bits --- */

TEST(census_bits_are_logarithms_of_shares_and_raw_bits)
{
    static sample s[PARTS];
    census *c;
    double bits;

    draw_all(s);
    c = count_all(s);
    census_tables(c, frequency, bias);
    frequency[30][16] = (uint16_t)(frequency[30][16] + frequency[30][18]);
    frequency[30][18] = 0; /* one that is counted and goes by the escape */
    CHECK(c->count[30][18] > 0);
    bits = (double)c->raw_bits;
    for (size_t t = 0; t < PLAN_TABLES; t++)
        for (size_t v = 0; v < PLAN_SYMBOLS; v++) {
            const bool escapes = !frequency[t][v];
            const double share = frequency[t][escapes ? 33 : v] / 2048.0;

            bits += (double)c->count[t][v] * (-log2(share) + (escapes ? 16 : 0));
        }
    CHECK(fabs(bits_of(c) - bits / (PARTS * B)) < 1e-9 * bits);
    free(c);
}

/* What calibration expects of a layer is what the coder will take. */
TEST(census_bits_are_what_the_coder_counts)
{
    static sample s[PARTS];
    rans_model *m = NULL;
    census *c;
    uint64_t cost = 0;
    double bits;
    kern k;

    draw_all(s);
    c = count_all(s);
    census_tables(c, frequency, bias);
    kern_init(&k, cpu_flags());
    CHECK(rans_open(&m, frequency[0], &k, NULL) == ERR_OK);
    for (size_t i = 0; i < PARTS; i++) {
        const kern_classes of = classes_of(&s[i]);

        cost += rans_cost(m, &of, s[i].q);
    }
    bits = (double)cost / RANS_COST_ONE;
    CHECK(bits > 1000 && fabs(bits_of(c) * PARTS * B - bits) < 2e-3 * bits);
    rans_close(m);
    free(c);
}
