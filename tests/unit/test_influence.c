/* test_influence.c - forms and weights are those of a plain loop in double precision over every
 * query that is looked at and all of its keys: grouped heads, norms of heads, windows, capped
 * scores, and angles whose cosines and sines have a size of their own. */
#include "xcache/calibrate/influence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "server/threads.h"
#include "tests/attended.h"
#include "tests/random.h"
#include "tests/test.h"
#include "xcache/sink_table.h"

enum { ROW = ATTENDED_ROW, N = ATTENDED_N, ROWS = N / ROW, STRIDE = ATTENDED_STRIDE };

#define SHAPE " --layers 2 --d 64 --heads 4 --kv-heads 2 --ffn 64 --ctx 512 "

static const stage untold = {0};

typedef struct bench {
    gguf *file;
    model *m;
    kern kern;
    team *team;
    inputs x;
    influence *found; /* [L] */
    double *form;     /* what they are made of */
    float *weights;
} bench;

static void find(bench *b)
{
    const size_t L = b->m->L, numbers = 2 * b->m->E * b->m->C;
    const reader_model parts = {b->m, &b->kern, b->team, CACHE_BLOCK_TOKENS};

    b->found = calloc(L, sizeof *b->found);
    b->form = malloc(L * numbers * sizeof *b->form);
    b->weights = malloc(L * 2 * N * sizeof *b->weights);
    CHECK(b->found && b->form && b->weights);
    for (size_t l = 0; l < L; l++) {
        b->found[l].form = b->form + l * numbers;
        b->found[l].key = b->weights + l * 2 * N;
        b->found[l].value = b->found[l].key + N;
    }
    CHECK(influence_find(&parts, &b->x, ROWS, b->found, &untold) == ERR_OK);
}

static void open_bench(bench *b, const char *arguments, int threads)
{
    static int32_t ids[N];
    char *path = random_make(arguments);
    uint32_t state = 1;
    reader_model parts;

    *b = (bench){0};
    CHECK(gguf_open(&b->file, path, NULL) == ERR_OK);
    random_remove(path);
    kern_init(&b->kern, cpu_flags());
    CHECK(model_open(&b->m, b->file, 0, NULL) == ERR_OK);
    CHECK(threads_open(&b->team, threads) == ERR_OK);
    for (size_t i = 0; i < N; i++) {
        state = state * 1664525u + 1013904223u;
        ids[i] = (int32_t)((state >> 8) % b->m->V);
    }
    parts = (reader_model){b->m, &b->kern, b->team, CACHE_BLOCK_TOKENS};
    CHECK(inputs_open(&b->x, &parts, &(reader_text){ids, ROWS, ROW}, &untold) == ERR_OK);
    find(b);
}

static void close_bench(bench *b)
{
    inputs_close(&b->x);
    threads_close(b->team);
    model_close(b->m);
    gguf_close(b->file);
    free(b->found);
    free(b->form);
    free(b->weights);
}

/* --- against it --- */

static double most_of(const double *x, size_t n)
{
    double most = 0;

    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(x[i]));
    return most;
}

static void check_weights(const float *found, const double *wanted)
{
    const double most = most_of(wanted, N);

    CHECK(most > 0);
    for (size_t t = 0; t < N; t++)
        CHECK(fabs((double)found[t] - wanted[t]) <= 1e-3 * wanted[t] + 1e-7 * most);
}

static void check_values(const double *found, const double *wanted, size_t n)
{
    const double most = most_of(wanted, n);

    CHECK(most > 0);
    for (size_t i = 0; i < n; i++) CHECK(fabs(found[i] - wanted[i]) <= 1e-4 * most);
}

/* A head's form of keys is drawn: its trace and all of it, by how long the difference is. */
static void check_keys(const double *found, const double *wanted, size_t C)
{
    double trace[2] = {0}, length = 0, apart = 0;

    for (size_t c = 0; c < C; c++) {
        trace[0] += found[c * C + c];
        trace[1] += wanted[c * C + c];
    }
    for (size_t i = 0; i < C * C; i++) {
        length += wanted[i] * wanted[i];
        apart += (found[i] - wanted[i]) * (found[i] - wanted[i]);
    }
    CHECK(fabs(trace[0] - trace[1]) <= .02 * trace[1]);
    CHECK(sqrt(apart / length) < .1);
}

static void check_layer(bench *b, size_t l)
{
    const model *m = b->m;
    attended *p = attended_find(&(attended_of){b->file, b->m, &b->x}, l);
    const influence *i = &b->found[l];

    check_weights(i->key, p->key);
    check_weights(i->value, p->value);
    for (size_t g = 0; g < m->G; g++)
        check_keys(i->form + g * m->C * m->C, p->form + g * m->C * m->C, m->C);
    check_values(i->form + m->E * m->C, p->form + m->E * m->C, m->E * m->C);
    attended_close(p);
}

static void check_model(const char *arguments)
{
    bench b;

    open_bench(&b, arguments, 2);

    CHECK(b.m->G < b.m->H && b.m->C <= ATTENDED_C);
    for (size_t l = 0; l < b.m->L; l++) check_layer(&b, l);
    close_bench(&b);
}

TEST(influence_of_grouped_heads_is_the_plain_loops)
{
    check_model("--arch llama" SHAPE);
}

TEST(influence_of_heads_with_biases_is_the_plain_loops)
{
    check_model("--arch qwen2" SHAPE);
}

TEST(influence_of_heads_with_norms_is_the_plain_loops)
{
    check_model("--arch qwen3 --head-dim 32" SHAPE);
}

TEST(influence_in_windows_is_the_plain_loops)
{
    check_model("--arch gemma3 --window 150" SHAPE);
}

TEST(influence_of_capped_scores_is_the_plain_loops)
{
    check_model("--arch gemma2 --window 200" SHAPE);
}

/* Half of a head turns, and by cosines and sines that are larger than 1. */
TEST(influence_of_scaled_angles_is_the_plain_loops)
{
    check_model("--arch llama --rope yarn --turning 8" SHAPE);
}

/* --- what does not count --- */

TEST(influence_is_none_of_sinks_and_of_the_last_block)
{
    bench b;

    open_bench(&b, "--arch llama" SHAPE, 2);
    for (size_t l = 0; l < b.m->L; l++)
        for (size_t t = 0; t < N; t++) {
            const size_t at = t % ROW;
            const bool counts = at >= SINK_TOKENS && at < ROW - CACHE_BLOCK_TOKENS;

            CHECK(counts ? b.found[l].key[t] > 0 : b.found[l].key[t] == 0);
            CHECK(counts ? b.found[l].value[t] > 0 : b.found[l].value[t] == 0);
        }
    close_bench(&b);
}

/* A token that is farther back than a window, counted from the first query behind its block. */
TEST(influence_is_none_of_what_no_window_shows)
{
    size_t seen = 0;
    bench b;

    open_bench(&b, "--arch gemma3 --window 40" SHAPE, 2);
    for (size_t t = 0; t < N; t++) {
        const size_t at = t % ROW, behind = (at / CACHE_BLOCK_TOKENS + 1) * CACHE_BLOCK_TOKENS;
        const bool counts = at >= SINK_TOKENS && behind < ROW && behind + STRIDE - 1 < at + 40;

        CHECK(b.m->layers[0].window == 40);
        CHECK((b.found[0].value[t] > 0) == counts);
        seen += counts;
    }
    CHECK(seen > 100 && seen < N / 4);
    close_bench(&b);
}

/* --- moments --- */

/* Sum over tokens of y^T form y, and of squares, y less its mean. */
static void check_moments(bench *b, size_t l)
{
    const model *m = b->m;
    const size_t E = m->E, C = m->C;
    const influence *f = &b->found[l];
    double *y = malloc(2 * E * N * sizeof *y), variance[2] = {0}, power = 0;
    attended *p = attended_open(&(attended_of){b->file, b->m, &b->x}, l);

    CHECK(y != NULL);
    for (size_t row = 0; row < ROWS; row++) {
        inputs_read(&b->x, l, row * ROW, ROW, p->x);
        for (size_t t = 0; t < ROW; t++) {
            double *of = y + (row * ROW + t) * 2 * E;

            attended_apply(p, p->wk, NULL, E, p->x + t * m->D, of);
            attended_apply(p, p->wv, NULL, E, p->x + t * m->D, of + E);
        }
    }
    for (size_t r = 0; r < 2 * E; r++) {
        double mean = 0;

        for (size_t t = 0; t < N; t++) mean += y[t * 2 * E + r] / N;
        for (size_t t = 0; t < N; t++) y[t * 2 * E + r] -= mean;
        for (size_t t = 0; t < N; t++)
            variance[r >= E] += y[t * 2 * E + r] * y[t * 2 * E + r] / N / (double)E;
    }
    for (size_t t = 0; t < N; t++)
        for (size_t r = 0; r < 2 * E; r++)
            for (size_t c = 0; c < C; c++)
                power += y[t * 2 * E + r] * f->form[r * C + c] * y[t * 2 * E + r / C * C + c] /
                         N;
    CHECK(fabs(f->power - power) < 1e-3 * power);
    for (int i = 0; i < 2; i++) CHECK(fabs(f->variance[i] - variance[i]) < 1e-3 * variance[i]);
    attended_close(p);
    free(y);
}

TEST(influence_powers_and_variances_are_of_what_the_weights_give)
{
    static const char *const models[] = {"--arch qwen2" SHAPE,
                                         "--arch qwen3 --head-dim 32" SHAPE};

    for (int i = 0; i < 2; i++) {
        bench b;

        open_bench(&b, models[i], 2);

        for (size_t l = 0; l < b.m->L; l++) check_moments(&b, l);
        close_bench(&b);
    }
}

/* --- threads --- */

TEST(influence_is_the_same_at_any_number_of_threads)
{
    static const char arguments[] = "--arch qwen3 --head-dim 32" SHAPE;
    size_t L, numbers;
    bench alone;

    open_bench(&alone, arguments, 1);
    L = alone.m->L;
    numbers = 2 * alone.m->E * alone.m->C;
    for (int threads = 2; threads <= 4; threads += 2) {
        bench many;

        open_bench(&many, arguments, threads);

        CHECK(memcmp(alone.form, many.form, L * numbers * sizeof *alone.form) == 0);
        CHECK(memcmp(alone.weights, many.weights, L * 2 * N * sizeof *alone.weights) == 0);
        for (size_t l = 0; l < L; l++) {
            CHECK(alone.found[l].power == many.found[l].power);
            CHECK(memcmp(alone.found[l].variance, many.found[l].variance,
                         sizeof many.found[l].variance) == 0);
        }
        close_bench(&many);
    }
    close_bench(&alone);
}
