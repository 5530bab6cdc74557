/* test_reply.c - answers and events of both endpoints, read back by a JSON parser. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/api/blocks.h"
#include "server/api/completion.h"
#include "tests/lab.h"
#include "tests/test.h"

static const completion_kind *const text = &api_completions_kind, *const chat = &api_chat_kind;

typedef struct fixture {
    gguf *file;
    tokenizer *tokens;
    generation *g;
    request request;
    reply reply;
    piece whole;
} fixture;

/* An answer " Hello", "!", end token to a prompt of three ids; logprobs of `top` where not
 * negative. */
static void open_fixture(fixture *f, int top)
{
    generation_in in = {.max_tokens = 8, .n_ids = 3, .top = top};
    int32_t ids[8];
    size_t n = 0, V;
    float *logits;

    memset(f, 0, sizeof *f);
    f->request.prompt_logprobs = -1;
    CHECK(!gguf_open(&f->file, LAB_EMBEDDED, NULL) &&
          !tokenizer_new(&f->tokens, f->file, NULL));
    V = tokenizer_size(f->tokens);
    logits = calloc(V, sizeof *logits);
    in.ids = calloc(3, sizeof *in.ids);
    CHECK(logits && in.ids && generation_new(&f->g, f->tokens, &in) == ERR_OK);
    CHECK(tokenizer_encode(f->tokens, " Hello", 6, TOKENIZER_PLAIN, ids, &n) == ERR_OK);
    CHECK(tokenizer_encode(f->tokens, "!", 1, TOKENIZER_PLAIN, ids + n, &V) == ERR_OK);
    n += V;
    ids[n++] = tokenizer_find(f->tokens, "<|im_end|>");
    for (size_t i = 0; i < n; i++) {
        logits[ids[i]] = (float)(10 + i);
        generation_add(f->g, ids[i], logits);
    }
    free(logits);
    f->reply = (reply){.model = "m", .created = 5, .request = &f->request, .generation = f->g};
    random_id(f->reply.id, "x-");
}

static void close_fixture(fixture *f)
{
    generation_free(f->g);
    tokenizer_free(f->tokens);
    gguf_close(f->file);
}

static reply_slice all_of(fixture *f)
{
    f->whole = (piece){PIECE_TEXT, .text = f->g->out.text, .len = f->g->out.text_bytes};
    return (reply_slice){.token_to = f->g->out.n_tokens,
                         .text_to = f->g->out.text_bytes,
                         .first = true,
                         .last = true,
                         .pieces = &f->whole,
                         .n_pieces = f->whole.len > 0};
}

static const reply_usage spent = {.prompt = 30, .cached = 20, .completion = 4};

static cJSON *answer(fixture *f, const completion_kind *kind)
{
    const reply_slice s = all_of(f);
    text_builder t = {0};
    cJSON *parsed;

    kind->open_answer(&t, &f->reply);
    kind->write_choice(&t, &f->reply, &s);
    kind->close_answer(&t, &f->reply, &spent);
    parsed = cJSON_Parse(t.at);
    text_free(&t);
    CHECK(parsed != NULL);
    return parsed;
}

static cJSON *member(cJSON *o, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(o, name);
}

static cJSON *first_choice(cJSON *o)
{
    return cJSON_GetArrayItem(member(o, "choices"), 0);
}

static bool string_is(cJSON *o, const char *name, const char *want)
{
    const cJSON *item = member(o, name);

    return cJSON_IsString(item) && strcmp(item->valuestring, want) == 0;
}

/* The events in t, parsed, in an array; the stream must be well formed. */
static cJSON *parse_events(const char *stream)
{
    cJSON *list = cJSON_CreateArray();

    while (*stream) {
        const char *end = strstr(stream, "\n\n");
        cJSON *event;

        CHECK(end && strncmp(stream, "data: ", 6) == 0);
        CHECK(memchr(stream, '\n', (size_t)(end - stream)) == NULL);
        event = strncmp(stream + 6, "[DONE]", 6) == 0
                    ? cJSON_CreateString("[DONE]")
                    : cJSON_ParseWithLength(stream + 6, (size_t)(end - stream) - 6);
        CHECK(event != NULL);
        cJSON_AddItemToArray(list, event);
        stream = end + 2;
    }
    return list;
}

/* The stream of the whole answer: one slice, then the end. */
static cJSON *events(fixture *f, const completion_kind *kind)
{
    const reply_slice s = all_of(f);
    text_builder t = {0};
    cJSON *list;

    kind->write_events(&t, &f->reply, &s);
    kind->end_events(&t, &f->reply, &spent);
    list = parse_events(t.at);
    text_free(&t);
    return list;
}

TEST(reply_completion_has_the_legacy_shape)
{
    fixture f;
    cJSON *o, *choice, *usage;

    open_fixture(&f, -1);
    o = answer(&f, text);
    choice = first_choice(o);
    usage = member(o, "usage");
    CHECK(string_is(o, "object", "text_completion") && string_is(o, "model", "m"));
    CHECK(member(o, "created")->valuedouble == 5);
    CHECK(string_is(choice, "text", " Hello!") && string_is(choice, "finish_reason", "stop"));
    CHECK(cJSON_IsNull(member(choice, "logprobs")) && !member(choice, "token_ids"));
    CHECK(member(usage, "prompt_tokens")->valuedouble == 30);
    CHECK(member(usage, "completion_tokens")->valuedouble == 4);
    CHECK(member(usage, "total_tokens")->valuedouble == 34);
    CHECK(member(member(usage, "prompt_tokens_details"), "cached_tokens")->valuedouble == 20);
    cJSON_Delete(o);
    close_fixture(&f);
}

TEST(reply_chat_has_explicit_nulls)
{
    fixture f;
    cJSON *o, *choice, *message;

    open_fixture(&f, -1);
    o = answer(&f, chat);
    choice = first_choice(o);
    message = member(choice, "message");
    CHECK(string_is(o, "object", "chat.completion") && string_is(message, "role", "assistant"));
    CHECK(string_is(message, "content", " Hello!") && cJSON_IsNull(member(message, "refusal")));
    CHECK(cJSON_IsNull(member(choice, "logprobs")));
    CHECK(string_is(choice, "finish_reason", "stop"));
    cJSON_Delete(o);
    close_fixture(&f);
}

TEST(reply_returns_token_ids_where_asked)
{
    fixture f;
    cJSON *o;

    open_fixture(&f, -1);
    f.request.return_token_ids = true;
    o = answer(&f, text);
    CHECK(cJSON_GetArraySize(member(first_choice(o), "prompt_token_ids")) == 3);
    CHECK(cJSON_GetArraySize(member(first_choice(o), "token_ids")) == (int)f.g->out.n_tokens);
    cJSON_Delete(o);
    o = answer(&f, chat);
    CHECK(cJSON_GetArraySize(member(o, "prompt_token_ids")) == 3);
    CHECK(cJSON_GetArraySize(member(first_choice(o), "token_ids")) == (int)f.g->out.n_tokens);
    cJSON_Delete(o);
    close_fixture(&f);
}

TEST(reply_chat_stream_goes_role_text_end_usage_done)
{
    fixture f;
    cJSON *list, *delta;

    open_fixture(&f, -1);
    f.request.include_usage = true;
    list = events(&f, chat);
    CHECK(cJSON_GetArraySize(list) == 5);
    delta = member(first_choice(cJSON_GetArrayItem(list, 0)), "delta");
    CHECK(string_is(delta, "role", "assistant") && string_is(delta, "content", ""));
    delta = member(first_choice(cJSON_GetArrayItem(list, 1)), "delta");
    CHECK(string_is(delta, "content", " Hello!") && !member(delta, "role"));
    CHECK(cJSON_IsNull(member(first_choice(cJSON_GetArrayItem(list, 1)), "finish_reason")));
    CHECK(cJSON_IsNull(member(cJSON_GetArrayItem(list, 1), "usage")));
    delta = member(first_choice(cJSON_GetArrayItem(list, 2)), "delta");
    CHECK(cJSON_IsObject(delta) && !delta->child);
    CHECK(string_is(first_choice(cJSON_GetArrayItem(list, 2)), "finish_reason", "stop"));
    CHECK(cJSON_GetArraySize(member(cJSON_GetArrayItem(list, 3), "choices")) == 0);
    CHECK(cJSON_IsObject(member(cJSON_GetArrayItem(list, 3), "usage")));
    CHECK(cJSON_IsString(cJSON_GetArrayItem(list, 4)));
    cJSON_Delete(list);
    close_fixture(&f);
}

TEST(reply_stream_without_include_usage_never_mentions_it)
{
    fixture f;
    cJSON *list;

    open_fixture(&f, -1);
    list = events(&f, text);
    CHECK(cJSON_GetArraySize(list) == 2);
    CHECK(string_is(cJSON_GetArrayItem(list, 0), "object", "text_completion"));
    CHECK(!member(cJSON_GetArrayItem(list, 0), "usage"));
    CHECK(string_is(first_choice(cJSON_GetArrayItem(list, 0)), "finish_reason", "stop"));
    cJSON_Delete(list);
    close_fixture(&f);
}

TEST(reply_legacy_logprobs_are_four_parallel_arrays)
{
    fixture f;
    cJSON *o, *l, *best;
    int n;

    open_fixture(&f, 1);
    n = (int)f.g->out.n_tokens;
    /* The best of the second step is the sampled one; make the first step's another. */
    f.g->out.top[0] = (sample_top){.id = 300, .logprob = -0.25f};
    o = answer(&f, text);
    l = member(first_choice(o), "logprobs");
    CHECK(cJSON_GetArraySize(member(l, "tokens")) == n);
    CHECK(cJSON_GetArraySize(member(l, "token_logprobs")) == n);
    CHECK(cJSON_GetArraySize(member(l, "top_logprobs")) == n);
    CHECK(cJSON_GetArraySize(member(l, "text_offset")) == n);
    CHECK(cJSON_GetArrayItem(member(l, "text_offset"), 0)->valuedouble == 0);
    CHECK(cJSON_GetArrayItem(member(l, "text_offset"), n - 1)->valuedouble == 7);
    best = member(l, "top_logprobs");
    CHECK(cJSON_GetArraySize(cJSON_GetArrayItem(best, 0)) == 2); /* k + 1 */
    CHECK(cJSON_GetArraySize(cJSON_GetArrayItem(best, 1)) == 1);
    CHECK(cJSON_GetArrayItem(best, 1)->child->valuedouble ==
          cJSON_GetArrayItem(member(l, "token_logprobs"), 1)->valuedouble);
    cJSON_Delete(o);
    close_fixture(&f);
}

TEST(reply_chat_logprobs_carry_bytes)
{
    fixture f;
    cJSON *o, *content, *entry;

    open_fixture(&f, 2);
    o = answer(&f, chat);
    content = member(member(first_choice(o), "logprobs"), "content");
    CHECK(cJSON_GetArraySize(content) == (int)f.g->out.n_tokens);
    entry = cJSON_GetArrayItem(content, 0);
    CHECK(member(entry, "bytes")->child->valuedouble == ' ');
    CHECK(cJSON_GetArraySize(member(entry, "top_logprobs")) == 2);
    entry = cJSON_GetArrayItem(content, (int)f.g->out.n_tokens - 1);
    CHECK(string_is(entry, "token", "<|im_end|>") && cJSON_IsNull(member(entry, "bytes")));
    cJSON_Delete(o);
    close_fixture(&f);
}

TEST(reply_logprobs_that_are_not_finite_stay_numbers)
{
    fixture f;
    cJSON *o, *content;

    open_fixture(&f, 0);
    f.g->out.tokens[0].logprob = -INFINITY;
    o = answer(&f, chat);
    content = member(member(first_choice(o), "logprobs"), "content");
    CHECK(member(cJSON_GetArrayItem(content, 0), "logprob")->valuedouble == -9999);
    cJSON_Delete(o);
    close_fixture(&f);
}

/* A byte token by its value, from the tokenizer itself. */
TEST(reply_tokens_that_are_half_a_character_are_named_by_their_bytes)
{
    fixture f;
    text_builder t = {0};
    int32_t id[4];
    size_t n = 0;

    open_fixture(&f, -1);
    CHECK(tokenizer_encode(f.tokens, "\xf0", 1, TOKENIZER_PLAIN, id, &n) == ERR_OK && n == 1);
    reply_add_token(&t, &f.reply, id[0]);
    CHECK(strcmp(t.at, "\"bytes:\\\\xf0\"") == 0);
    text_free(&t);
    close_fixture(&f);
}

/* One who is told of a failure late has had numbered events, and some text. */
TEST(reply_response_that_fails_says_so_as_its_next_event)
{
    blocks b = {0};
    text_builder t = {0};
    fixture f;
    reply_slice s;
    cJSON *event, *response;

    open_fixture(&f, -1);
    f.reply.blocks = &b;
    random_id(f.reply.id, "resp_");
    s = all_of(&f);
    s.last = false;
    api_responses_kind.write_events(&t, &f.reply, &s);
    text_free(&t);
    api_responses_kind.fail_events(&t, &f.reply, NULL, "out of \"memory\"");
    CHECK(strncmp(t.at, "event: response.failed\ndata: ", 29) == 0);
    event = cJSON_Parse(t.at + 29);
    response = member(event, "response");
    CHECK(string_is(event, "type", "response.failed"));
    CHECK(member(event, "sequence_number")->valueint == 5);
    CHECK(string_is(response, "status", "failed"));
    CHECK(string_is(member(response, "error"), "code", "server_error"));
    CHECK(string_is(member(response, "error"), "message", "out of \"memory\""));
    CHECK(cJSON_GetArraySize(member(response, "output")) == 1);
    cJSON_Delete(event);
    text_free(&t);
    blocks_free(&b);
    close_fixture(&f);
}

static bool cut_gives(const char *arguments, const char *want)
{
    block b = {.kind = PIECE_CALL};
    text_builder t = {0};
    bool same;

    text_add_string(&b.text, arguments);
    blocks_add_arguments(&t, &b);
    same = strcmp(t.at, want) == 0;
    if (!same) fprintf(stderr, "%s: %s\n", arguments, t.at);
    text_free(&t);
    text_free(&b.text);
    return same;
}

TEST(reply_arguments_that_were_cut_keep_what_is_whole)
{
    static const char *const cases[][2] = {
        {"", "{}"},
        {"{", "{}"},
        {"{\"a", "{}"},
        {"{\"a\"", "{}"},
        {"{\"a\":", "{}"},
        {"{\"a\": 12", "{}"}, /* or 123 */
        {"{\"a\": 12,", "{\"a\": 12}"},
        {"{\"a\": 12, \"b\": tr", "{\"a\": 12}"},
        {"{\"a\": \"x\\\"", "{}"},
        {"{\"a\": \"x\", \"b\": \"y", "{\"a\": \"x\"}"},
        {"{\"a\": [1, {\"b\": \"}\"", "{\"a\": [1, {\"b\": \"}\"}]}"},
        {"{\"a\": [[1], [2", "{\"a\": [[1], []]}"},
        {"{\"a\": {}, ", "{\"a\": {}}"},
        {"{\"a\": 1}", "{\"a\": 1}"},
        {"[1", "{}"},
        {"nonsense", "{}"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK(cut_gives(cases[i][0], cases[i][1]));
}
