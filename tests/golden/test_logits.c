/* test_logits.c - logits against an independent float32 implementation's. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/sample.h"
#include "tests/lab.h"
#include "tests/read_file.h"
#include "tests/test.h"

enum { TOP = 20 };

static size_t read_ids(const cJSON *list, int32_t *ids, size_t max)
{
    const cJSON *id;
    size_t n = 0;

    cJSON_ArrayForEach (id, list) {
        CHECK(n < max);
        ids[n++] = (int32_t)id->valuedouble;
    }
    return n;
}

/* Largest difference of a log-probability named in the golden file, over all positions. */
static double top_error(const cJSON *golden, const float *logits, size_t V)
{
    const cJSON *position;
    double worst = 0;
    size_t t = 0;

    cJSON_ArrayForEach (position, cJSON_GetObjectItemCaseSensitive(golden, "top20")) {
        const cJSON *logprobs = cJSON_GetObjectItemCaseSensitive(position, "logprobs"), *p;
        int32_t ids[TOP];
        size_t i = 0;

        read_ids(cJSON_GetObjectItemCaseSensitive(position, "ids"), ids, TOP);
        cJSON_ArrayForEach (p, logprobs) {
            const float ours = sample_logprob(logits + t * V, V, ids[i++]);

            worst = fmax(worst, fabs(ours - p->valuedouble));
        }
        t++;
    }
    return worst;
}

static double last_error(const char *name, const float *logits, size_t V)
{
    size_t n = 0;
    char *raw = read_file(test_shared(name), &n);
    double worst = 0;

    CHECK(n == V * sizeof(float));
    for (size_t i = 0; i < V; i++) {
        float x;

        memcpy(&x, raw + i * sizeof x, sizeof x);
        worst = fmax(worst, fabs((double)x - logits[i]));
    }
    free(raw);
    return worst;
}

/* The model in `file`, of which the golden files are called `of`. */
static void check_model(const char *file, const char *of, const char *mode, double bound)
{
    char path[512], name[256];
    lab l;

    snprintf(path, sizeof path, "%s", test_shared(file));
    lab_open(&l, path, mode, 2);
    for (int i = 1; i <= 2; i++) {
        int32_t ids[256];
        float *logits;
        cJSON *golden;
        double a, b;
        char *text;
        size_t n;

        snprintf(name, sizeof name, "golden/logits/%s-%d.json", of, i);
        text = read_file(test_shared(name), NULL);
        golden = cJSON_Parse(text);
        n = read_ids(cJSON_GetObjectItemCaseSensitive(golden, "ids"), ids, 256);
        logits = malloc(n * l.m->V * sizeof *logits);
        cache_end(lab_read(&l, ids, n, LAB_BLOCKS, logits));
        snprintf(name, sizeof name, "golden/logits/%s-%d.last.f32", of, i);
        a = top_error(golden, logits, l.m->V);
        b = last_error(name, logits + (n - 1) * l.m->V, l.m->V);
        printf("%s-%d %s: top 20 within %.2g, last logits within %.2g\n", of, i, mode, a, b);
        CHECK(a < bound && b < bound);
        free(logits);
        free(text);
        cJSON_Delete(golden);
    }
    lab_close(&l);
}

static void check_logits(const char *seedling, const char *mode, double bound)
{
    char file[256];

    snprintf(file, sizeof file, "models/%s-f16.gguf", seedling);
    if (!test_shared(file)) SKIP("the f16 models are not here");
    check_model(file, seedling, mode, bound);
}

TEST(logits_of_the_mha_model_with_kv32_are_the_reference)
{
    check_logits("seedling-32m-mha", "kv32", 2e-3);
}

TEST(logits_of_the_gqa_model_with_kv32_are_the_reference)
{
    check_logits("seedling-38m-gqa", "kv32", 2e-3);
}

TEST(logits_of_the_mha_model_with_kv16_are_close)
{
    check_logits("seedling-32m-mha", "kv16", 5e-2);
}

TEST(logits_of_the_gqa_model_with_kv16_are_close)
{
    check_logits("seedling-38m-gqa", "kv16", 5e-2);
}

TEST(logits_of_a_model_with_a_sentencepiece_vocabulary_are_the_reference)
{
    const char *file = "golden/models/stories260Ktok512.gguf";

    if (!test_shared(file)) SKIP("no shared folder");
    check_model(file, "stories260K", "kv32", 1e-3);
}
