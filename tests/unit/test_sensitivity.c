/* test_sensitivity.c - nats for an error of one unit of a layer's form: what scaling form and
 * power does to them follows from the definition, and a layer that nothing comes out of is the
 * least sensitive. */
#include "xcache/calibrate/sensitivity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "server/threads.h"
#include "tests/test.h"
#include "tests/tiny.h"

enum { L = 3, E = 64, C = 32, ROW = 384, V = 263, SILENT = 1 };

static const stage untold = {0};

typedef struct bench {
    unsigned char *bytes;
    gguf *file;
    model *m;
    kern kern;
    team *team;
    inputs x;
    int32_t ids[ROW];
    double form[L][2 * E * C];
    sensitivity_layer layers[L];
    double out[L];
} bench;

/* A third layer with weights of its own. */
static void add_layer(tiny *t)
{
    static const char *const matrices[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                           "ffn_gate", "ffn_up", "ffn_down"};
    char name[64];

    tiny_set_u32(t, "llama.block_count", L);
    tiny_add_tensor(t, "blk.2.attn_norm.weight", 64, 0);
    tiny_add_tensor(t, "blk.2.ffn_norm.weight", 64, 0);
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
        snprintf(name, sizeof name, "blk.2.%s.weight", matrices[i]);
        tiny_add_tensor(t, name, 64, 64);
    }
}

/* Forms with a diagonal from 1 to 2 and a little beside it. */
static void set_forms(bench *b)
{
    for (size_t l = 0; l < L; l++) {
        for (size_t r = 0; r < 2 * E; r++) {
            b->form[l][r * C + r % C] = 1 + (double)(r % 7) / 6;
            if (r % C) {
                b->form[l][r * C + r % C - 1] = .2;
                b->form[l][(r - 1) * C + r % C] = .2;
            }
        }
        b->layers[l] = (sensitivity_layer){b->form[l], 60};
    }
}

/* `silent`: attention of that layer adds nothing to the stream; 0: none is. */
static bench *open_bench(int threads, int silent)
{
    bench *b = calloc(1, sizeof *b);
    tiny *t = tiny_new();
    uint32_t state = 1;
    reader_model parts;
    size_t n;

    CHECK(b != NULL);
    add_layer(t);
    if (silent)
        memset(t->data + tiny_find(t, "blk.1.attn_output.weight")->offset, 0,
               64 * 64 * sizeof(float));
    b->bytes = tiny_write(t, &n, NULL, NULL);
    tiny_free(t);
    CHECK(gguf_open_memory(&b->file, b->bytes, n, NULL) == ERR_OK);
    CHECK(model_open(&b->m, b->file, 0, NULL) == ERR_OK);
    kern_init(&b->kern, cpu_flags());
    CHECK(threads_open(&b->team, threads) == ERR_OK);
    for (size_t i = 0; i < ROW; i++) {
        state = state * 1664525u + 1013904223u;
        b->ids[i] = (int32_t)((state >> 8) % V);
    }
    parts = (reader_model){b->m, &b->kern, b->team, CACHE_BLOCK_TOKENS};
    CHECK(inputs_open(&b->x, &parts, &(reader_text){b->ids, 1, ROW}, &untold) == ERR_OK);
    set_forms(b);
    return b;
}

static void close_bench(bench *b)
{
    inputs_close(&b->x);
    threads_close(b->team);
    model_close(b->m);
    gguf_close(b->file);
    free(b->bytes);
    free(b);
}

static void find(bench *b)
{
    const reader_model parts = {b->m, &b->kern, b->team, CACHE_BLOCK_TOKENS};

    memset(b->out, 0xff, sizeof b->out);
    CHECK(sensitivity_find(&parts, &b->x, b->ids, b->layers, b->out, &untold) == ERR_OK);
}

/* Find again with a layer's form and power times so much; how its factor changes. */
static double change(bench *b, size_t l, double form, double power)
{
    const double power_before = b->layers[l].power, before = b->out[l];

    for (size_t i = 0; i < 2 * E * C; i++) b->form[l][i] *= form;
    b->layers[l].power *= power;
    find(b);
    for (size_t i = 0; i < 2 * E * C; i++) b->form[l][i] /= form;
    b->layers[l].power = power_before;
    return b->out[l] / before;
}

static bool near(double a, double b, double share)
{
    return fabs(a - b) <= share * b;
}

TEST(sensitivity_is_positive_but_for_the_first_layer)
{
    bench *b = open_bench(2, 0);

    find(b);
    CHECK(b->out[0] == 0);
    for (size_t l = 1; l < L; l++) CHECK(isfinite(b->out[l]) && b->out[l] > 0);
    close_bench(b);
}

/* Twice the form, and so twice the power of what is coded: the noise is the same, and an error
 * of it is twice as many units. */
TEST(sensitivity_halves_where_form_and_power_double)
{
    bench *b = open_bench(2, 0);

    for (size_t l = 1; l < L; l++) {
        find(b);
        CHECK(near(change(b, l, 2, 2), .5, 1e-2));
    }
    close_bench(b);
}

/* Twice the form alone: half the noise's power for as many units. */
TEST(sensitivity_halves_where_a_form_doubles)
{
    bench *b = open_bench(2, 0);

    for (size_t l = 1; l < L; l++) {
        find(b);
        CHECK(near(change(b, l, 2, 1), .5, .1));
    }
    close_bench(b);
}

/* Nats grow with the power of small noise, so that a unit is worth as much. */
TEST(sensitivity_stays_where_the_power_doubles)
{
    bench *b = open_bench(2, 0);

    for (size_t l = 1; l < L; l++) {
        find(b);
        CHECK(near(change(b, l, 1, 2), 1, .1));
    }
    close_bench(b);
}

TEST(sensitivity_of_a_layer_that_nothing_comes_out_of_is_the_least)
{
    bench *b = open_bench(2, SILENT), *whole = open_bench(2, 0);

    find(b);
    find(whole);
    /* what is taken where nothing was measured, for three thousandths of the power */
    CHECK(near(b->out[SILENT], 1e-9 / (.003 * b->layers[SILENT].power), 1e-6));
    for (size_t l = 1; l < L; l++)
        if (l != SILENT) CHECK(b->out[SILENT] < b->out[l] / 10);
    CHECK(b->out[SILENT] < whole->out[SILENT] / 10);
    close_bench(b);
    close_bench(whole);
}

TEST(sensitivity_needs_a_block_that_reads_another)
{
    bench *b = open_bench(1, 0);
    const reader_model parts = {b->m, &b->kern, b->team, CACHE_BLOCK_TOKENS};

    b->x.row_tokens = 2 * CACHE_BLOCK_TOKENS - 1;
    CHECK(sensitivity_find(&parts, &b->x, b->ids, b->layers, b->out, &untold) == ERR_EMPTY);
    b->x.row_tokens = 2 * CACHE_BLOCK_TOKENS;
    CHECK(sensitivity_find(&parts, &b->x, b->ids, b->layers, b->out, &untold) == ERR_OK);
    close_bench(b);
}

TEST(sensitivity_is_the_same_at_any_number_of_threads)
{
    bench *alone = open_bench(1, 0);

    find(alone);
    for (int threads = 2; threads <= 4; threads += 2) {
        bench *many = open_bench(threads, 0);

        find(many);
        CHECK(memcmp(alone->out, many->out, sizeof alone->out) == 0);
        close_bench(many);
    }
    close_bench(alone);
}
