/* test_quality.c - how far each cache mode, and 8-bit weights, are from exact. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lab.h"
#include "tests/read_file.h"
#include "tests/test.h"

enum { TEXT_TOKENS = 1024, FROM = 128 };

static char mha_f16[512], wiki[512];

/* The model and the text of these tests, or false. */
static bool find_files(void)
{
    const char *at = test_shared("models/seedling-32m-mha-f16.gguf");

    if (!at) return false;
    snprintf(mha_f16, sizeof mha_f16, "%s", at);
    at = test_shared("data/wiki.test.raw");
    if (!at) return false;
    snprintf(wiki, sizeof wiki, "%s", at);
    return true;
}

/* Logits of the text's first tokens; the caller frees. */
static float *read_text(const char *gguf_path, const char *mode, size_t *V)
{
    int32_t ids[TEXT_TOKENS];
    float *logits;
    lab l;

    lab_open(&l, gguf_path, mode, 2);
    CHECK(lab_text_ids(&l, wiki, ids, TEXT_TOKENS));
    *V = l.m->V;
    logits = malloc(TEXT_TOKENS * *V * sizeof *logits);
    cache_end(lab_read(&l, ids, TEXT_TOKENS, LAB_BLOCKS, logits));
    lab_close(&l);
    return logits;
}

typedef struct bound {
    const char *mode;
    double least, most;
} bound;

/* Open pages hold halves, but those of kivi hold floats: a query sees its own block so,
 * whatever the codes. */
static void check_modes(const char *gguf_path, const bound *rows, size_t n)
{
    size_t V = 0;
    float *exact = read_text(gguf_path, "kv32", &V), *halves = read_text(gguf_path, "kv16", &V);
    const double own_kl = lab_kl(exact, halves, FROM, V);

    printf("halves: KL %.3g over positions 0..%d\n", own_kl, FROM - 1);
    CHECK(own_kl <= 2e-6);

    for (size_t i = 0; i < n; i++) {
        float *coded = read_text(gguf_path, rows[i].mode, &V);
        const double kl = lab_kl(exact + FROM * V, coded + FROM * V, TEXT_TOKENS - FROM, V);
        const float *own = strncmp(rows[i].mode, "kivi", 4) == 0 ? exact : halves;

        printf("%s: KL %.3g over positions %d..%d\n", rows[i].mode, kl, FROM, TEXT_TOKENS - 1);
        CHECK(kl <= rows[i].most && kl >= rows[i].least);
        CHECK(memcmp(own, coded, FROM * V * sizeof *own) == 0);
        free(coded);
    }
    free(exact);
    free(halves);
}

TEST(quality_of_each_mode_on_1024_tokens_is_what_the_paper_predicts)
{
    static const bound rows[] = {
        {"kv16", 0, 1e-4},     {"xq8", 1e-9, 5e-4},  {"xq4", .002, .04},   {"xq3", .01, .2},
        {"xq2", .2, 3},        {"cl4", .0008, .003}, {"cl3", .0015, .007}, {"cl2", .007, .04},
        {"kivi8", 1e-9, 1e-4}, {"kivi4", .002, .01}, {"kivi2", .05, .3},
    };

    if (!find_files()) SKIP("the f16 model or the text is not here");
    check_modes(mha_f16, rows, sizeof rows / sizeof rows[0]);
}

TEST(quality_of_each_mode_on_grouped_heads_too)
{
    static const bound rows[] = {
        {"kv16", 0, 1e-4},   {"xq8", 1e-9, 1e-4}, {"xq4", .0025, .011}, {"xq2", .07, .3},
        {"cl4", .001, .004}, {"cl3", .003, .013}, {"cl2", .018, .08},   {"kivi4", .003, .013},
    };
    const char *at = test_shared("models/seedling-38m-gqa-f16.gguf");
    char gqa[512];

    if (!at || !find_files()) SKIP("the GQA model or the text is not here");
    snprintf(gqa, sizeof gqa, "%s", test_shared("models/seedling-38m-gqa-f16.gguf"));
    check_modes(gqa, rows, sizeof rows / sizeof rows[0]);
}

/* Both files read one golden prompt. */
static void compare_8_bit(lab *f16, lab *q8, const char *name)
{
    char *text = read_file(test_shared(name), NULL);
    cJSON *golden = cJSON_Parse(text);
    const cJSON *id;
    const size_t V = f16->m->V;
    int32_t ids[256];
    size_t n = 0;
    float *a, *b;

    cJSON_ArrayForEach (id, cJSON_GetObjectItemCaseSensitive(golden, "ids"))
        ids[n++] = (int32_t)id->valuedouble;
    a = malloc(n * V * sizeof *a);
    b = malloc(n * V * sizeof *b);
    cache_end(lab_read(f16, ids, n, LAB_BLOCKS, a));
    cache_end(lab_read(q8, ids, n, LAB_BLOCKS, b));
    printf("%s: 8-bit weights agree at %.3f of %zu positions, KL %.4f\n", name,
           lab_agreement(a, b, n, V), n, lab_kl(a, b, n, V));
    CHECK(lab_agreement(a, b, n, V) >= .95);
    CHECK(lab_kl(a, b, n, V) <= .005);
    free(a);
    free(b);
    free(text);
    cJSON_Delete(golden);
}

TEST(quality_of_8_bit_weights_is_close_to_their_f16_file)
{
    lab f16, q8;

    if (!find_files()) SKIP("the f16 model is not here");
    lab_open(&f16, mha_f16, "kv32", 2);
    lab_open(&q8, LAB_EMBEDDED, "kv32", 2);
    compare_8_bit(&f16, &q8, "golden/logits/seedling-32m-mha-1.json");
    compare_8_bit(&f16, &q8, "golden/logits/seedling-32m-mha-2.json");
    lab_close(&f16);
    lab_close(&q8);
}
