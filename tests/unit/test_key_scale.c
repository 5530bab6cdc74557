/* test_key_scale.c - scales of keys: powers of two, alike in channels that turn together,
 * undone by queries to the last bit, and keys in eight bits are nearer with them. */
#include "engine/model/key_scale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "tests/lab.h"
#include "tests/random.h"
#include "tests/test.h"

#define SHAPE " --layers 2 --d 64 --heads 4 --kv-heads 2 --ffn 64 --ctx 512 "

typedef struct opened {
    gguf *file;
    model *m;
} opened;

static void drop_scales(model *m)
{
    for (size_t l = 0; l < m->L; l++) m->layers[l].k_scale = m->layers[l].q_scale = NULL;
}

/* Make the first channel of every key head loud, by its bias or gain, and find the scales. */
static void make_loud(model *m, float loud)
{
    for (size_t l = 0; l < m->L; l++) {
        model_layer *layer = &m->layers[l];

        for (size_t g = 0; layer->k_bias && g < m->G; g++) layer->k_bias[g * m->C] += loud;
        if (layer->k_norm) layer->k_norm[0] *= loud;
    }
    drop_scales(m);
    free(m->scales);
    CHECK(key_scale_open(m) == ERR_OK);
}

static opened open_model(const char *arguments, float loud)
{
    char *path = random_make(arguments);
    opened o;

    CHECK(gguf_open(&o.file, path, NULL) == ERR_OK);
    random_remove(path);
    CHECK(model_open(&o.m, o.file, 0, NULL) == ERR_OK);
    make_loud(o.m, loud);
    return o;
}

static void close_model(opened *o)
{
    model_close(o->m);
    gguf_close(o->file);
}

static void check_scales(const model *m)
{
    for (size_t l = 0; l < m->L; l++) {
        const model_layer *layer = &m->layers[l];
        const rope *r = layer->rope;

        CHECK(layer->k_scale && layer->q_scale);
        for (size_t e = 0; e < m->E; e++) {
            const size_t c = e % m->C;
            int exponent;

            CHECK(frexpf(layer->k_scale[e], &exponent) == 0.5f);
            CHECK(layer->k_scale[e] * layer->q_scale[e] == 1);
            if (c >= r->n) continue;
            CHECK(layer->k_scale[e] ==
                  layer->k_scale[r->halves ? e - c + (c + r->n / 2) % r->n : e - c + (c ^ 1)]);
        }
        CHECK(layer->k_scale[0] <= 0.125f); /* the loud one is made small */
    }
}

TEST(key_scales_are_powers_of_two_and_of_pairs)
{
    const char *const shapes[] = {"--arch qwen2" SHAPE, "--arch qwen3 --head-dim 32" SHAPE,
                                  "--arch gemma3 --head-dim 32" SHAPE};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        opened o = open_model(shapes[i], 50);

        check_scales(o.m);
        close_model(&o);
    }
}

/* A layer whose channels are alike has none. */
TEST(key_scales_are_left_out_where_they_would_be_one)
{
    opened o = open_model("--arch llama" SHAPE, 1);

    for (size_t l = 0; l < o.m->L; l++) CHECK(!o.m->layers[l].k_scale);
    close_model(&o);
}

/* Rounded to eight bits with one step a key, then scaled back: the mean square of what is lost
 * in the quiet channels. */
static double lost(const float *key, const float *scale, size_t C)
{
    float top = 0;
    double sum = 0;

    for (size_t c = 0; c < C; c++) top = fmaxf(top, fabsf(key[c]));
    for (size_t c = 0; c < C; c++) {
        const float step = top / 127, whole = nearbyintf(key[c] / step) * step;

        if (c == 0 || c == C / 2) continue;
        sum += pow((double)(whole - key[c]) / (double)scale[c], 2);
    }
    return sum;
}

TEST(key_scales_keep_quiet_channels_beside_a_loud_one)
{
    opened o = open_model("--arch qwen2" SHAPE, 50);
    const model *m = o.m;
    const model_layer *layer = &m->layers[0];
    float *k = calloc(2 * m->E, sizeof *k), *plain = calloc(m->E, sizeof *plain), one[64];
    kern hot;

    CHECK(k && plain && m->C <= 64);
    kern_init(&hot, cpu_flags());
    for (size_t c = 0; c < 64; c++) one[c] = 1;
    for (size_t e = 0; e < m->E; e++) k[e] = (float)(e * 37 % 19) / 9 - 1;
    model_finish_kv(m, &hot, 0, k, k + m->E, 1);
    for (size_t e = 0; e < m->E; e++) plain[e] = k[e] / layer->k_scale[e];
    for (size_t g = 0; g < m->G; g++)
        CHECK(lost(k + g * m->C, layer->k_scale + g * m->C, m->C) <
              0.01 * lost(plain + g * m->C, one, m->C));
    free(k);
    free(plain);
    close_model(&o);
}

/* --- what they must not change --- */

enum { PROMPT = 40 };

static void read_logits(lab *l, float *logits)
{
    int32_t ids[PROMPT];

    for (size_t i = 0; i < PROMPT; i++) ids[i] = (int32_t)(i * 131 % l->m->V);
    cache_end(lab_read(l, ids, PROMPT, LAB_BLOCKS, logits));
}

static void check_logits(const char *arguments)
{
    char *path = random_make(arguments);
    float *with;
    size_t n;
    lab l;

    lab_open(&l, path, "kv32", 2);
    random_remove(path);
    n = PROMPT * l.m->V;
    with = malloc(2 * n * sizeof *with);
    make_loud(l.m, 50);
    CHECK(with && l.m->layers[0].k_scale);
    read_logits(&l, with);
    drop_scales(l.m);
    read_logits(&l, with + n);
    CHECK(memcmp(with, with + n, n * sizeof *with) == 0);
    free(with);
    lab_close(&l);
}

TEST(key_scales_change_no_bit_of_a_logit)
{
    check_logits("--arch qwen2" SHAPE);
    check_logits("--arch gemma3 --head-dim 32" SHAPE);
    check_logits("--arch qwen3 --head-dim 32 --type q8_0" SHAPE);
}
