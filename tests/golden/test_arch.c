/* test_arch.c - random models of every architecture: log-probabilities and greedy tokens that
 * another engine gave (arch/<name>.json, float32 keys and values), and plain loops in double
 * precision over the same file; logits and greedy tokens of transformers (arch/hf-<name>.json,
 * which arch_hf.py records). */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/sample.h"
#include "tests/lab.h"
#include "tests/plain.h"
#include "tests/random.h"
#include "tests/read_file.h"
#include "tests/test.h"

enum { TOP = 10, MAX_IDS = 600, MAX_AT = 8, GREEDY = 16 };

static const double golden_bound = 0.05, plain_bound = 1e-3, transformers_bound = 1e-3;

typedef struct golden {
    cJSON *json;
    int32_t ids[MAX_IDS], next[GREEDY];
    size_t n, at[MAX_AT], n_at;
} golden;

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

static const cJSON *field(const cJSON *of, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(of, name);
}

static golden read_golden(const char *name)
{
    char path[128];
    const cJSON *p;
    golden g = {0};
    size_t n = 0;
    char *text;

    snprintf(path, sizeof path, "tests/golden/arch/%s.json", name);
    text = read_file(path, &n);
    CHECK(text != NULL);
    g.json = cJSON_ParseWithLength(text, n);
    free(text);
    g.n = read_ids(field(g.json, "ids"), g.ids, MAX_IDS);
    CHECK(read_ids(field(g.json, "greedy"), g.next, GREEDY) == GREEDY);
    cJSON_ArrayForEach (p, field(g.json, "top10")) {
        CHECK(g.n_at < MAX_AT);
        g.at[g.n_at++] = (size_t)field(p, "at")->valuedouble;
    }
    return g;
}

/* Largest difference from the log-probabilities in the golden file. */
static double golden_error(const golden *g, const float *logits, size_t V)
{
    const cJSON *p, *logprob;
    double worst = 0;

    cJSON_ArrayForEach (p, field(g->json, "top10")) {
        const size_t at = (size_t)field(p, "at")->valuedouble;
        int32_t ids[TOP];
        size_t i = 0;

        CHECK(read_ids(field(p, "ids"), ids, TOP) == TOP);
        cJSON_ArrayForEach (logprob, field(p, "logprobs"))
            worst = fmax(worst, fabs(sample_logprob(logits + at * V, V, ids[i++]) -
                                     logprob->valuedouble));
    }
    return worst;
}

/* Largest difference of the ten best tokens' log-probabilities from the plain loops'. */
static double plain_error(const golden *g, const lab *l, const float *logits)
{
    const size_t V = l->m->V;
    float *plain = malloc(g->n_at * V * sizeof *plain);
    double worst = 0;

    CHECK(plain != NULL);
    plain_logits(l->file, l->m->ctx, g->ids, g->n, g->at, g->n_at, plain);
    for (size_t i = 0; i < g->n_at; i++) {
        sample_top best[TOP];

        sample_best(plain + i * V, V, TOP, best);
        for (size_t k = 0; k < TOP; k++)
            worst = fmax(worst, fabs(sample_logprob(logits + g->at[i] * V, V, best[k].id) -
                                     best[k].logprob));
    }
    free(plain);
    return worst;
}

static size_t best_of(const float *x, size_t V)
{
    size_t at = 0;

    for (size_t i = 1; i < V; i++)
        if (x[i] > x[at]) at = i;
    return at;
}

/* How many tokens follow as the golden file says. */
static size_t agreed(const golden *g, lab *l, context *c, float *last)
{
    size_t n = 0;

    while (n < GREEDY && best_of(last, l->m->V) == (size_t)g->next[n])
        lab_step(l, c, &g->next[n++], 1, last);
    return n;
}

static void check_arch(const char *name)
{
    golden g = read_golden(name);
    char *path = random_make(field(g.json, "model")->valuestring);
    double theirs, plain;
    float *logits;
    size_t same;
    context *c;
    lab l;

    lab_open(&l, path, "kv32", 2);
    logits = malloc(g.n * l.m->V * sizeof *logits);
    c = lab_read(&l, g.ids, g.n, LAB_BLOCKS, logits);
    theirs = golden_error(&g, logits, l.m->V);
    plain = plain_error(&g, &l, logits);
    same = agreed(&g, &l, c, logits + (g.n - 1) * l.m->V);
    fprintf(stderr, "%s: within %.5f of the golden file, %.1e of plain loops, %zu tokens\n",
            name, theirs, plain, same);
    cache_end(c);
    lab_close(&l);
    random_remove(path);
    cJSON_Delete(g.json);
    free(logits);
    CHECK(theirs <= golden_bound);
    CHECK(plain <= plain_bound);
    CHECK(same == GREEDY);
}

/* --- against transformers --- */

/* Largest difference of the logits that the golden file has, relative to the largest of them.
 */
static double logit_error(const golden *g, const float *logits, size_t V)
{
    const size_t every = (size_t)field(g->json, "every")->valuedouble;
    const cJSON *p, *value;
    double worst = 0, most = 0;

    cJSON_ArrayForEach (p, field(g->json, "logits")) {
        const float *row = logits + (size_t)field(p, "at")->valuedouble * V;
        size_t i = 0;

        cJSON_ArrayForEach (value, field(p, "values")) {
            worst = fmax(worst, fabs((double)row[i] - value->valuedouble));
            most = fmax(most, fabs(value->valuedouble));
            i += every;
        }
        CHECK(i >= V);
    }
    CHECK(most > 0);
    return worst / most;
}

static void check_transformers(const char *name)
{
    golden g = read_golden(name);
    char *path = random_make(field(g.json, "model")->valuestring);
    double relative;
    float *logits;
    size_t same;
    context *c;
    lab l;

    lab_open(&l, path, "kv32", 2);
    logits = malloc(g.n * l.m->V * sizeof *logits);
    c = lab_read(&l, g.ids, g.n, LAB_BLOCKS, logits);
    relative = logit_error(&g, logits, l.m->V);
    same = agreed(&g, &l, c, logits + (g.n - 1) * l.m->V);
    fprintf(stderr, "%s: logits within %.1e of transformers', %zu tokens\n", name, relative,
            same);
    cache_end(c);
    lab_close(&l);
    random_remove(path);
    cJSON_Delete(g.json);
    free(logits);
    CHECK(relative <= transformers_bound);
    CHECK(same == GREEDY);
}

#define ARCH_TEST(id, name)        \
    TEST(arch_##id##_as_others_do) \
    {                              \
        check_arch(name);          \
    }

#define HF_TEST(id, name)                \
    TEST(arch_##id##_as_transformers_do) \
    {                                    \
        check_transformers("hf-" name);  \
    }

ARCH_TEST(llama, "llama")
ARCH_TEST(llama_linear, "llama-linear")
ARCH_TEST(llama_yarn, "llama-yarn")
ARCH_TEST(mixtral, "mixtral")
ARCH_TEST(qwen2, "qwen2")
ARCH_TEST(qwen3, "qwen3")
ARCH_TEST(qwen3moe, "qwen3moe")
ARCH_TEST(phi3, "phi3")
ARCH_TEST(phi3_long, "phi3-long")
ARCH_TEST(gemma2, "gemma2")
ARCH_TEST(gemma3, "gemma3")

HF_TEST(mixtral, "mixtral")
HF_TEST(qwen3moe, "qwen3moe")
HF_TEST(qwen2moe, "qwen2moe")
HF_TEST(gpt_oss, "gpt-oss")
HF_TEST(gemma, "gemma")
HF_TEST(granite, "granite")
HF_TEST(granitemoe, "granitemoe")
HF_TEST(olmo2, "olmo2")
HF_TEST(olmo3, "olmo3")
HF_TEST(smollm3, "smollm3")
HF_TEST(mistral3, "mistral3")
HF_TEST(glm4, "glm4")
HF_TEST(glm4moe, "glm4moe")
HF_TEST(command_r, "command-r")
HF_TEST(command_r_plus, "command-r-plus")
HF_TEST(cohere2, "cohere2")
HF_TEST(phi2, "phi2")
HF_TEST(starcoder2, "starcoder2")
HF_TEST(stablelm, "stablelm")
HF_TEST(stablelm2_12b, "stablelm2-12b")
HF_TEST(exaone4, "exaone4")
HF_TEST(seed_oss, "seed_oss")
HF_TEST(apertus, "apertus")
HF_TEST(minimax_m2, "minimax-m2")
HF_TEST(llama4, "llama4")
