/* test_convert_arch.c - random models of many families as the folders that transformers would
 * write (their config.json and the names of their tensors stand in arch/hf-<name>.json): what
 * `convert` makes of a folder is the model it came from, tensor for tensor and key for key. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/matrix.h"
#include "server/convert/convert.h"
#include "server/fault.h"
#include "tests/folder.h"
#include "tests/hf.h"
#include "tests/random.h"
#include "tests/read_file.h"
#include "tests/test.h"

static cJSON *read_record(const char *name)
{
    char path[128];
    size_t n = 0;
    char *text;
    cJSON *all;

    snprintf(path, sizeof path, "tests/golden/arch/hf-%s.json", name);
    text = read_file(path, &n);
    CHECK(text != NULL);
    all = cJSON_ParseWithLength(text, n);
    free(text);
    CHECK(cJSON_GetObjectItemCaseSensitive(all, "folder") != NULL);
    return all;
}

/* Numbers to the bit, but where a gain was stored less 1: that rounds. */
static bool same_tensor(const gguf_tensor *a, const gguf_tensor *b, float bound)
{
    float *x = malloc(2 * a->dim[0] * sizeof *x), *y = x + a->dim[0];
    bool same = a->type == b->type && a->n_dims == b->n_dims;

    CHECK(x != NULL);
    for (int i = 0; i < GGUF_MAX_DIMS; i++) same = same && a->dim[i] == b->dim[i];
    for (size_t r = 0; same && r < a->dim[1]; r++) {
        CHECK(matrix_read_row(a, r, x) == ERR_OK && matrix_read_row(b, r, y) == ERR_OK);
        for (size_t i = 0; i < a->dim[0]; i++) same = same && fabsf(x[i] - y[i]) <= bound;
    }
    free(x);
    return same;
}

static bool same_tensors(const gguf *a, const gguf *b, float bound)
{
    bool same = gguf_tensors(a) == gguf_tensors(b);

    for (size_t i = 0; i < gguf_tensors(a); i++) {
        const gguf_tensor *t = gguf_tensor_at(a, i), *other;
        char name[64];

        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.at);
        other = gguf_find(b, name);
        if (other && same_tensor(t, other, bound)) continue;
        fprintf(stderr, "%s differs\n", name);
        same = false;
    }
    return same;
}

/* Every number of the random model's architecture. */
static bool same_keys(const gguf *a, const gguf *b)
{
    gguf_text arch, other;
    bool same = true;

    CHECK(gguf_get_text(a, "general.architecture", &arch) == ERR_OK);
    CHECK(gguf_get_text(b, "general.architecture", &other) == ERR_OK);
    CHECK(arch.n == other.n && memcmp(arch.at, other.at, arch.n) == 0);
    for (size_t i = 0; i < gguf_keys(a); i++) {
        const gguf_text key = gguf_key_at(a, i, NULL);
        double x = 0, y = -1;
        char name[128];

        snprintf(name, sizeof name, "%.*s", (int)key.n, key.at);
        if (strncmp(name, arch.at, arch.n) != 0 || gguf_get_f64(a, name, &x) != ERR_OK)
            continue;
        if (gguf_get_f64(b, name, &y) == ERR_OK && x == y) continue;
        fprintf(stderr, "%s is %g, was %g\n", name, y, x);
        same = false;
    }
    return same;
}

static void check_family(const char *name)
{
    cJSON *all = read_record(name);
    const cJSON *record = cJSON_GetObjectItemCaseSensitive(all, "folder");
    const folder p = folder_make();
    char arguments[256], in[FOLDER_PATH], out[FOLDER_PATH], *path;
    convert_made made;
    gguf *was, *is;
    fault why = {0};

    snprintf(arguments, sizeof arguments, "%s --type F16",
             cJSON_GetObjectItemCaseSensitive(all, "model")->valuestring);
    path = random_make(arguments);
    CHECK(gguf_open(&was, path, &why) == ERR_OK);
    hf_write_as(was, folder_path(&p, "hf", in), record);
    if (!convert_run(&(convert_wish){.folder = in,
                                     .out = folder_path(&p, "out.gguf", out),
                                     .type = GGUF_F16,
                                     .threads = 1},
                     &made, &why))
        fprintf(stderr, "%s: %s\n", name, why.sentence);
    CHECK(gguf_open(&is, out, &why) == ERR_OK);
    CHECK(same_keys(was, is));
    CHECK(same_tensors(was, is, strcmp(name, "gemma") == 0 ? 1e-6f : 0));
    gguf_close(is);
    gguf_close(was);
    random_remove(path);
    folder_remove(&p);
    cJSON_Delete(all);
}

/* Readers take the last of each four layers for the one that sees all. */
TEST(convert_refuses_a_pattern_that_no_key_says)
{
    cJSON *all = read_record("cohere2"),
          *record = cJSON_GetObjectItemCaseSensitive(all, "folder"),
          *config = cJSON_GetObjectItemCaseSensitive(record, "config"),
          *types = cJSON_GetObjectItemCaseSensitive(config, "layer_types");
    const folder p = folder_make();
    char in[FOLDER_PATH], out[FOLDER_PATH],
        *path = random_make(cJSON_GetObjectItemCaseSensitive(all, "model")->valuestring);
    convert_made made;
    fault why = {0};
    gguf *g;

    CHECK(gguf_open(&g, path, &why) == ERR_OK);
    cJSON_ReplaceItemInArray(types, 1, cJSON_CreateString("full_attention"));
    hf_write_as(g, folder_path(&p, "hf", in), record);
    CHECK(!convert_run(&(convert_wish){.folder = in,
                                       .out = folder_path(&p, "out.gguf", out),
                                       .type = GGUF_F16,
                                       .threads = 1},
                       &made, &why));
    CHECK(strstr(why.sentence, "layer_types other than every fourth"));
    gguf_close(g);
    random_remove(path);
    folder_remove(&p);
    cJSON_Delete(all);
}

#define FAMILY_TEST(id, name)                  \
    TEST(convert_gives_a_model_of_##id##_back) \
    {                                          \
        check_family(name);                    \
    }

FAMILY_TEST(gemma, "gemma")
FAMILY_TEST(granite, "granite")
FAMILY_TEST(olmo2, "olmo2")
FAMILY_TEST(olmo3, "olmo3")
FAMILY_TEST(smollm3, "smollm3")
FAMILY_TEST(mistral3, "mistral3")
FAMILY_TEST(glm4, "glm4")
FAMILY_TEST(command_r, "command-r")
FAMILY_TEST(cohere2, "cohere2")
FAMILY_TEST(starcoder2, "starcoder2")
FAMILY_TEST(stablelm, "stablelm")
FAMILY_TEST(exaone4, "exaone4")
FAMILY_TEST(seed_oss, "seed_oss")
