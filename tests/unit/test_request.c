/* test_request.c - members of the bodies of both generation endpoints: what is read, what is
 * refused. What a prompt may be is in test_request_prompts.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/http/wire_error.h"
#include "server/text.h"
#include "tests/body.h"
#include "tests/test.h"

/* Members in front of a plain prompt, or of a conversation. */
static bool read_members(request *q, const completion_kind *kind, const char *members,
                         fault *why)
{
    const bool chat = kind->request.chat;
    text_builder t = {0};
    bool good;

    text_addf(&t, "{%s%s%s}", members, *members ? "," : "",
              chat ? "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"
                   : "\"prompt\":\"Hi\"");
    good = body_read(q, kind, t.at, why);
    text_free(&t);
    return good;
}

static const completion_kind *const text = &api_completions_kind, *const chat = &api_chat_kind;

/* Is it refused with this status, parameter and code? */
static bool refused_as(const completion_kind *kind, const char *members, int status,
                       const char *param, const char *code)
{
    fault why;
    request q;
    const bool good = read_members(&q, kind, members, &why);
    const wire_error row = wire_error_for(why.e);

    request_free(&q);
    return !good && row.status == status && strcmp(why.field, param) == 0 && why.sentence[0] &&
           (code ? row.code && strcmp(row.code, code) == 0 : !row.code);
}

static bool invalid(const completion_kind *kind, const char *members, const char *param)
{
    return refused_as(kind, members, 400, param, "invalid_value");
}

static bool unsupported(const completion_kind *kind, const char *members, const char *param)
{
    return refused_as(kind, members, 400, param, "unsupported_parameter");
}

/* Read, or fail the test; the caller frees. */
static request read_good(const completion_kind *kind, const char *members)
{
    fault why;
    request q;

    CHECK(read_members(&q, kind, members, &why));
    return q;
}

TEST(request_defaults_are_those_of_the_contract)
{
    request q = read_good(text, "");

    CHECK(q.in.max_tokens == 16 && !q.stream && !q.include_usage && !q.return_token_ids);
    CHECK(q.in.sample.temperature == 1 && q.in.sample.top_p == 1 && q.in.sample.top_k == 0);
    CHECK(q.in.sample.min_p == 0 && q.in.sample.repetition_penalty == 1);
    CHECK(q.in.top == -1 && q.in.n_stop == 0 && !q.in.bias && !q.in.ignore_eos);
    request_free(&q);
    q = read_good(chat, "");
    CHECK(q.in.max_tokens == 512);
    request_free(&q);
}

TEST(request_explicit_null_is_the_default)
{
    request q = read_good(text, "\"max_tokens\":null,\"temperature\":null,\"stop\":null,"
                                "\"logit_bias\":null,\"stream\":null,\"seed\":null,"
                                "\"logprobs\":null,\"stream_options\":null,\"n\":null,"
                                "\"best_of\":null,\"echo\":null,\"suffix\":null,"
                                "\"model\":null,\"user\":null");

    CHECK(q.in.max_tokens == 16 && q.in.sample.temperature == 1 && q.in.top == -1);
    request_free(&q);
}

TEST(request_reads_every_sampling_field)
{
    request q = read_good(
        text, "\"temperature\":0.5,\"top_p\":0.25,\"top_k\":7,\"min_p\":0.125,"
              "\"repetition_penalty\":1.5,\"presence_penalty\":-2,\"frequency_penalty\":2,"
              "\"seed\":9007199254740993,\"ignore_eos\":true,\"return_token_ids\":true,"
              "\"max_tokens\":0,\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    const sample_params *s = &q.in.sample;

    CHECK(s->temperature == 0.5f && s->top_p == 0.25f && s->top_k == 7 && s->min_p == 0.125f);
    CHECK(s->repetition_penalty == 1.5f && s->presence_penalty == -2);
    CHECK(s->frequency_penalty == 2 && s->seed == 9007199254740993u);
    CHECK(q.in.ignore_eos && q.return_token_ids && q.in.max_tokens == 0);
    CHECK(q.stream && q.include_usage);
    request_free(&q);
    q = read_good(chat,
                  "\"typical_p\":0.5,\"top_n_sigma\":1.5,\"xtc_probability\":0.25,"
                  "\"xtc_threshold\":0.125,\"dynatemp_range\":0.5,\"dynatemp_exponent\":2,"
                  "\"mirostat\":2,\"mirostat_tau\":3,\"mirostat_eta\":0.5,\"repeat_last_n\":64,"
                  "\"repeat_penalty\":1.25");
    CHECK(s->typical_p == 0.5f && s->top_n_sigma == 1.5f && s->xtc_probability == 0.25f);
    CHECK(s->xtc_threshold == 0.125f && s->dynatemp_range == 0.5f && s->mirostat == 2);
    CHECK(s->dynatemp_exponent == 2 && s->mirostat_tau == 3 && s->mirostat_eta == 0.5f);
    CHECK(s->repeat_last_n == 64 && s->repetition_penalty == 1.25f);
    request_free(&q);
}

static sample_params sample_of(const request_env *env, const char *members)
{
    char body[128];
    fault why;
    request q;
    const int n = snprintf(body, sizeof body, "{\"prompt\":[1,2]%s}", members);
    sample_params p;

    CHECK(request_read(&q, &text->request, env, body, (size_t)n, &why));
    p = q.in.sample;
    request_free(&q);
    return p;
}

TEST(request_that_is_silent_is_sampled_as_the_model_says)
{
    const sample_params wish = {.temperature = 0.75f,
                                .top_p = 0.5f,
                                .top_k = 20,
                                .repetition_penalty = 1.5f,
                                .repeat_last_n = 32};
    request_env env = body_env();
    sample_params p;

    env.sampling = &wish;
    p = sample_of(&env, ",\"top_k\":5");
    CHECK(p.temperature == 0.75f && p.top_p == 0.5f && p.top_k == 5);
    CHECK(p.repetition_penalty == 1.5f && p.repeat_last_n == 32);
    p = sample_of(&env, ",\"repeat_last_n\":-1");
    CHECK(p.repetition_penalty == 1.5f && p.repeat_last_n == 0);
    p = sample_of(&env, ",\"repeat_last_n\":0");
    CHECK(p.repetition_penalty == 1);
}

TEST(request_numbers_out_of_range_name_their_field)
{
    CHECK(invalid(text, "\"temperature\":2.1", "temperature"));
    CHECK(invalid(text, "\"temperature\":-0.1", "temperature"));
    CHECK(invalid(text, "\"temperature\":\"hot\"", "temperature"));
    CHECK(invalid(text, "\"top_p\":1.5", "top_p"));
    CHECK(invalid(text, "\"top_k\":1.5", "top_k"));
    CHECK(invalid(text, "\"top_k\":-2", "top_k"));
    CHECK(invalid(text, "\"min_p\":-1", "min_p"));
    CHECK(invalid(text, "\"repetition_penalty\":0", "repetition_penalty"));
    CHECK(invalid(text, "\"presence_penalty\":3", "presence_penalty"));
    CHECK(invalid(text, "\"frequency_penalty\":-2.5", "frequency_penalty"));
    CHECK(invalid(text, "\"max_tokens\":-2", "max_tokens"));
    CHECK(invalid(chat, "\"max_completion_tokens\":1.5", "max_completion_tokens"));
    CHECK(invalid(text, "\"seed\":1.5", "seed"));
    CHECK(invalid(text, "\"stream\":1", "stream"));
    CHECK(invalid(text, "\"ignore_eos\":\"yes\"", "ignore_eos"));
    CHECK(invalid(text, "\"stream_options\":true", "stream_options"));
    CHECK(invalid(text, "\"n\":0", "n"));
}

TEST(request_without_a_seed_draws_another_each_time)
{
    request a = read_good(text, ""), b = read_good(text, "");

    CHECK(a.in.sample.seed != b.in.sample.seed);
    request_free(&a);
    request_free(&b);
}

TEST(request_prefers_max_completion_tokens)
{
    request q = read_good(chat, "\"max_completion_tokens\":5,\"max_tokens\":9");

    CHECK(q.in.max_tokens == 5);
    request_free(&q);
    q = read_good(chat, "\"max_tokens\":9");
    CHECK(q.in.max_tokens == 9);
    request_free(&q);
}

TEST(request_stop_may_be_a_string_or_a_list)
{
    request q = read_good(text, "\"stop\":\"END\"");

    CHECK(q.in.n_stop == 1 && strcmp(q.in.stop[0], "END") == 0);
    request_free(&q);
    q = read_good(text, "\"stop\":[\"a\",\"\",\"b\"]");
    CHECK(q.in.n_stop == 2 && strcmp(q.in.stop[1], "b") == 0);
    request_free(&q);
    q = read_good(text, "\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\","
                        "\"10\",\"11\",\"12\",\"13\",\"14\",\"15\",\"16\"]");
    CHECK(q.in.n_stop == 16);
    request_free(&q);
    CHECK(invalid(text, "\"stop\":5", "stop"));
    CHECK(invalid(text, "\"stop\":[\"a\",5]", "stop"));
}

/* By bytes: each is looked for at each byte of the answer, however many they are. */
TEST(request_stop_strings_are_limited_by_their_bytes)
{
    text_builder t = {0};
    request q;

    text_add_string(&t, "\"stop\":[\"0\"");
    for (int i = 1; i < 100; i++) text_addf(&t, ",\"%d\"", i);
    text_add_string(&t, "]");
    q = read_good(text, t.at);
    CHECK(q.in.n_stop == 100 && strcmp(q.in.stop[99], "99") == 0);
    request_free(&q);
    text_free(&t);
    t = (text_builder){0};
    text_addf(&t, "\"stop\":[\"%*s\"]", 4097, "x");
    CHECK(invalid(text, t.at, "stop"));
    text_free(&t);
    t = (text_builder){0};
    text_addf(&t, "\"stop\":\"%*s\"", 4096, "x");
    q = read_good(text, t.at);
    CHECK(q.in.n_stop == 1 && strlen(q.in.stop[0]) == 4096);
    request_free(&q);
    text_free(&t);
}

TEST(request_logit_bias_is_a_map_of_ids)
{
    request q = read_good(text, "\"logit_bias\":{\"5\":-100,\"17\":2.5}");

    CHECK(q.in.sample.n_bias == 2 && q.in.sample.bias == q.in.bias);
    CHECK(q.in.bias[0].id == 5 && q.in.bias[0].add == -100);
    CHECK(q.in.bias[1].id == 17 && q.in.bias[1].add == 2.5f);
    request_free(&q);
    CHECK(invalid(text, "\"logit_bias\":[1]", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":{\"\":1}", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":\"5\"", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":{\"-1\":1}", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":{\"99999999\":1}", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":{\"1\":101}", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":{\"1\":\"x\"}", "logit_bias"));
}

TEST(request_logit_bias_takes_pairs_and_texts)
{
    const request_env env = body_env();
    int32_t ids[32];
    size_t n;
    request q = read_good(text, "\"logit_bias\":[]");

    CHECK(q.in.sample.n_bias == 0 && !q.in.bias);
    request_free(&q);
    q = read_good(text, "\"logit_bias\":[[5,-100],[17,2.5],[18,false]]");
    CHECK(q.in.sample.n_bias == 3 && q.in.sample.bias == q.in.bias);
    CHECK(q.in.bias[1].id == 17 && q.in.bias[1].add == 2.5f && q.in.bias[2].add == -100);
    request_free(&q);
    CHECK(tokenizer_encode(env.tokens, " history", 8, TOKENIZER_INSIDE, ids, &n) == ERR_OK);
    for (int i = 0; i < 2; i++) {
        q = read_good(text, i ? "\"logit_bias\":[[\" history\",3]]"
                              : "\"logit_bias\":{\" history\":3}");
        CHECK(q.in.sample.n_bias == n && n > 0);
        for (size_t j = 0; j < n; j++)
            CHECK(q.in.bias[j].id == ids[j] && q.in.bias[j].add == 3);
        request_free(&q);
    }
    q = read_good(text, "\"logit_bias\":{\"<|im_end|>\":-100}");
    CHECK(q.in.sample.n_bias == 1 &&
          q.in.bias[0].id == tokenizer_find(env.tokens, "<|im_end|>"));
    request_free(&q);
    CHECK(invalid(text, "\"logit_bias\":[[5]]", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":[[5,1,2]]", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":[[-5,1]]", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":[[1.5,1]]", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":[[5,101]]", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":[[5,true]]", "logit_bias"));
    CHECK(invalid(text, "\"logit_bias\":[[\"\",1]]", "logit_bias"));
}

TEST(request_logprobs_have_a_form_for_each_endpoint)
{
    request q = read_good(text, "\"logprobs\":0");

    CHECK(q.in.top == 0);
    request_free(&q);
    q = read_good(text, "\"logprobs\":5");
    CHECK(q.in.top == 5);
    request_free(&q);
    q = read_good(chat, "\"logprobs\":true");
    CHECK(q.in.top == 0);
    request_free(&q);
    q = read_good(chat, "\"logprobs\":true,\"top_logprobs\":20");
    CHECK(q.in.top == 20);
    request_free(&q);
    q = read_good(chat, "\"logprobs\":false");
    CHECK(q.in.top == -1);
    request_free(&q);
    CHECK(invalid(text, "\"logprobs\":21", "logprobs"));
    CHECK(invalid(text, "\"logprobs\":true", "logprobs"));
    CHECK(invalid(chat, "\"top_logprobs\":2", "top_logprobs"));
    CHECK(invalid(chat, "\"logprobs\":true,\"top_logprobs\":21", "top_logprobs"));
}

TEST(request_for_another_model_is_not_found)
{
    CHECK(refused_as(text, "\"model\":\"gpt-4\"", 404, "model", "model_not_found"));
    CHECK(refused_as(chat, "\"model\":\"Seedling\"", 404, "model", "model_not_found"));
    CHECK(invalid(chat, "\"model\":7", "model"));
    request q = read_good(chat, "\"model\":\"seedling\"");
    request_free(&q);
}

TEST(request_what_is_not_offered_is_said_and_not_ignored)
{
    CHECK(unsupported(chat, "\"echo\":true", "echo"));
    CHECK(unsupported(chat, "\"suffix\":\"x\"", "suffix"));
    CHECK(unsupported(text, "\"suffix\":\"x\"", "suffix"));
    CHECK(unsupported(text, "\"tools\":[{\"type\":\"function\"}]", "tools"));
    CHECK(unsupported(text, "\"tool_choice\":\"required\"", "tool_choice"));
    CHECK(unsupported(chat, "\"response_format\":{\"type\":\"yaml\"}", "response_format"));
    request q = read_good(chat, "\"tools\":[],\"response_format\":{\"type\":\"text\"},\"n\":1,"
                                "\"best_of\":1,\"echo\":false,\"suffix\":\"\"");
    request_free(&q);
}

/* The names of issue and contract, with a value that asks for something. */
TEST(request_what_would_change_the_answer_is_refused_by_name)
{
    static const char *const both[][2] = {
        {"structural_tag", "{\"format\":1}"},
        {"guided_whitespace_pattern", "\" ?\""},
        {"min_tokens", "4"},
        {"stop_token_ids", "[2]"},
        {"include_stop_str_in_output", "true"},
        {"truncate_prompt_tokens", "5"},
        {"n_predict", "8"},
        {"modalities", "[\"text\",\"audio\"]"},
        {"modalities", "[\"audio\"]"},
        {"skip_special_tokens", "false"},
        {"dry_multiplier", "0.8"},
        {"function_call", "{\"name\":\"f\"}"},
        {"logits_processors", "[\"x\"]"},
    };
    char member[128];

    for (size_t i = 0; i < sizeof both / sizeof *both; i++) {
        snprintf(member, sizeof member, "\"%s\":%s", both[i][0], both[i][1]);
        CHECK(unsupported(text, member, both[i][0]));
        CHECK(unsupported(chat, member, both[i][0]));
    }
    CHECK(unsupported(chat, "\"prompt\":\"x\"", "prompt"));
    CHECK(unsupported(text, "\"messages\":[{}]", "messages"));
    CHECK(unsupported(text, "\"top_logprobs\":2", "top_logprobs"));
    CHECK(unsupported(text, "\"continue_final_message\":true", "continue_final_message"));
    CHECK(unsupported(text, "\"add_generation_prompt\":false", "add_generation_prompt"));
    CHECK(unsupported(text, "\"enable_thinking\":true", "enable_thinking"));
    CHECK(unsupported(text, "\"chat_template_kwargs\":{\"a\":1}", "chat_template_kwargs"));
    CHECK(unsupported(text, "\"stream_options\":{\"continuous_usage_stats\":true}",
                      "stream_options.continuous_usage_stats"));
}

TEST(request_values_that_ask_for_nothing_are_taken)
{
    request q = read_good(
        chat, "\"grammar\":\"\",\"guided_json\":null,\"guided_choice\":[],\"min_tokens\":0,"
              "\"stop_token_ids\":[],\"include_stop_str_in_output\":false,"
              "\"truncate_prompt_tokens\":null,\"modalities\":[\"text\"],\"tools\":[],"
              "\"tool_choice\":\"none\",\"skip_special_tokens\":true,\"dry_multiplier\":0,"
              "\"add_generation_prompt\":true,\"chat_template_kwargs\":{},\"prompt\":\"\","
              "\"stream_options\":{\"include_obfuscation\":true,\"new_one\":1}");
    request_free(&q);
    q = read_good(text, "\"top_logprobs\":0,\"messages\":[],\"max_completion_tokens\":3,"
                        "\"add_special_tokens\":true,\"n\":2,\"best_of\":1");
    CHECK(q.in.max_tokens == 3);
    request_free(&q);
}

TEST(request_history_of_tool_calls_is_not_dropped)
{
    static const char call[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
                               "{\"role\":\"assistant\",\"content\":null,\"%s\":%s}]}";
    char body[256];

    snprintf(body, sizeof body, call, "tool_calls", "[{\"id\":\"c\",\"function\":{}}]");
    CHECK(body_refused(chat, body, "messages[1].tool_calls"));
    snprintf(body, sizeof body, call, "function_call", "{\"name\":\"f\"}");
    CHECK(body_refused(chat, body, "messages[1].function_call"));
    snprintf(body, sizeof body, call, "refusal", "\"No.\"");
    CHECK(body_refused(chat, body, "messages[1].refusal"));
}

/* A name counts once, and a client that makes up names runs into the bound. */
TEST(request_unknown_names_are_noted_once_and_are_bounded)
{
    char name[32];
    size_t noted = 0;

    CHECK(request_note_unknown("made_up") && !request_note_unknown("made_up"));
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "made_up_%d", i);
        noted += request_note_unknown(name);
    }
    CHECK(noted >= 32 && noted <= 64);
}

TEST(request_unknown_members_are_ignored)
{
    request q = read_good(chat, "\"user\":\"u\",\"metadata\":{\"a\":[1]},\"store\":true,"
                                "\"no_such_thing\":{\"x\":null},\"Temperature\":99");

    CHECK(q.in.sample.temperature == 1);
    request_free(&q);
}

TEST(request_body_must_be_an_object)
{
    CHECK(body_refused(text, "[]", ""));
    CHECK(body_refused(text, "\"x\"", ""));
    CHECK(body_refused(text, "", ""));
    CHECK(body_refused(chat, "{\"messages\":", ""));
}

TEST(request_default_length_is_cut_to_the_context)
{
    request_env env = body_env();
    const char *body = "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
    fault why;
    request q;

    env.ctx_size = 100;
    CHECK(request_read(&q, &chat->request, &env, body, strlen(body), &why));
    CHECK(request_max_tokens(&q, &env, &q.prompts[0]) == 100 - q.prompts[0].n);
    CHECK(!q.wants_tokens);
    request_free(&q);
}

TEST(request_max_tokens_is_an_upper_bound)
{
    static const char *const wishes[] = {"5000", "-1", "7"};
    request_env env = body_env();
    char body[64];
    fault why;
    request q;

    env.ctx_size = 100;
    for (size_t i = 0; i < 3; i++) {
        const int n = snprintf(body, sizeof body, "{\"prompt\":[1,2,3],\"max_tokens\":%s}",
                               wishes[i]);

        CHECK(request_read(&q, &text->request, &env, body, (size_t)n, &why));
        CHECK(request_max_tokens(&q, &env, &q.prompts[0]) == (i == 2 ? 7 : 97));
        CHECK(q.wants_tokens);
        env.ctx_size = 3; /* no room: one more than fits, which is refused with the sum */
        CHECK(request_max_tokens(&q, &env, &q.prompts[0]) == 1);
        env.ctx_size = 100;
        request_free(&q);
    }
}

TEST(request_seed_of_minus_one_is_random)
{
    request a = read_good(text, "\"seed\":-1"), b = read_good(text, "\"seed\":-1");
    request c = read_good(text, "\"seed\":-2");

    CHECK(a.in.sample.seed != b.in.sample.seed && c.in.sample.seed == (uint64_t)-2);
    request_free(&a);
    request_free(&b);
    request_free(&c);
}

TEST(request_says_whose_it_is_and_how_urgent)
{
    fault why;
    request q, salted;

    CHECK(read_members(&q, text, "\"priority\":-7", &why) && q.in.priority == -7);
    CHECK(read_members(&salted, chat, "\"cache_salt\":\"s\"", &why) && !salted.in.priority);
    CHECK(q.in.tenant == 7 && q.in.tenant == salted.in.tenant);
    CHECK(memcmp(q.in.scope, salted.in.scope, sizeof q.in.scope) != 0);
    request_free(&q);
    request_free(&salted);
    CHECK(refused_as(text, "\"priority\":1.5", 400, "priority", "invalid_type") ||
          refused_as(text, "\"priority\":1.5", 400, "priority", "invalid_value"));
}
