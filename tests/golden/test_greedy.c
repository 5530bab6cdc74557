/* test_greedy.c - greedy answers of `xquantd complete` against the reference's, id for id. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/read_file.h"
#include "tests/test.h"

/* The program this test was built with: ../../xquantd from its own place. */
static void find_program(char *path, size_t n)
{
    char self[4096];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

    CHECK(length > 0);
    self[length] = '\0';
    for (int up = 0; up < 3; up++) *strrchr(self, '/') = '\0';
    snprintf(path, n, "%s/xquantd", self);
}

/* Run `complete` on a prompt and parse what it prints. The caller frees. */
static cJSON *complete(const char *model_path, const char *mode, const char *prompt)
{
    char program[4200], command[9000], *text = calloc(1, 1 << 20);
    char name[] = "/tmp/xquantd-prompt-XXXXXX";
    const int fd = mkstemp(name);
    cJSON *out;
    FILE *f;

    CHECK(fd >= 0 && write(fd, prompt, strlen(prompt)) == (ssize_t)strlen(prompt));
    close(fd);
    find_program(program, sizeof program);
    snprintf(command, sizeof command,
             "%s complete --model %s --cache %s --prompt-file %s -n 48 --temp 0 --json",
             program, model_path, mode, name);
    f = popen(command, "r");
    CHECK(f != NULL);
    CHECK(fread(text, 1, (1 << 20) - 1, f) > 0);
    CHECK(pclose(f) == 0);
    unlink(name);
    out = cJSON_Parse(text);
    CHECK(out != NULL);
    free(text);
    return out;
}

/* Equal ids, up to the first step whose gap is below `gap` (0: all of them). */
static void check_case(const cJSON *golden, const cJSON *ours, double gap)
{
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(golden, "ids");
    const cJSON *got = cJSON_GetObjectItemCaseSensitive(ours, "ids");
    const cJSON *gaps = cJSON_GetObjectItemCaseSensitive(golden, "top2_logit_gap");
    const cJSON *stopped = cJSON_GetObjectItemCaseSensitive(golden, "stopped_at_end_token");
    const cJSON *finish = cJSON_GetObjectItemCaseSensitive(ours, "finish_reason");
    const cJSON *a = want->child, *b = got->child, *g = gaps->child;

    for (; a; a = a->next, b = b->next, g = g->next) {
        if (gap > 0 && g->valuedouble < gap) return;
        CHECK(b != NULL);
        CHECK((int)a->valuedouble == (int)b->valuedouble);
    }
    CHECK(b == NULL);
    CHECK(strcmp(cJSON_GetStringValue(finish), cJSON_IsTrue(stopped) ? "stop" : "length") == 0);
    CHECK(strcmp(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(golden, "text")),
                 cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(ours, "text"))) == 0);
}

static void check_greedy(const char *seedling, const char *mode, double gap)
{
    char path[4096], name[256], *text;
    const cJSON *c;
    cJSON *golden;
    int cases = 0;

    snprintf(name, sizeof name, "models/%s.gguf", seedling);
    if (!test_shared(name)) SKIP("the f16 models are not here");
    snprintf(path, sizeof path, "%s", test_shared(name));
    snprintf(name, sizeof name, "golden/greedy/%s.json", seedling);
    text = read_file(test_shared(name), NULL);
    golden = cJSON_Parse(text);
    cJSON_ArrayForEach (c, cJSON_GetObjectItemCaseSensitive(golden, "cases")) {
        const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(c, "prompt");
        cJSON *ours = complete(path, mode, cJSON_GetStringValue(prompt));

        check_case(c, ours, gap);
        cJSON_Delete(ours);
        cases++;
    }
    CHECK(cases == 6);
    cJSON_Delete(golden);
    free(text);
}

TEST(greedy_answers_with_kv32_are_the_reference)
{
    check_greedy("seedling-32m-mha-f16", "kv32", 0);
    check_greedy("seedling-38m-gqa-f16", "kv32", 0);
}

TEST(greedy_answers_with_kv16_agree_where_the_choice_is_clear)
{
    check_greedy("seedling-32m-mha-f16", "kv16", .05);
    check_greedy("seedling-38m-gqa-f16", "kv16", .05);
}

TEST(greedy_answers_with_xq8_agree_where_the_choice_is_clear)
{
    check_greedy("seedling-32m-mha-f16", "xq8", .05);
}
