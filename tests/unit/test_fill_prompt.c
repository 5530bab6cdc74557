/* test_fill_prompt.c - a text with a gap as ids: which parts, in which order. */
#include <stdlib.h>
#include <string.h>

#include "server/api/completion_kind.h"
#include "server/api/fill_prompt.h"
#include "tests/body.h"
#include "tests/test.h"
#include "tests/vocabulary.h"

enum { PREFIX = 5, SUFFIX, MIDDLE, FILES, REPO };

static const char *const keys[] = {
    "tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.fim_suf_token_id",
    "tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.fim_sep_token_id",
    "tokenizer.ggml.fim_rep_token_id"};

/* The first `n` of these keys are there. */
static vocabulary open_with(size_t n)
{
    tiny *m = tiny_new();

    for (size_t i = 0; i < n; i++) tiny_set_u32(m, keys[i], (uint32_t)(PREFIX + i));
    return vocabulary_open_tiny(m);
}

static bool read_with(const vocabulary *v, const char *body, request *q, fault *why)
{
    request_env env = body_env();

    env.tokens = v->t;
    env.guides = NULL;
    return request_read(q, &api_completions_kind.request, &env, body, strlen(body), why);
}

/* Where id stands in the prompt, SIZE_MAX: nowhere. */
static size_t place(const request *q, int32_t id)
{
    const request_prompt *p = &q->prompts[0];

    for (size_t i = 0; i < p->n; i++)
        if (p->ids[i] == id) return i;
    return SIZE_MAX;
}

TEST(fill_prompt_has_its_parts_behind_their_tokens)
{
    vocabulary v = open_with(3);
    request q;
    fault why;

    CHECK(read_with(&v, "{\"prompt\":\"1 2\",\"suffix\":\"3\"}", &q, &why));
    CHECK(place(&q, PREFIX) < place(&q, SUFFIX) - 1 &&
          place(&q, SUFFIX) < place(&q, MIDDLE) - 1);
    CHECK(place(&q, MIDDLE) == q.prompts[0].n - 1);
    request_free(&q);
    CHECK(read_with(&v, "{\"prompt\":\"1\",\"suffix\":\"3\",\"spm_infill\":true}", &q, &why));
    CHECK(place(&q, SUFFIX) < place(&q, PREFIX) && place(&q, PREFIX) < place(&q, MIDDLE));
    request_free(&q);
    vocabulary_close(&v);
}

/* An empty text on one side leaves its token. */
TEST(fill_prompt_keeps_the_token_of_an_empty_part)
{
    static const int32_t want[] = {PREFIX, SUFFIX, MIDDLE};
    vocabulary v = open_with(3);
    request q;
    fault why;
    request_env env = body_env();
    cJSON *body = cJSON_CreateObject();

    env.tokens = v.t;
    memset(&q, 0, sizeof q);
    q.n = q.told = 1;
    CHECK(fill_prompt_read(&q, body, &env, &why));
    CHECK(q.prompts[0].n == 3u + q.prompts[0].began);
    CHECK(memcmp(q.prompts[0].ids + q.prompts[0].began, want, sizeof want) == 0);
    request_free(&q);
    cJSON_Delete(body);
    vocabulary_close(&v);
}

TEST(fill_prompt_has_other_files_in_front)
{
    vocabulary v = open_with(5);
    request q;
    fault why;

    CHECK(read_with(&v,
                    "{\"prompt\":\"1\",\"suffix\":\"2\",\"input_extra\":[{\"filename\":\"3\","
                    "\"text\":\"4\"},{}]}",
                    &q, &why));
    CHECK(place(&q, REPO) < place(&q, FILES) && place(&q, FILES) < place(&q, PREFIX));
    request_free(&q);
    CHECK(!read_with(&v, "{\"prompt\":\"1\",\"suffix\":\"2\",\"input_extra\":[1]}", &q, &why));
    CHECK(strcmp(why.field, "input_extra") == 0);
    request_free(&q);
    vocabulary_close(&v);
}

TEST(fill_prompt_names_the_token_that_is_missing)
{
    static const char *const part[] = {"prefix", "suffix", "middle"};

    for (size_t n = 0; n < 3; n++) {
        vocabulary v = open_with(n);
        request q;
        fault why;

        CHECK(!read_with(&v, "{\"prompt\":\"1\",\"suffix\":\"2\"}", &q, &why));
        CHECK(why.e == ERR_UNSUPPORTED && strcmp(why.field, "suffix") == 0);
        CHECK(strstr(why.sentence, part[n]) != NULL);
        request_free(&q);
        vocabulary_close(&v);
    }
}
