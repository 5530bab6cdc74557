/* test_embed.c - random models of every kind that makes embeddings: vectors that transformers
 * gave (arch/embed-<name>.json, which arch_hf.py records), and the same bits in any company and
 * however the work is cut. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/encoder.h"
#include "engine/model/model_load.h"
#include "server/threads.h"
#include "tests/random.h"
#include "tests/read_file.h"

#include "tests/test.h"

enum { MAX_IDS = 400, MAX_TEXTS = 16, LONGEST = 512 };

static const double bound = 1e-3;

typedef struct golden {
    cJSON *json;
    int32_t ids[MAX_IDS];
    size_t first[MAX_TEXTS], n[MAX_TEXTS], texts;
} golden;

/* A model that is open, and what makes vectors with it. */
typedef struct bench {
    gguf *file;
    model *m;
    kern hot;
    team *team;
    forward *f;
    encoder *e;
    char *path;
} bench;

static const cJSON *field(const cJSON *of, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(of, name);
}

static golden read_golden(const char *name)
{
    char path[128];
    const cJSON *item;
    golden g = {0};
    size_t n = 0;
    char *text;

    snprintf(path, sizeof path, "tests/golden/arch/embed-%s.json", name);
    text = read_file(path, &n);
    CHECK(text != NULL);
    g.json = cJSON_ParseWithLength(text, n);
    free(text);
    n = 0;
    cJSON_ArrayForEach (item, field(g.json, "ids")) {
        CHECK(n < MAX_IDS);
        g.ids[n++] = (int32_t)item->valuedouble;
    }
    cJSON_ArrayForEach (item, field(g.json, "texts")) {
        CHECK(g.texts < MAX_TEXTS);
        g.first[g.texts] = (size_t)field(item, "first")->valuedouble;
        g.n[g.texts++] = (size_t)field(item, "n")->valuedouble;
    }
    return g;
}

static void open_bench(bench *b, const char *arguments, int threads)
{
    fault why = {0};

    b->path = random_make(arguments);
    kern_init(&b->hot, cpu_flags());
    CHECK(gguf_open(&b->file, b->path, &why) == ERR_OK);
    CHECK(model_open(&b->m, b->file, 0, &why) == ERR_OK);
    CHECK(threads_open(&b->team, threads) == ERR_OK);
    CHECK(forward_open(&b->f, b->m, &b->hot, b->team, 160, 128) == ERR_OK);
    CHECK(encoder_open(&b->e, b->f, LONGEST) == ERR_OK);
}

static void close_bench(bench *b)
{
    encoder_close(b->e);
    forward_close(b->f);
    threads_close(b->team);
    model_close(b->m);
    gguf_close(b->file);
    random_remove(b->path);
}

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* Pieces of random sizes; `state` 0: the largest. Returns how many rows there were. */
static size_t run(encoder *e, uint32_t state)
{
    const size_t all = encoder_left(e);
    bool through = false;

    while (!through) {
        const size_t before = encoder_left(e), rows = state ? next(&state) % 70 + 1 : LONGEST;

        through = encoder_step(e, rows);
        CHECK(encoder_left(e) < before && before - encoder_left(e) <= rows);
    }
    CHECK(encoder_left(e) == 0);
    return all;
}

static double error_of(const cJSON *vector, const float *ours, size_t width)
{
    const cJSON *value;
    double worst = 0, most = 0;
    size_t i = 0;

    cJSON_ArrayForEach (value, vector) {
        CHECK(i < width);
        worst = fmax(worst, fabs((double)ours[i++] - value->valuedouble));
        most = fmax(most, fabs(value->valuedouble));
    }
    CHECK(i == width && most > 0);
    return worst / most;
}

/* Each text by itself, to alone [texts,width]; how far they are from the golden file. */
static double embed_each(const golden *g, bench *b, float *alone)
{
    const size_t width = encoder_width(b->e);
    const cJSON *item;
    double worst = 0;
    size_t i = 0;

    cJSON_ArrayForEach (item, field(g->json, "texts")) {
        encoder_clear(b->e);
        CHECK(encoder_add(b->e, g->ids + g->first[i], g->n[i]));
        CHECK(run(b->e, 0) == 2 * g->n[i] * b->m->L);
        worst = fmax(worst, error_of(field(item, "vector"), encoder_vector(b->e, 0), width));
        memcpy(alone + i++ * width, encoder_vector(b->e, 0), width * sizeof *alone);
    }
    return worst;
}

/* As groups, in reverse order, cut as `state` says: the same bits as alone. */
static void embed_together(const golden *g, bench *b, const float *alone, uint32_t state)
{
    const size_t width = encoder_width(b->e);

    for (size_t from = g->texts, n; from; from -= n) {
        encoder_clear(b->e);
        for (n = 0; n < from; n++)
            if (!encoder_add(b->e, g->ids + g->first[from - 1 - n], g->n[from - 1 - n])) break;
        CHECK(n > 0);
        run(b->e, state);
        for (size_t j = 0; j < n; j++)
            CHECK(memcmp(encoder_vector(b->e, j), alone + (from - 1 - j) * width,
                         width * sizeof *alone) == 0);
    }
}

/* By one thread, and by others. */
static void check_embedding(const char *name)
{
    golden g = read_golden(name);
    bench one, crowd;
    double worst;
    float *alone;

    open_bench(&one, field(g.json, "model")->valuestring, 1);
    open_bench(&crowd, field(g.json, "model")->valuestring, 3);
    alone = malloc(g.texts * encoder_width(one.e) * sizeof *alone);
    CHECK(alone != NULL);
    worst = embed_each(&g, &one, alone);
    for (uint32_t round = 0; round < 4; round++) embed_together(&g, &crowd, alone, round);
    fprintf(stderr, "%s: within %.1e of transformers'\n", name, worst);
    free(alone);
    close_bench(&one);
    close_bench(&crowd);
    cJSON_Delete(g.json);
    CHECK(worst <= bound);
}

#define EMBED_TEST(id, name)                       \
    TEST(embeddings_##id##_are_as_transformers_do) \
    {                                              \
        check_embedding(name);                     \
    }

EMBED_TEST(bert, "bert")
EMBED_TEST(bert_cls, "bert-cls")
EMBED_TEST(nomic_bert, "nomic-bert")
EMBED_TEST(qwen3, "qwen3-embedding")
EMBED_TEST(gemma, "gemma-embedding")

/* A group takes what fits its rows; a longer text is alone. */
TEST(a_group_has_room_for_some_texts)
{
    int32_t ids[LONGEST] = {0};
    size_t n = 0;
    bench b;

    open_bench(&b, "--arch qwen3", 1);
    encoder_clear(b.e);
    while (encoder_add(b.e, ids, 3)) n++;
    CHECK(n > 1 && n * 3 <= ENCODER_GROUP_ROWS);
    encoder_clear(b.e);
    CHECK(encoder_add(b.e, ids, LONGEST));
    CHECK(!encoder_add(b.e, ids, 1));
    CHECK(encoder_longest(b.e) == LONGEST);
    close_bench(&b);
}
