/* test_trellis.c - what indices stand for, that the quantizer finds the cheapest path of all
 * there are, and that it is worth having. */
#include <math.h>
#include <stdlib.h>

#include "engine/kern/kern_trellis.h"
#include "tests/rungs.h"
#include "tests/test.h"
#include "xcache/codec/klt.h"

enum { B = 16 };

static const int8_t no_column[B] = {0};

/* The trellis written out: the state after an even index and after an odd one. */
static const int after[8][2] = {{0, 2}, {5, 7}, {1, 3}, {6, 4}, {2, 0}, {4, 6}, {3, 1}, {7, 5}};

/* Two quantizers, one the mirror of the other. */
static double value_of(int q, int state)
{
    const double v = q ? q - .25 : 0;

    return state % 2 ? -v : v;
}

TEST(trellis_goes_from_state_to_state_and_back)
{
    for (int s = 0; s < 8; s++)
        for (int odd = 0; odd < 2; odd++) {
            CHECK(kern_trellis_next(s, odd) == after[s][odd]);
            CHECK(kern_trellis_next(s, odd - 4) == after[s][odd]);
            CHECK(kern_trellis_before(after[s][odd], odd) == s);
        }
}

TEST(trellis_dequantizes_by_the_states_of_each_token)
{
    enum { N = 40 };
    static int16_t q[N * B], row[N];
    static float out[N * B];
    float bias[KERN_TABLES] = {0}, step[B];
    kern k;

    bias[24] = 0.125f;
    for (size_t i = 0; i < N; i++) row[i] = 24;
    for (size_t t = 0; t < B; t++) step[t] = 0.5f;
    for (size_t i = 0; i < N * B; i++) q[i] = (int16_t)((int)(i * 7919 % 9) - 4);
    for (size_t r = 0; rungs_init(r, &k); r++) {
        const kern_classes c = {row, no_column, N, B};

        k.klt_dequantize(&c, q, bias, step, out);
        for (size_t t = 0; t < B; t++)
            for (size_t i = 0, s = 0; i < N; s = (size_t)after[s][q[i++ * B + t] & 1]) {
                const double v = value_of(q[i * B + t], (int)s);
                const double size = fmax(fabs(v) - .125, 0) / 2;

                CHECK((double)out[i * B + t] == (v < 0 ? -size : size));
                CHECK(v != 0 || !signbit(out[i * B + t]));
            }
    }
}

TEST(trellis_takes_any_numbers)
{
    static const float u[B] = {INFINITY, -INFINITY, NAN, 1e9f, -1e9f, -0.0f, 0.0f,     1e-40f,
                               31000.f,  1,         NAN, 1,    1,     -1,    INFINITY, 3};
    static const float inverse[B] = {1, 1,        1, 1,   1, 1,     1, 1,
                                     1, INFINITY, 0, NAN, 0, -0.0f, 0, 1};
    static const int16_t row[1] = {79};
    int16_t q[B];
    kern_prices prices;
    kern k;

    klt_set_prices(&prices);
    for (size_t r = 0; rungs_init(r, &k); r++) {
        const kern_classes c = {row, no_column, 1, B};

        k.klt_quantize(&c, u, inverse, &prices, q);
        for (size_t t = 0; t < B; t++) CHECK(abs(q[t]) <= KERN_KLT_MOST + 1);
        CHECK(q[0] >= KERN_KLT_MOST - 1 && q[1] <= 1 - KERN_KLT_MOST && q[3] == q[0]);
        CHECK(!q[2] && !q[5] && !q[6] && !q[7] && !q[10] && !q[11] && !q[12] && !q[13]);
        CHECK(q[9] == q[0] && !q[14] && q[15] == 3);
    }
}

/* --- against all paths there are --- */

enum { SHORT = 5, REACH = 3 };

/* As kern_trellis.h has it: the square of an error, and a price unless the index is 0. */
static double cost_of(double z, int q, int state, const kern_prices *p, int class)
{
    const double v = value_of(q, state), e = z - v;

    return e * e + (q ? (double)p->base[class] + (double)p->slope[class] * fabs(v) : 0);
}

static double cheapest(const float *z, const int16_t *row, const kern_prices *p, size_t i,
                       int state)
{
    double best = 1e30;

    if (i == SHORT) return 0;
    for (int q = -REACH; q <= REACH; q++)
        best = fmin(best, cost_of((double)z[i * B], q, state, p, row[i]) +
                              cheapest(z, row, p, i + 1, after[state][q & 1]));
    return best;
}

static double cost_of_path(const float *z, const int16_t *q, const int16_t *row,
                           const kern_prices *p, size_t n)
{
    double cost = 0;

    for (size_t i = 0, state = 0; i < n; i++) {
        const int v = q[i * B];

        cost += cost_of((double)z[i * B], v, (int)state, p, row[i]);
        state = (size_t)after[state][v & 1];
    }
    return cost;
}

/* Sums of four: nearly normal, of a deviation near 1.15. */
static float draw(uint32_t *state)
{
    float z = 0;

    for (int k = 0; k < 4; k++) {
        *state = *state * 1664525u + 1013904223u;
        z += (float)(*state >> 8) * 0x1p-23f - 1;
    }
    return z;
}

TEST(trellis_path_is_the_cheapest_of_all)
{
    static const int16_t row[SHORT] = {26, 25, 24, 22, 20};
    float z[SHORT * B], inverse[B];
    int16_t q[SHORT * B];
    uint32_t state = 5;
    kern_prices prices;
    kern k;

    klt_set_prices(&prices);
    for (size_t t = 0; t < B; t++) inverse[t] = 1;
    for (size_t i = 0; i < SHORT * B; i++) z[i] = draw(&state);
    for (size_t r = 0; rungs_init(r, &k); r++) {
        const kern_classes c = {row, no_column, SHORT, B};

        k.klt_quantize(&c, z, inverse, &prices, q);
        for (size_t t = 0; t < B; t++) {
            const double least = cheapest(z + t, row, &prices, 0, 0);

            CHECK(fabs(cost_of_path(z + t, q + t, row, &prices, SHORT) - least) < 1e-5);
        }
    }
}

/* A dead zone of .6, the nearest integers else: what this takes the place of, at its price. */
static double cost_of_rounding(const float *z, const kern_prices *p, int class, size_t n)
{
    double cost = 0;

    for (size_t i = 0; i < n; i++) {
        const double size = floor(fabs((double)z[i * B]) + .4);
        const double e = fabs((double)z[i * B]) - size;

        cost += e * e +
                (size > 0 ? (double)p->base[class] + (double)p->slope[class] * size : 0);
    }
    return cost;
}

TEST(trellis_costs_less_than_rounding)
{
    enum { N = 200 };
    static float z[N * B];
    static int16_t q[N * B], row[N];
    float inverse[B];
    uint32_t state = 9;
    double path = 0, rounded = 0;
    kern_prices prices;
    kern k;

    klt_set_prices(&prices);
    CHECK(rungs_init(0, &k));
    for (size_t t = 0; t < B; t++) inverse[t] = 1;
    for (size_t i = 0; i < N; i++) row[i] = 25;
    for (size_t i = 0; i < N * B; i++) z[i] = draw(&state);
    k.klt_quantize(&(kern_classes){row, no_column, N, B}, z, inverse, &prices, q);
    for (size_t t = 0; t < B; t++) {
        path += cost_of_path(z + t, q + t, row, &prices, N);
        rounded += cost_of_rounding(z + t, &prices, 25, N);
    }
    CHECK(path < 0.97 * rounded);
}
