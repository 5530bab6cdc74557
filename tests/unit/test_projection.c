/* test_projection.c - keys and values of rebuilt layer inputs, by packed weights and by floats.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gguf/gguf.h"
#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "tests/random.h"
#include "tests/test.h"
#include "xcache/codec/projection.h"
#include "xcache/codec/remat.h"

enum { ROWS = 128 };

typedef struct bench {
    gguf *file;
    model *m;
    kern kern;
    projection p;
    float *x;    /* [ROWS,D] */
    float *k;    /* [2,ROWS,E]: k, then v */
    float *temp; /* aligned, of NaN */
} bench;

static void open_bench(bench *b, const char *arguments)
{
    char *path = random_make(arguments);
    uint32_t state = 7;
    size_t bytes;

    *b = (bench){0};
    CHECK(gguf_open(&b->file, path, NULL) == ERR_OK);
    random_remove(path);
    kern_init(&b->kern, cpu_flags());
    CHECK(model_open(&b->m, b->file, 0, NULL) == ERR_OK);
    CHECK(projection_open(&b->p, b->m, &b->kern) == ERR_OK);
    bytes = (projection_temp_floats(b->m, ROWS) * sizeof(float) + 63) / 64 * 64;
    b->x = malloc(ROWS * b->m->D * sizeof *b->x);
    b->k = malloc(2 * ROWS * b->m->E * sizeof *b->k);
    b->temp = aligned_alloc(64, bytes + 64);
    CHECK(b->x && b->k && b->temp);
    memset(b->temp, 0xff, bytes + 64);
    for (size_t i = 0; i < ROWS * b->m->D; i++) {
        state = state * 1664525u + 1013904223u;
        b->x[i] = (float)(int32_t)state / 2147483648.0f;
    }
}

static void close_bench(bench *b)
{
    projection_close(&b->p);
    model_close(b->m);
    gguf_close(b->file);
    free(b->x);
    free(b->k);
    free(b->temp);
}

/* Root of the mean square of a - b, beside that of b. */
static double distance(const float *a, const float *b, size_t n)
{
    double off = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        off += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        all += (double)b[i] * (double)b[i];
    }
    return sqrt(off / all);
}

/* k, v of a layer by float products of the same weights. */
static float *exact(const bench *b, size_t layer)
{
    const size_t D = b->m->D, E = b->m->E;
    float *w = remat_weights(b->m), *out = malloc(2 * ROWS * E * sizeof *out);

    CHECK(w && out);
    for (size_t i = 0; i < 2; i++)
        remat_multiply(b->x, ROWS, D, w + (2 * layer + i) * E * D, E, out + i * ROWS * E, 0);
    free(w);
    return out;
}

static void run(bench *b, size_t layer)
{
    projection_run(&b->p, layer, b->x, ROWS, b->temp, b->k, b->k + ROWS * b->m->E);
}

/* What the forward pass makes of row t alone, by one matrix. */
static void multiply_alone(const bench *b, const matrix *w, size_t t, float *y)
{
    const size_t D = b->m->D;
    int8_t *q = aligned_alloc(64, (D + 63) / 64 * 64);
    float scale[64];
    kern_sums sums[64];
    const matrix_input in = {
        .x = b->x + t * D, .q = q, .q_scale = scale, .q_sum = sums, .T = 1, .D = D};

    CHECK(q && D / KERN_GROUP <= 64);
    b->kern.quantize_q8(in.x, D, q, scale, sums);
    matrix_multiply(w, &b->kern, &in, 0, w->panels, y, w->rows);
    free(q);
}

/* Types of one file may differ: --type is Wk's and Wv's. */
TEST(projection_of_packed_weights_is_the_forward_pass_to_the_bit)
{
    static const char *const models[] = {"--type Q8_0",
                                         "--type Q8_0 --kv-heads 1 --head-dim 24",
                                         "--type Q4_0 --d 96 --heads 2",
                                         "--type Q4_K --d 256 --ffn 256",
                                         "--type Q6_K --d 256 --ffn 256 --arch qwen2",
                                         "--type Q5_K --d 256 --ffn 256 --arch phi3"};

    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        bench b;

        open_bench(&b, models[i]);
        CHECK(b.m->int8_kv && !b.p.weights && projection_bytes(b.m) == 0);
        for (size_t l = 0; l < b.m->L; l++) {
            const model_layer *of = &b.m->layers[l];
            const size_t E = b.m->E;
            float *floats = exact(&b, l), *alone = malloc(E * sizeof *alone);

            run(&b, l);
            for (size_t t = 0; t < ROWS; t++) {
                multiply_alone(&b, &of->k, t, alone);
                CHECK(memcmp(alone, b.k + t * E, E * sizeof *alone) == 0);
                multiply_alone(&b, &of->v, t, alone);
                CHECK(memcmp(alone, b.k + (ROWS + t) * E, E * sizeof *alone) == 0);
            }
            CHECK(distance(b.k, floats, 2 * ROWS * E) < 0.01);
            free(floats);
            free(alone);
        }
        close_bench(&b);
    }
}

TEST(projection_of_float_weights_is_a_product_of_floats)
{
    static const char *const models[] = {"--type f32", "--type f16 --arch phi3", "--type bf16"};

    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        bench b;

        open_bench(&b, models[i]);
        CHECK(!b.m->int8_kv && b.p.weights && projection_temp_floats(b.m, ROWS) == 0);
        CHECK(projection_bytes(b.m) == b.m->L * 2 * b.m->E * b.m->D * sizeof(float));
        for (size_t l = 0; l < b.m->L; l++) {
            float *floats = exact(&b, l);

            run(&b, l);
            CHECK(memcmp(b.k, floats, 2 * ROWS * b.m->E * sizeof *floats) == 0);
            free(floats);
        }
        close_bench(&b);
    }
}

/* Sizes are known before a model is loaded. */
TEST(projection_is_measured_by_the_types_in_the_file)
{
    static const char *const models[] = {"--type Q8_0", "--type f16",
                                         "--type Q8_0 --arch phi3"};

    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        bench b;
        model sizes;

        open_bench(&b, models[i]);
        CHECK(model_measure(&sizes, b.file, &(model_options){0}, NULL) == ERR_OK);
        CHECK(sizes.int8_kv == b.m->int8_kv && sizes.int8_kv == (i != 1));
        CHECK(projection_bytes(&sizes) == projection_bytes(b.m));
        close_bench(&b);
    }
}
