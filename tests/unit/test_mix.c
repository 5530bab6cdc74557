/* test_mix.c - mixes of types: for every matrix the one that llama.cpp's quantizer takes
 * (golden/mixes.json, which mixes.py records). */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/convert/mix.h"
#include "tests/read_file.h"
#include "tests/test.h"

static const cJSON *field(const cJSON *of, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(of, name);
}

static size_t number(const cJSON *of, const char *name)
{
    return (size_t)field(of, name)->valuedouble;
}

static size_t check_file(const cJSON *file)
{
    const mix_row *m = mix_find(field(file, "mix")->valuestring);
    const char *output = cJSON_IsTrue(field(file, "tied")) ? "token_embd.weight"
                                                           : "output.weight";
    const cJSON *t;
    size_t n = 0;

    CHECK(m != NULL);
    cJSON_ArrayForEach (t, field(file, "types")) {
        mix_matrix of = {.name = t->string,
                         .cols = 256,
                         .layers = number(file, "layers"),
                         .experts = number(file, "experts"),
                         .output = strcmp(t->string, output) == 0};
        const char *is;

        (void)sscanf(t->string, "blk.%zu.", &of.layer);
        is = gguf_type_name(mix_choose(m, &of), NULL, NULL);
        if (strcmp(is, t->valuestring) != 0)
            fprintf(stderr, "%s %s %s: %s, theirs is %s\n", field(file, "model")->valuestring,
                    m->word, t->string, is, t->valuestring);
        CHECK(strcmp(is, t->valuestring) == 0);
        n++;
    }
    return n;
}

TEST(mix_is_what_llama_cpp_writes)
{
    size_t n = 0, files = 0;
    char *text = read_file("tests/golden/mixes.json", &n);
    cJSON *all = text ? cJSON_ParseWithLength(text, n) : NULL;
    const cJSON *file;

    cJSON_ArrayForEach (file, field(all, "files")) {
        CHECK(check_file(file) > 20);
        files++;
    }
    CHECK(files == 35);
    cJSON_Delete(all);
    free(text);
}

TEST(mix_takes_the_next_type_whose_blocks_a_row_fills)
{
    const mix_row *m = mix_find("Q4_K_M");
    const mix_matrix of = {.name = "blk.0.attn_q.weight", .cols = 96, .layers = 4},
                     narrow = {.name = "blk.0.attn_q.weight", .cols = 48, .layers = 4};

    CHECK(mix_choose(m, &of) == GGUF_Q8_0 && mix_choose(m, &narrow) == GGUF_F16);
    CHECK(mix_choose(mix_find("F32"), &narrow) == GGUF_F32);
    CHECK(mix_find("Q4_K") && mix_find("Q4_K")->number == m->number && !mix_find("Q3_K_M"));
}
