/* test_purity.c - row purity: a row's result does not depend on its company, its position
 * in the call, the cuts of a prompt, or the number of threads. All by memcmp. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/matrix.h"
#include "server/threads.h"
#include "tests/lab.h"
#include "tests/noise.h"
#include "tests/random.h"
#include "tests/rungs.h"
#include "tests/test.h"
#include "xcache/codec/codec.h"

enum { MAX_M = 160, COLS = 256, ROWS = 200, PROMPT = 280 };

static uint32_t noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* --- products --- */

typedef struct split {
    const matrix *m;
    const kern *k;
    const matrix_input *in;
    float *y;
    int parts;
} split;

static void multiply_part(void *arg, int i, int slot)
{
    const split *s = arg;
    const size_t n = s->m->panels, parts = (size_t)s->parts, at = (size_t)i;

    (void)slot;
    matrix_multiply(s->m, s->k, s->in, n * at / parts, n * (at + 1) / parts, s->y, s->m->rows);
}

/* All M rows of x are equal, so all rows of y must be, and equal to those of a call alone. M is
 * 1, 1 + by .. 160. */
static void check_pure(const matrix *m, const kern *k, size_t by, const float *row,
                       float *alone)
{
    float *x = malloc(MAX_M * COLS * sizeof *x), *y = malloc(MAX_M * ROWS * sizeof *y);
    int8_t *q = malloc(MAX_M * COLS);
    float *scale = malloc(MAX_M * COLS / KERN_GROUP * sizeof *scale);
    kern_sums *sum = malloc(MAX_M * COLS / KERN_GROUP * sizeof *sum);
    matrix_input in = {.x = x, .q = q, .q_scale = scale, .q_sum = sum, .D = COLS};

    for (size_t t = 0; t < MAX_M; t++) {
        memcpy(x + t * COLS, row, COLS * sizeof *x);
        k->quantize_q8(row, COLS, q + t * COLS, scale + t * (COLS / KERN_GROUP),
                       sum + t * (COLS / KERN_GROUP));
    }
    for (size_t M = 1; M <= MAX_M; M += by)
        for (int threads = 1; threads <= 2; threads++) {
            team *t = NULL;
            split s = {m, k, &in, y, threads == 1 ? 1 : 3};

            CHECK(threads_open(&t, threads) == ERR_OK);
            in.T = M;
            memset(y, 0, MAX_M * ROWS * sizeof *y);
            t->run(t, multiply_part, &s, s.parts);
            threads_close(t);
            if (M == 1 && threads == 1) memcpy(alone, y, ROWS * sizeof *y);
            for (size_t i = 0; i < M; i++)
                CHECK(memcmp(y + i * ROWS, alone, ROWS * sizeof *y) == 0);
        }
    free(x);
    free(y);
    free(q);
    free(scale);
    free(sum);
}

static void check_type(gguf_type type, const kern *k, size_t by, const float *row)
{
    gguf_tensor t = noise_tensor(type, COLS, ROWS, 7);
    float alone[ROWS];
    matrix m;

    CHECK(matrix_open(&m, &t) == ERR_OK);
    check_pure(&m, k, by, row, alone);
    CHECK(alone[0] != 0 && alone[0] == alone[0]);
    matrix_close(&m);
    free((void *)(uintptr_t)t.data);
}

/* Every weight type, on the rungs from `first`. */
static void check_products(size_t first, size_t by)
{
    static const gguf_type types[] = {
#define MATRIX(name, kernel, int8, panels, bytes) GGUF_##name,
#include "engine/model/matrix.def"
#undef MATRIX
    };
    float row[COLS];
    uint32_t state = 1;
    kern k;

    for (size_t i = 0; i < COLS; i++) row[i] = (float)noise(&state) * 0x1p-23f - 1.0f;
    for (size_t rung = first; rungs_init(rung, &k); rung++)
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
            check_type(types[i], &k, by, row);
}

/* The plain C takes a hundred times as long and has no lanes to fill: the test below does. */
TEST(purity_of_products_for_every_weight_type_and_1_to_160_rows)
{
    check_products(1, 1);
}

TEST(purity_on_every_rung_of_products_for_every_weight_type)
{
    check_products(0, MAX_M / 3);
}

/* --- whole prompts --- */

/* One prompt whole, then cut in each of the given ways; and whole again with 1 thread. */
static void check_cuts(const char *path, const char *mode, const uint32_t *cuts, size_t n)
{
    int32_t ids[PROMPT];
    uint32_t state = 5;
    float *whole = NULL, *cut = NULL;

    for (size_t i = 0; i < PROMPT; i++) ids[i] = (int32_t)(noise(&state) % 8192);
    for (int threads = 2; threads >= 1; threads--) {
        size_t bytes;
        lab l;

        lab_open(&l, path, mode, threads);
        bytes = PROMPT * l.m->V * sizeof *whole;
        if (!whole) {
            whole = malloc(bytes);
            cut = malloc(bytes);
            cache_end(lab_read(&l, ids, PROMPT, LAB_BLOCKS, whole));
        }
        for (size_t i = 0; i < (threads == 2 ? n : 1); i++) {
            memset(cut, 0, bytes);
            cache_end(lab_read(&l, ids, PROMPT, threads == 2 ? cuts[i] : LAB_BLOCKS, cut));
            CHECK(memcmp(whole, cut, bytes) == 0);
        }
        lab_close(&l);
    }
    free(whole);
    free(cut);
}

/* Twins equal the plain C to the bit, so a whole model does too, whatever the CPU. The model is
 * small, so that an emulated CPU is through with it in seconds. */
TEST(purity_on_every_rung_of_a_prompt_of_a_small_model)
{
    static const char *const modes[] = {"kv16", "kivi4", "xq4", "cl3"};
    static const uint32_t cuts[] = {LAB_BLOCKS, LAB_SINGLES, 2};
    enum { SHORT = 140 }; /* one block sealed and read back, and some rows behind it */
    char *path = random_make("--arch qwen3 --layers 3 --head-dim 32 --kv-heads 4 --type Q8_0");
    float *whole = NULL, *cut = NULL;
    int32_t ids[SHORT];
    uint32_t state = 5;

    for (size_t mode = 0; mode < sizeof modes / sizeof modes[0]; mode++) {
        size_t bytes;
        lab l;

        lab_open(&l, path, modes[mode], 2);
        bytes = SHORT * l.m->V * sizeof *whole;
        if (!whole) whole = malloc(bytes), cut = malloc(bytes);
        for (size_t i = 0; i < SHORT; i++) ids[i] = (int32_t)(noise(&state) % l.m->V);
        rungs_init(0, &l.kern);
        cache_end(lab_read(&l, ids, SHORT, LAB_BLOCKS, whole));
        for (size_t rung = 0; rungs_init(rung, &l.kern); rung++)
            for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
                cache_end(lab_read(&l, ids, SHORT, cuts[i], cut));
                CHECK(memcmp(whole, cut, bytes) == 0);
            }
        lab_close(&l);
    }
    free(whole);
    free(cut);
    random_remove(path);
}

TEST(purity_of_a_prompt_cut_at_random_places_in_every_mode)
{
    const uint32_t cuts[] = {2, 3};
    char mode[16];

    for (size_t i = 0; codec_mode(i, mode); i++) check_cuts(LAB_EMBEDDED, mode, cuts, 2);
    check_cuts(LAB_EMBEDDED, "klt16", cuts, 2); /* its plan ships */
}

TEST(purity_of_decode_against_prefill)
{
    const uint32_t cuts[] = {LAB_SINGLES};

    check_cuts(LAB_EMBEDDED, "kv16", cuts, 1);
    check_cuts(LAB_EMBEDDED, "xq4", cuts, 1);
    check_cuts(LAB_EMBEDDED, "cl3", cuts, 1);
    check_cuts(LAB_EMBEDDED, "klt16", cuts, 1);
}

TEST(purity_of_a_prompt_of_float_weights_and_grouped_heads)
{
    const uint32_t cuts[] = {LAB_SINGLES, 2};
    const char *at = test_shared("models/seedling-38m-gqa-f16.gguf");
    char path[4096];

    if (!at) SKIP("the GQA model is not here");
    snprintf(path, sizeof path, "%s", at);
    check_cuts(path, "kv16", cuts, 2);
    check_cuts(path, "xq4", cuts, 2);
    check_cuts(path, "cl3", cuts + 1, 1);
}
