/* test_salience.c - a readout that was planted in the weights of tokens is found again, from
 * those tokens alone that are stored and that somebody can look at. */
#include "xcache/calibrate/salience.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/threads.h"
#include "tests/test.h"
#include "xcache/sink_table.h"

enum { D = 24, ROWS = 12, ROW = 2 * CACHE_BLOCK_TOKENS, N = ROWS * ROW };

static float draw(uint32_t *state)
{
    float sum = -6;

    for (int i = 0; i < 12; i++) {
        *state = *state * 1664525u + 1013904223u;
        sum += (float)(*state >> 8) / 16777216;
    }
    return sum;
}

typedef struct bench {
    team *team;
    algebra a;
    inputs text; /* its sizes: halves are not read */
    influence i;
    float *x;      /* [N,D] */
    float w[D];    /* the readout */
    float *wanted; /* [N] w x */
    float out[D + 1];
    double share;
} bench;

/* Half of a token's weight is its key's, on average; noise in octaves. */
static void plant(bench *b, float noise)
{
    uint32_t state = 11;

    for (size_t c = 0; c < D; c++) b->w[c] = draw(&state) / 4;
    for (size_t t = 0; t < N; t++) {
        float z = 0;

        for (size_t c = 0; c < D; c++) {
            b->x[t * D + c] = draw(&state) + (c == 3 ? 2.0f : 0.0f);
            z += b->w[c] * b->x[t * D + c];
        }
        b->wanted[t] = z;
        z += noise * draw(&state);
        b->i.key[t] = 1e-3f * exp2f(z);
        b->i.value[t] = 50 * exp2f(z);
    }
}

static bench *open_bench(int threads, float noise)
{
    bench *b = calloc(1, sizeof *b);

    CHECK(b != NULL);
    CHECK(threads_open(&b->team, threads) == ERR_OK);
    CHECK(algebra_open(&b->a, b->team, D) == ERR_OK);
    b->text = (inputs){.L = 1, .D = D, .rows = ROWS, .row_tokens = ROW, .N = N};
    b->x = malloc(N * D * sizeof(float));
    b->wanted = malloc(3 * N * sizeof(float));
    CHECK(b->x && b->wanted);
    b->i.key = b->wanted + N;
    b->i.value = b->i.key + N;
    plant(b, noise);
    return b;
}

static void close_bench(bench *b)
{
    algebra_close(&b->a);
    threads_close(b->team);
    free(b->x);
    free(b->wanted);
    free(b);
}

static void fit(bench *b)
{
    CHECK(salience_fit(&b->a, &b->text, ROWS, b->x, &b->i, b->out, &b->share) == ERR_OK);
}

static bool is_live(size_t t)
{
    return t % ROW >= SINK_TOKENS && t % ROW < ROW - CACHE_BLOCK_TOKENS;
}

TEST(salience_finds_a_planted_readout)
{
    bench *b = open_bench(2, 0);
    float sum = 0;
    double most = 0;

    fit(b);
    /* the ridge is a hundredth of a channel's variance, and a little more for the constant */
    for (size_t c = 0; c < D; c++) CHECK(fabsf(b->out[c] - b->w[c]) < .05f);
    CHECK(b->share > .995 && b->share <= 1);
    for (size_t t = 0; t < N; t++)
        if (is_live(t)) sum += b->wanted[t];
    sum /= ROWS * (ROW - CACHE_BLOCK_TOKENS - SINK_TOKENS);
    for (size_t t = 0; t < N; t++) {
        float z = b->out[D];

        for (size_t c = 0; c < D; c++) z += b->out[c] * b->x[t * D + c];
        most = fmax(most, fabs((double)(z - (b->wanted[t] - sum))));
    }
    CHECK(most < .25);
    close_bench(b);
}

TEST(salience_explains_the_share_that_is_not_noise)
{
    bench *b = open_bench(2, 1);
    double power = 0;

    fit(b);
    for (size_t c = 0; c < D; c++) power += (double)b->w[c] * (double)b->w[c];
    /* variances of readout and noise are power and 1 */
    CHECK(fabs(b->share - power / (power + 1)) < .05);
    CHECK(b->share > .3 && b->share < .9);
    close_bench(b);
}

/* Scales of keys' and of values' weights have nothing to say. */
TEST(salience_weighs_keys_and_values_by_their_means)
{
    bench *b = open_bench(1, 0);
    float first[D + 1];

    fit(b);
    memcpy(first, b->out, sizeof first);
    for (size_t t = 0; t < N; t++) {
        b->i.key[t] *= 1024;
        b->i.value[t] /= 4096;
    }
    fit(b);
    for (size_t c = 0; c <= D; c++) CHECK(fabsf(first[c] - b->out[c]) < 1e-5f);
    /* keys that do not depend on the readout: half of it is left */
    for (size_t t = 0; t < N; t++) b->i.key[t] = 1;
    fit(b);
    CHECK(b->share < .99);
    for (size_t c = 0; c < D; c++)
        if (fabsf(b->w[c]) > .2f) CHECK(b->out[c] / b->w[c] > .2f && b->out[c] / b->w[c] < .9f);
    close_bench(b);
}

/* Change one token's weight; does the readout change? */
static bool counts(bench *b, size_t t)
{
    const float key = b->i.key[t], value = b->i.value[t];
    float before[D + 1];

    fit(b);
    memcpy(before, b->out, sizeof before);
    b->i.key[t] *= 1000;
    b->i.value[t] *= 1000;
    fit(b);
    b->i.key[t] = key;
    b->i.value[t] = value;
    return memcmp(before, b->out, sizeof before) != 0;
}

TEST(salience_does_not_count_sinks_nor_what_no_later_block_sees)
{
    bench *b = open_bench(1, 0);
    const size_t last = ROW - CACHE_BLOCK_TOKENS;

    for (size_t row = 0; row < ROWS; row += 5) {
        CHECK(!counts(b, row * ROW) && !counts(b, row * ROW + SINK_TOKENS - 1));
        CHECK(counts(b, row * ROW + SINK_TOKENS) && counts(b, row * ROW + last - 1));
        CHECK(!counts(b, row * ROW + last) && !counts(b, row * ROW + ROW - 1));
    }
    close_bench(b);
}

TEST(salience_does_not_look_at_tokens_that_do_not_count)
{
    bench *b = open_bench(1, 0);
    float first[D + 1];

    fit(b);
    memcpy(first, b->out, sizeof first);
    for (size_t t = 0; t < N; t++) {
        if (is_live(t)) continue;
        b->i.key[t] = b->i.value[t] = NAN;
        for (size_t c = 0; c < D; c++) b->x[t * D + c] = NAN;
    }
    fit(b);
    CHECK(memcmp(first, b->out, sizeof first) == 0);
    close_bench(b);
}

TEST(salience_of_tokens_that_nobody_looked_at_is_finite)
{
    bench *b = open_bench(1, 0);

    for (size_t t = 0; t < N; t += 3) b->i.key[t] = b->i.value[t] = 0;
    fit(b);
    for (size_t c = 0; c <= D; c++) CHECK(isfinite(b->out[c]));
    memset(b->i.key, 0, N * sizeof(float));
    memset(b->i.value, 0, N * sizeof(float));
    fit(b);
    /* all alike: nothing to say, and nothing to explain */
    for (size_t c = 0; c <= D; c++) CHECK(fabsf(b->out[c]) < 1e-4f);
    CHECK(b->share >= 0 && b->share <= 1);
    close_bench(b);
}

TEST(salience_is_the_same_at_any_number_of_threads)
{
    bench *alone = open_bench(1, 1);

    fit(alone);
    for (int threads = 2; threads <= 4; threads += 2) {
        bench *many = open_bench(threads, 1);

        fit(many);
        CHECK(memcmp(alone->out, many->out, sizeof alone->out) == 0 &&
              alone->share == many->share);
        close_bench(many);
    }
    close_bench(alone);
}
