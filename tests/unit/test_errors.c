/* test_errors.c - a layer's form is that of attention times what noise in it does: between
 * neighbours this is smoothed, but not where a norm stands behind attention. */
#include "xcache/calibrate/errors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "server/threads.h"
#include "tests/random.h"
#include "tests/test.h"
#include "xcache/calibrate/sensitivity.h"

enum { ROW = 384, ROWS = 2, N = ROWS * ROW, LAYERS = 4 };

static const stage untold = {0};

/* A model, its inputs on some text, and forms times factors, found once more. */
typedef struct bench {
    gguf *file;
    model *m;
    kern kern;
    team *team;
    reader_model parts;
    inputs x;
    int32_t ids[N];
    double *forms; /* [LAYERS,2E,C] with their base */
    double factor[LAYERS];
} bench;

static size_t form_numbers(const bench *b)
{
    return 2 * b->m->E * b->m->C;
}

static void find(bench *b)
{
    float *weights = malloc(LAYERS * 2 * N * sizeof *weights);
    influence list[LAYERS];
    sensitivity_layer layers[LAYERS];

    b->forms = malloc(LAYERS * form_numbers(b) * sizeof *b->forms);
    CHECK(weights && b->forms);
    for (size_t l = 0; l < LAYERS; l++)
        list[l] = (influence){.form = b->forms + l * form_numbers(b),
                              .key = weights + 2 * l * N,
                              .value = weights + (2 * l + 1) * N};
    CHECK(influence_find(&b->parts, &b->x, ROWS, list, &untold) == ERR_OK);
    for (size_t l = 0; l < LAYERS; l++) {
        metric_mix(&list[l], b->m->E, b->m->C);
        layers[l] = (sensitivity_layer){list[l].form, list[l].power};
    }
    CHECK(sensitivity_find(&b->parts, &b->x, b->ids, layers, b->factor, &untold) == ERR_OK);
    free(weights);
}

static bench *open_bench(const char *arguments)
{
    bench *b = calloc(1, sizeof *b);
    char *path = random_make(arguments);
    uint32_t state = 1;

    CHECK(b && gguf_open(&b->file, path, NULL) == ERR_OK);
    random_remove(path);
    kern_init(&b->kern, cpu_flags());
    CHECK(model_open(&b->m, b->file, 0, NULL) == ERR_OK && b->m->L == LAYERS);
    CHECK(threads_open(&b->team, 2) == ERR_OK);
    for (size_t i = 0; i < N; i++) {
        state = state * 1664525u + 1013904223u;
        b->ids[i] = (int32_t)((state >> 8) % b->m->V);
    }
    b->parts = (reader_model){b->m, &b->kern, b->team, CACHE_BLOCK_TOKENS};
    CHECK(inputs_open(&b->x, &b->parts, &(reader_text){b->ids, ROWS, ROW}, &untold) == ERR_OK);
    find(b);
    return b;
}

static void close_bench(bench *b)
{
    inputs_close(&b->x);
    threads_close(b->team);
    model_close(b->m);
    gguf_close(b->file);
    free(b->forms);
    free(b);
}

/* Each layer's form is its own times twice this. */
static void check_factors(bench *b, const double *factor)
{
    float *x = malloc(N * b->m->D * sizeof *x);
    algebra a;
    errors found;

    CHECK(x && algebra_open(&a, b->team, b->m->D) == ERR_OK);
    CHECK(errors_open(&found, &b->parts, &b->x, ROWS, b->ids, &a, x, &untold) == ERR_OK);
    for (size_t l = 1; l < LAYERS; l++)
        for (size_t i = 0; i < form_numbers(b); i++) {
            const double wanted = b->forms[l * form_numbers(b) + i] * 2 * factor[l];

            CHECK(fabs(errors_form(&found, l)[i] - wanted) <= 1e-9 * fabs(wanted));
        }
    errors_close(&found);
    algebra_close(&a);
    free(x);
}

TEST(errors_of_neighbours_are_smoothed)
{
    bench *b = open_bench("--arch llama --layers 4 --d 64 --heads 4 --ffn 64 --ctx 512");
    const double *f = b->factor;
    const double smooth[LAYERS] = {0, sqrt(f[1] * sqrt(f[1] * f[2])),
                                   sqrt(f[2] * sqrt(f[1] * f[3])),
                                   sqrt(f[3] * sqrt(f[2] * f[3]))};

    CHECK(!b->m->layers[1].attn_post);
    check_factors(b, smooth);
    close_bench(b);
}

TEST(errors_in_front_of_a_norm_are_each_layer_s_own)
{
    bench *b = open_bench("--arch gemma3 --layers 4 --d 64 --heads 4 --ffn 64 --ctx 512");

    CHECK(b->m->layers[1].attn_post);
    check_factors(b, b->factor);
    close_bench(b);
}
