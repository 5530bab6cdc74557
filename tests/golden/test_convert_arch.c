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
static bool same_numbers(const gguf_tensor *a, const gguf_tensor *b, float bound)
{
    float *x = malloc(2 * a->dim[0] * sizeof *x), *y = x + a->dim[0];
    gguf_tensor p = *a, q = *b; /* as matrices of all planes' rows */
    bool same = a->n_dims == b->n_dims;

    CHECK(x != NULL);
    p.dim[1] *= p.dim[2];
    q.dim[1] *= q.dim[2];
    for (int i = 0; i < GGUF_MAX_DIMS; i++) same = same && a->dim[i] == b->dim[i];
    for (size_t r = 0; same && r < p.dim[1]; r++) {
        CHECK(matrix_read_row(&p, r, x) == ERR_OK && matrix_read_row(&q, r, y) == ERR_OK);
        for (size_t i = 0; i < a->dim[0]; i++) same = same && fabsf(x[i] - y[i]) <= bound;
    }
    free(x);
    return same;
}

/* Routers are never quantized. */
static bool same_tensor(const gguf_tensor *a, const gguf_tensor *b, float bound)
{
    const bool router = memmem(a->name.at, a->name.n, "ffn_gate_inp.", 13) != NULL;

    return b->type == (router ? GGUF_F32 : a->type) && same_numbers(a, b, bound);
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

/* A model's file, its folder as the record has it, and the file that `convert` makes of that.
 */
typedef struct round_trip {
    folder p;
    char *path; /* of the file there was */
    gguf *was, *is;
    convert_made made;
} round_trip;

static void open_trip(round_trip *t, const cJSON *all, const char *options, gguf_type type)
{
    char arguments[256], in[FOLDER_PATH], out[FOLDER_PATH];
    fault why = {0};

    *t = (round_trip){.p = folder_make()};
    snprintf(arguments, sizeof arguments, "%s %s",
             cJSON_GetObjectItemCaseSensitive(all, "model")->valuestring, options);
    t->path = random_make(arguments);
    CHECK(gguf_open(&t->was, t->path, &why) == ERR_OK);
    hf_write_as(t->was, folder_path(&t->p, "hf", in),
                cJSON_GetObjectItemCaseSensitive(all, "folder"));
    if (!convert_run(&(convert_wish){.folder = in,
                                     .out = folder_path(&t->p, "out.gguf", out),
                                     .type = type,
                                     .threads = 1},
                     &t->made, &why))
        fprintf(stderr, "%s: %s\n", arguments, why.sentence);
    CHECK(gguf_open(&t->is, out, &why) == ERR_OK);
}

static void close_trip(round_trip *t)
{
    gguf_close(t->is);
    gguf_close(t->was);
    random_remove(t->path);
    folder_remove(&t->p);
}

/* A model's folder, converted: tensor for tensor and key for key what it came from. */
static convert_made check_record(const cJSON *all, const char *name)
{
    round_trip t;

    open_trip(&t, all, "--type F16", GGUF_F16);
    CHECK(same_keys(t.was, t.is));
    CHECK(same_tensors(t.was, t.is, strcmp(name, "gemma") == 0 ? 1e-6f : 0));
    close_trip(&t);
    return t.made;
}

static void check_family(const char *name)
{
    cJSON *all = read_record(name);

    check_record(all, name);
    cJSON_Delete(all);
}

/* Put a text in front of a string. */
static void prefix(cJSON *item, const char *with)
{
    char name[256];

    snprintf(name, sizeof name, "%s%s", with, item->valuestring);
    free(item->valuestring); /* as long as it was, cJSON would not make it longer */
    item->valuestring = strdup(name);
    CHECK(item->valuestring != NULL);
}

/* The same model as the text of one that also sees. */
static void wrap(cJSON *all, const char *class_name)
{
    cJSON *record = cJSON_GetObjectItemCaseSensitive(all, "folder"),
          *names = cJSON_GetObjectItemCaseSensitive(record, "names"),
          *forms = cJSON_GetObjectItemCaseSensitive(record, "forms"),
          *text = cJSON_DetachItemFromObjectCaseSensitive(record, "config"),
          *whole = cJSON_AddObjectToObject(record, "config"), *item,
          *tower = cJSON_CreateObject();

    cJSON_AddItemToArray(cJSON_AddArrayToObject(whole, "architectures"),
                         cJSON_CreateString(class_name));
    cJSON_AddItemToObject(whole, "text_config", text);
    cJSON_AddObjectToObject(whole, "vision_config");
    cJSON_ArrayForEach (item, names) prefix(item, "language_model.");
    cJSON_ArrayForEach (item, forms)
        prefix(cJSON_GetObjectItemCaseSensitive(item, "name"), "language_model.");
    if (!forms) forms = cJSON_AddArrayToObject(record, "forms");
    cJSON_AddStringToObject(tower, "name", "vision_tower.patch_conv.weight");
    cJSON_AddNumberToObject(tower, "number", 1);
    cJSON_AddItemToArray(forms, tower);
}

static void check_wrapped(const char *name, const char *class_name)
{
    cJSON *all = read_record(name);

    wrap(all, class_name);
    CHECK(check_record(all, name).towers == 1);
    cJSON_Delete(all);
}

/* gpt-oss as it is published: experts in MXFP4, in another order of bits. Beside a quantized
 * type they stay as they are; as halves they are the numbers they stand for, to the bit. */
static void check_mxfp4(gguf_type type, gguf_type experts)
{
    cJSON *all = read_record("gpt-oss"),
          *record = cJSON_GetObjectItemCaseSensitive(all, "folder"),
          *config = cJSON_GetObjectItemCaseSensitive(record, "config");
    round_trip trip;

    cJSON_AddStringToObject(cJSON_AddObjectToObject(config, "quantization_config"),
                            "quant_method", "mxfp4");
    open_trip(&trip, all, "--type MXFP4", type);
    for (size_t i = 0; i < gguf_tensors(trip.was); i++) {
        const gguf_tensor *a = gguf_tensor_at(trip.was, i), *b;
        char name[64];

        snprintf(name, sizeof name, "%.*s", (int)a->name.n, a->name.at);
        b = gguf_find(trip.is, name);
        if (!strstr(name, "_exps.weight")) continue;
        CHECK(b && b->type == experts);
        if (experts == GGUF_MXFP4)
            CHECK(b->bytes == a->bytes && !memcmp(a->data, b->data, a->bytes));
        CHECK(same_numbers(a, b, 0));
    }
    close_trip(&trip);
    cJSON_Delete(all);
}

TEST(convert_reads_mxfp4_to_the_bit)
{
    check_mxfp4(GGUF_F16, GGUF_F16);
    check_mxfp4(GGUF_Q8_0, GGUF_MXFP4);
}

TEST(convert_takes_the_text_of_a_model_that_sees)
{
    check_wrapped("mistral3", "Mistral3ForConditionalGeneration");
    check_wrapped("llama4", "Llama4ForConditionalGeneration");
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

FAMILY_TEST(mixtral, "mixtral")
FAMILY_TEST(qwen2moe, "qwen2moe")
FAMILY_TEST(qwen3moe, "qwen3moe")
FAMILY_TEST(gpt_oss, "gpt-oss")
FAMILY_TEST(granitemoe, "granitemoe")
FAMILY_TEST(glm4moe, "glm4moe")
FAMILY_TEST(minimax_m2, "minimax-m2")
FAMILY_TEST(llama4, "llama4")
FAMILY_TEST(apertus, "apertus")
FAMILY_TEST(command_r_plus, "command-r-plus")
FAMILY_TEST(stablelm2_12b, "stablelm2-12b")
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
