/* test_quantize.c - floats into blocks, and what a reader of the format gets back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/kern.h"
#include "engine/model/matrix.h"
#include "engine/model/quantize.h"
#include "tests/test.h"

enum { N = 1024, BLOCK = 256 };

static float next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*state >> 32) / 2147483648.0f;
}

/* Bell-shaped enough: the sum of four. */
static void fill(float *x, size_t n, float scale, float shift)
{
    uint64_t state = 7;

    for (size_t i = 0; i < n; i++) {
        x[i] = shift;
        for (int k = 0; k < 4; k++) x[i] += scale * next_random(&state);
    }
}

/* A block of Q4_K as the format describes it. */
static void read_q4_k(const uint8_t *b, float *x)
{
    const uint8_t *s = b + 4;
    uint16_t half[2];

    memcpy(half, b, 4);
    for (int j = 0; j < 8; j++) {
        const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        const int minimum = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6) << 4;

        for (int i = 0; i < 32; i++) {
            const int byte = b[16 + j / 2 * 32 + i], q = j % 2 ? byte >> 4 : byte & 15;

            x[j * 32 + i] = kern_float(half[0]) * (float)(scale * q) -
                            kern_float(half[1]) * (float)minimum;
        }
    }
}

/* Squared error of N values written as Q4_K. */
static double q4_k_error(const float *x)
{
    uint8_t out[N / BLOCK * 144];
    float y[BLOCK];
    double sum = 0;

    quantize_row(GGUF_Q4_K, x, N, out);
    for (int i = 0; i < N; i++) {
        if (i % BLOCK == 0) read_q4_k(out + i / BLOCK * 144, y);
        CHECK(isfinite(y[i % BLOCK]));
        sum += ((double)y[i % BLOCK] - (double)x[i]) * ((double)y[i % BLOCK] - (double)x[i]);
    }
    return sum;
}

/* The same by the plain way: smallest and largest of 32 at the ends of 16 even steps. */
static double plain_error(const float *x)
{
    double sum = 0;

    for (int g = 0; g < N / 32; g++, x += 32) {
        float low = x[0], high = x[0], step;

        for (int i = 0; i < 32; i++) {
            low = fminf(low, x[i]);
            high = fmaxf(high, x[i]);
        }
        step = (high - low) / 15;
        for (int i = 0; i < 32; i++) {
            const double off = (double)(low + step * roundf((x[i] - low) / step) - x[i]);

            sum += off * off;
        }
    }
    return sum;
}

TEST(quantize_floats_round_to_nearest_even)
{
    const float x[4] = {1.0f, 1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-11f, -2.5f};
    const float y[4] = {1.0f, 1.0f + 0x1p-8f, 1.0f + 3 * 0x1p-8f, -2.5f};
    uint16_t out[4];
    float same[4];

    quantize_row(GGUF_F16, x, 4, out);
    CHECK(out[0] == 0x3c00 && out[1] == 0x3c00 && out[2] == 0x3c02 && out[3] == 0xc100);
    quantize_row(GGUF_BF16, y, 4, out);
    CHECK(out[0] == 0x3f80 && out[1] == 0x3f80 && out[2] == 0x3f82 && out[3] == 0xc020);
    quantize_row(GGUF_F32, x, 4, same);
    CHECK(memcmp(same, x, sizeof x) == 0);
}

TEST(quantize_q8_0_is_off_by_half_a_step_at_most)
{
    float x[N], y[N];
    uint8_t out[N / 32 * 34];
    const gguf_tensor t = {
        .type = GGUF_Q8_0, .n_dims = 1, .dim = {N, 1, 1, 1}, .data = out, .bytes = sizeof out};

    fill(x, N, 0.02f, 0.01f);
    memset(x + 64, 0, 32 * sizeof *x);
    quantize_row(GGUF_Q8_0, x, N, out);
    CHECK(matrix_read_row(&t, 0, y) == ERR_OK);
    for (int g = 0; g < N / 32; g++) {
        float most = 0;

        for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(x[g * 32 + i]));
        for (int i = 0; i < 32; i++)
            CHECK(fabsf(y[g * 32 + i] - x[g * 32 + i]) <= most / 127 * 0.51f + 0x1p-25f);
    }
}

TEST(quantize_q4_k_is_better_than_even_steps_over_the_range)
{
    float x[N];

    fill(x, N, 0.02f, 0);
    CHECK(q4_k_error(x) < 0.85 * plain_error(x));
    fill(x, N, 3.0f, 0.5f);
    CHECK(q4_k_error(x) < 0.85 * plain_error(x));
}

TEST(quantize_q4_k_of_few_levels_is_nearly_exact)
{
    float x[N];

    for (int i = 0; i < N; i++) x[i] = 0.25f * (float)(i % 16) - 1.5f;
    CHECK(q4_k_error(x) < 1e-6 * N);
    for (int i = 0; i < N; i++) x[i] = -0.7f;
    CHECK(q4_k_error(x) < 1e-6 * N);
    memset(x, 0, sizeof x);
    CHECK(q4_k_error(x) <= 0);
}

TEST(quantize_q4_k_of_extremes_stays_finite)
{
    float x[N];

    fill(x, N, 1e30f, 0);
    (void)q4_k_error(x);
    fill(x, N, 1e-38f, 0);
    (void)q4_k_error(x);
    memset(x, 0, sizeof x);
    x[0] = 1e5f; /* one value far from the others */
    x[N - 1] = -1e5f;
    CHECK(q4_k_error(x) < 1e4);
}

TEST(quantize_fits_whole_blocks_of_known_types)
{
    CHECK(quantize_fits(GGUF_Q4_K, 512) && !quantize_fits(GGUF_Q4_K, 384));
    CHECK(quantize_fits(GGUF_Q8_0, 384) && !quantize_fits(GGUF_Q8_0, 48));
    CHECK(quantize_fits(GGUF_F16, 3) && quantize_fits(GGUF_BF16, 3));
    CHECK(!quantize_fits(GGUF_Q2_K, 512));
}
