/* test_types.c - models of every weight type: logits beside those of the same weights as
 * floats, and beside a reference implementation's on the same file (types.json). */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/model/sample.h"
#include "tests/folder.h"
#include "tests/lab.h"
#include "tests/read_file.h"
#include "tests/test.h"

enum { TOKENS = 24 };

/* The folder of the test tools: ../tools from this program's own place. */
static void find_tools(char *path, size_t n)
{
    char self[4096];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

    CHECK(length > 0);
    self[length] = '\0';
    for (int up = 0; up < 2; up++) *strrchr(self, '/') = '\0';
    snprintf(path, n, "%s/tools", self);
}

static void run_tool(const char *command)
{
    char tools[4200], line[9000];

    find_tools(tools, sizeof tools);
    snprintf(line, sizeof line, "%s/%s", tools, command);
    CHECK(system(line) == 0);
}

static void write_random_model(const char *path)
{
    char line[128 + FOLDER_PATH];

    snprintf(line, sizeof line,
             "random_model --d 256 --layers 2 --heads 4 --kv-heads 2 --ffn 512 --vocab 8192 "
             "--ctx 256 --type f32 %s",
             path);
    run_tool(line);
}

static void requantize(const char *type, const char *from, const char *to)
{
    char line[64 + 2 * FOLDER_PATH];

    snprintf(line, sizeof line, "requantize %s %s %s", type, from, to);
    run_tool(line);
}

/* Logits [TOKENS,V] with exact keys and values; the caller frees. */
static float *read_logits(const char *path, const char *type, size_t *V)
{
    int32_t ids[TOKENS];
    float *logits;
    lab l;

    lab_open(&l, path, "kv32", 1);
    CHECK(strcmp(l.m->weight_type, type) == 0);
    for (int32_t i = 0; i < TOKENS; i++) ids[i] = 300 + i * 137;
    *V = l.m->V;
    logits = malloc(TOKENS * l.m->V * sizeof *logits);
    CHECK(logits != NULL);
    cache_end(lab_read(&l, ids, TOKENS, LAB_BLOCKS, logits));
    lab_close(&l);
    return logits;
}

/* Size of a - b beside that of b. */
static double relative(const float *a, const float *b, size_t n)
{
    double off = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        off += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        all += (double)b[i] * b[i];
    }
    return sqrt(off / all);
}

/* Largest difference of a log-probability of the reference's ten best. */
static double top_error(const cJSON *golden, const float *logits, size_t V)
{
    const cJSON *c;
    double worst = 0;
    int n = 0;

    cJSON_ArrayForEach (c, golden) {
        const cJSON *token = cJSON_GetObjectItemCaseSensitive(c, "token");
        const cJSON *id = cJSON_GetObjectItemCaseSensitive(c, "ids")->child;
        const cJSON *want = cJSON_GetObjectItemCaseSensitive(c, "logprobs")->child;
        const float *row = logits + (size_t)token->valuedouble * V;

        for (; want; id = id->next, want = want->next, n++)
            worst = fmax(worst, fabs((double)sample_logprob(row, V, (int32_t)id->valuedouble) -
                                     want->valuedouble));
    }
    CHECK(n == 40);
    return worst;
}

/* Codes of 8 bits for groups of 32 activations are off by a hundred and eightieth of their
 * size or so; through the products of two layers that comes to one hundredth of the logits, the
 * same for every type. */
TEST(types_give_the_logits_of_their_weights_as_floats)
{
    static const char *const types[] = {
        "Q8_0",
#define QUANT(type, ...) #type,
#include "engine/kern/quants.def"
#undef QUANT
    };
    const folder in = folder_make();
    char base[FOLDER_PATH], coded[FOLDER_PATH], plain[FOLDER_PATH];

    folder_path(&in, "base.gguf", base);
    folder_path(&in, "coded.gguf", coded);
    folder_path(&in, "plain.gguf", plain);
    write_random_model(base);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        float *a, *b;
        size_t V;
        double off;

        requantize(types[i], base, coded);
        requantize("F32", coded, plain);
        a = read_logits(coded, types[i], &V);
        b = read_logits(plain, "F32", &V);
        off = relative(a, b, TOKENS * V);
        printf("%-6s logits are %.2g off, KL %.2g\n", types[i], off, lab_kl(b, a, TOKENS, V));
        CHECK(off > 0 && off < 0.02);
        free(a);
        free(b);
    }
    folder_remove(&in);
}

TEST(types_mixed_in_a_file_are_named_by_the_one_with_most_bytes)
{
    const folder in = folder_make();
    char base[FOLDER_PATH], mixed[FOLDER_PATH];
    float *logits;
    size_t V;

    folder_path(&in, "base.gguf", base);
    folder_path(&in, "mixed.gguf ffn_down=Q6_K attn_v=Q8_0", mixed);
    write_random_model(base);
    requantize("Q4_K", base, mixed);
    *strchr(mixed, ' ') = '\0';
    logits = read_logits(mixed, "Q4_K", &V); /* the last one is blk.1.ffn_down */
    CHECK(logits[0] == logits[0]);
    free(logits);
    folder_remove(&in);
}

/* The reference rounds activations to 8 bits too, K-quants' for 256 columns at once: 0.06 was
 * measured. Floats show that both have the same model. */
TEST(types_give_the_log_probabilities_of_the_reference)
{
    const folder in = folder_make();
    char base[FOLDER_PATH], coded[FOLDER_PATH];
    char *text = read_file("tests/golden/types.json", NULL);
    cJSON *golden = cJSON_Parse(text);
    const cJSON *c;

    CHECK(golden != NULL);
    folder_path(&in, "base.gguf", base);
    folder_path(&in, "coded.gguf", coded);
    write_random_model(base);
    cJSON_ArrayForEach (c, golden) {
        float *logits;
        double off;
        size_t V;

        requantize(c->string, base, coded);
        logits = read_logits(coded, c->string, &V);
        off = top_error(c, logits, V);
        printf("%-6s ten best within %.2g\n", c->string, off);
        CHECK(off < (strcmp(c->string, "F32") == 0 ? 1e-3 : 0.1));
        free(logits);
    }
    cJSON_Delete(golden);
    free(text);
    folder_remove(&in);
}
