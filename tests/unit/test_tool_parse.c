/* test_tool_parse.c - every format's answers: whole, byte by byte, and cut at each place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/tool_parse.h"
#include "server/json.h"
#include "server/text.h"
#include "tests/test.h"

static const char functions[] =
    "[{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"a\":{\"type\":\"integer\"},\"s\":{\"type\":\"string\"},\"o\":{\"type\":\"object\"},"
    "\"b\":{\"type\":\"boolean\"},\"x\":{},\"n\":{\"type\":[\"string\",\"null\"]}}}},"
    "{\"name\":\"get_weather\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"city\":{\"type\":\"string\"}}}}]";

/* Pieces as one text: "text|reasoning" with calls as " name(arguments)"; ids are looked at. */
typedef struct told {
    text_builder text, thoughts, calls;
    int n;
} told;

static void tell(told *t, const piece *pieces, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const piece *p = &pieces[i];

        if (p->kind == PIECE_TEXT) text_add(&t->text, p->text, p->len);
        if (p->kind == PIECE_REASONING) text_add(&t->thoughts, p->text, p->len);
        if (p->kind == PIECE_ARGUMENTS) {
            CHECK(p->call == t->n - 1);
            text_add(&t->calls, p->text, p->len);
        }
        if (p->kind != PIECE_CALL) continue;
        CHECK(p->call == t->n++ && p->id[0] && strlen(p->id) <= 40);
        text_addf(&t->calls, " %s:", p->name);
    }
}

/* Cut before byte `at`; 0: not at all; SIZE_MAX: everywhere. */
static char *parse(const tool_parse_setup *setup, const char *answer, size_t at)
{
    const size_t n = strlen(answer);
    tool_parser *p;
    told t = {0};
    text_builder all = {0};
    const piece *pieces;
    size_t n_pieces;

    CHECK(tool_parse_new(&p, setup) == ERR_OK);
    for (size_t i = 0; i < n;) {
        const size_t m = at == SIZE_MAX ? 1 : i < at ? at - i : n - i;

        tool_parse_feed(p, answer + i, m);
        i += m;
        CHECK(tool_parse_take(p, &pieces, &n_pieces) == ERR_OK);
        tell(&t, pieces, n_pieces);
    }
    tool_parse_end(p);
    CHECK(tool_parse_take(p, &pieces, &n_pieces) == ERR_OK);
    tell(&t, pieces, n_pieces);
    CHECK(tool_parse_calls(p) == (size_t)t.n);
    text_addf(&all, "%s|%s|%s", t.text.n ? t.text.at : "", t.thoughts.n ? t.thoughts.at : "",
              t.calls.n ? t.calls.at : "");
    text_free(&t.text);
    text_free(&t.thoughts);
    text_free(&t.calls);
    tool_parse_free(p);
    return text_take(&all, NULL);
}

static bool same(const tool_parse_setup *setup, const char *answer, const char *expected)
{
    bool good = true;

    for (size_t at = 0; at <= strlen(answer) && good; at++) {
        char *got = parse(setup, answer, at == strlen(answer) ? SIZE_MAX : at);

        good = strcmp(got, expected) == 0;
        if (!good)
            fprintf(stderr, "%s\n  cut at %zu: %s\n  expected: %s\n", answer, at, got,
                    expected);
        free(got);
    }
    return good;
}

/* An answer in a format, with <think> told apart, and what it says. */
static bool says(const char *format, const char *answer, const char *expected)
{
    cJSON *list = cJSON_Parse(functions);
    tool_parse_setup setup = {.format = tool_format_named(format),
                              .thoughts = {"<think>", "</think>"},
                              .functions = list};
    bool good;

    CHECK(setup.format && list);
    good = same(&setup, answer, expected);
    cJSON_Delete(list);
    return good;
}

TEST(text_without_a_mark_is_text)
{
    static const char *const texts[] = {"Hi there.\n",    " a <b> {\"name\": 1} [x] \n\n",
                                        "<tool",          "",
                                        "a\n<tool_cal>x", "{\"a\": [1]}\n"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t k = 0; tool_format_at(k); k++) {
            char expected[64];

            snprintf(expected, sizeof expected, "%s||", texts[i]);
            if (tool_format_at(k)->shape == TOOL_HARMONY) continue;
            CHECK(says(tool_format_at(k)->name, texts[i], expected));
        }
}

TEST(hermes_calls)
{
    CHECK(says("hermes",
               "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
               "|| f:{\"a\": 1}"));
    CHECK(says(
        "hermes",
        "I look.\n\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n"
        "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"A}\\\"{\"}}\n"
        "</tool_call>\n",
        "I look.|| f:{} get_weather:{\"city\": \"A}\\\"{\"}"));
    CHECK(says(
        "hermes",
        "<think>\nHm, <tool_call>?\n</think>\n\n<tool_call>\n{\"name\": \"f\"}\n</tool_call>",
        "|Hm, <tool_call>?| f:{}"));
    CHECK(says(
        "hermes",
        "<tool_call>{\"arguments\": {\"a\": [1, {\"b\": 2}]}, \"name\": \"f\"}</tool_call>",
        "|| f:{\"a\": [1, {\"b\": 2}]}"));
    CHECK(says("hermes",
               "<tool_call>{\"id\": \"x\", \"name\": \"f\", \"arguments\": {\"a\": 1}, \"k\": "
               "1.5}</tool_call>ok",
               "ok|| f:{\"a\": 1}"));
}

/* What small models of this family write, too. */
TEST(hermes_calls_that_lack_their_mark)
{
    CHECK(says("hermes", "{\"name\": \"f\", \"arguments\": {\"a\": 1}}", "|| f:{\"a\": 1}"));
    CHECK(
        says("hermes",
             "\n{\"name\":\"f\",\"arguments\":{}}\n{\"name\": \"f\", \"arguments\": {\"a\":2}}",
             "|| f:{} f:{\"a\":2}"));
    CHECK(says("generic", "{\n  \"name\": \"f\",\n  \"arguments\": {}\n}", "|| f:{}"));
    CHECK(says("hermes", "{\"name\": \"Ann\"}", "{\"name\": \"Ann\"}||"));
    CHECK(says("hermes", "So: {\"name\": \"f\", \"arguments\": {}}",
               "So: {\"name\": \"f\", \"arguments\": {}}||"));
}

TEST(what_is_no_call_after_all_is_text)
{
    CHECK(says("hermes", "a\n<tool_call>b", "a\n<tool_call>b||"));
    CHECK(says("hermes", "<tool_call>{\"x\": 1}", "<tool_call>{\"x\": 1}||"));
    CHECK(says("hermes", "<tool_call>{\"name\": 5}", "<tool_call>{\"name\": 5}||"));
    CHECK(says("mistral", "[TOOL_CALLS] none", "[TOOL_CALLS] none||"));
    CHECK(says("deepseek", "<｜tool▁calls▁begin｜>x", "<｜tool▁calls▁begin｜>x||"));
}

TEST(what_is_cut_is_told_as_far_as_it_went)
{
    CHECK(says("hermes", "Hm <tool_call>\n{\"name\": \"f", "Hm||"));
    CHECK(says("hermes", "<tool_call>\n{\"name\": \"f\"", "|| f:"));
    CHECK(says("hermes", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"ab",
               "|| f:{\"s\": \"ab"));
    CHECK(says("hermes", "<think>Let me", "|Let me|"));
    CHECK(says("hermes", "a <tool_ca", "a <tool_ca||"));
}

TEST(mistral_calls)
{
    CHECK(says(
        "mistral",
        "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"abcdefghi\"}, "
        "{\"name\": \"get_weather\", \"arguments\": {}}]",
        "|| f:{\"a\": 1} get_weather:{}"));
    CHECK(says("mistral", "x[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}}]", "x|| f:{}"));
    CHECK(says("mistral-args", "[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]get_weather[ARGS]{}",
               "|| f:{\"a\": 1} get_weather:{}"));
}

TEST(deepseek_calls)
{
    CHECK(says(
        "deepseek-r1",
        "<think>\nx\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function"
        "<｜tool▁sep｜>f\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>"
        "function<｜tool▁sep｜>get_weather\n```json\n{}\n```<｜tool▁call▁end｜><"
        "｜tool▁calls▁end｜>",
        "|x| f:{\"a\": 1} get_weather:{}"));
    CHECK(says("deepseek",
               "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": "
               "1}<｜tool▁call▁end｜>"
               "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
               "|| f:{\"a\": 1} f:{}"));
}

TEST(calls_between_marks)
{
    CHECK(
        says("qwen3-coder",
             "Now:\n<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=s>\n"
             "a \"q\"\n\n </param\n</parameter>\n<parameter=o>\n{\"k\": [1]}\n</parameter>\n"
             "</function>\n</tool_call>",
             "Now:|| f:{\"a\": 1, \"s\": \"a \\\"q\\\"\\n\\n </param\", \"o\": {\"k\": [1]}}"));
    CHECK(
        says("qwen3-coder",
             "<tool_call>\n<function=f>\n</function>\n</tool_call>\n<tool_call>\n<function=f>\n"
             "<parameter=x>\nhello\n</parameter>\n<parameter=n>\nnull\n</parameter>\n"
             "<parameter=s>\n17\n</parameter>\n</function>\n</tool_call>",
             "|| f:{} f:{\"x\": \"hello\", \"n\": null, \"s\": \"17\"}"));
    CHECK(says(
        "glm",
        "<think></think>\n<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>Paris\n</arg_value>\n"
        "<arg_key>b</arg_key>\n<arg_value>true</arg_value>\n</tool_call>",
        "|| f:{\"s\": \"Paris\\n\", \"b\": true}"));
    CHECK(says("glm", "<tool_call>f</tool_call>done", "done|| f:{}"));
    CHECK(says("seed-oss",
               "<seed:tool_call>\n<function=f>\n<parameter=a>3</parameter>\n</function>\n</"
               "seed:tool_call>",
               "|| f:{\"a\": 3}"));
    CHECK(says("minimax",
               "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter "
               "name=\"s\">x</parameter>\n</invoke>\n"
               "<invoke name=\"f\">\n</invoke>\n</minimax:tool_call>",
               "|| f:{\"s\": \"x\"} f:{}"));
}

TEST(llama_calls)
{
    CHECK(says("llama3-json", "{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
               "|| f:{\"a\": 1}"));
    CHECK(says("llama3-json",
               "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"f\", "
               "\"parameters\": {\"a\": 2}}",
               "|| f:{} f:{\"a\": 2}"));
    CHECK(says("llama3-json", "{\"name\": \"g\", \"parameters\": {}}",
               "{\"name\": \"g\", \"parameters\": {}}||"));
    CHECK(says("llama3-pythonic",
               "[f(a=1, s='it''s \\'q\\' \"x\"', o={'k': (1, None)}), "
               "get_weather(city=\"Paris\"), f()]",
               "|| f:{\"a\": 1, \"s\": \"it\"\"s 'q' \\\"x\\\"\", \"o\": {\"k\": [1, null]}} "
               "get_weather:{\"city\": \"Paris\"} f:{}"));
    CHECK(says("llama4-pythonic", "<|python_start|>[f(b=True)]", "|| f:{\"b\": true}"));
}

TEST(phi_granite_and_functionary_calls)
{
    CHECK(says("phi-4-mini",
               "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]<|/tool_call|>",
               "|| f:{\"a\": 1}"));
    CHECK(says("granite",
               "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"f\", "
               "\"arguments\": {\"a\": 1}}]",
               "|| f:{} f:{\"a\": 1}"));
    CHECK(says("functionary", "<function=f>{\"a\": 1}</function>\n<function=f>{}</function>",
               "|| f:{\"a\": 1} f:{}"));
}

TEST(harmony_channels)
{
    CHECK(says("harmony",
               "<|channel|>analysis<|message|>Think.<|end|><|start|>assistant<|channel|>final<|"
               "message|>Hello.",
               "Hello.|Think.|"));
    CHECK(says(
        "harmony",
        "<|channel|>analysis<|message|>Need it.<|end|><|start|>assistant<|channel|>commentary "
        "to=functions.f <|constrain|>json<|message|>{\"a\": 1}<|call|>",
        "|Need it.| f:{\"a\": 1}"));
    CHECK(says("harmony",
               " to=functions.f<|channel|>commentary json<|message|>{\"s\": \"<|x\"}",
               "|| f:{\"s\": \"<|x\"}"));
    CHECK(says("harmony", "No channel at all.", "No channel at all.||"));
}

TEST(thoughts_are_told_apart_as_asked)
{
    tool_parse_setup s = {.thoughts = {"<think>", "</think>"}, .opened = true};

    CHECK(same(&s, "\nHm.\n</think>\n\nYes. <think>", "Yes. <think>|Hm.|"));
    s.opened = false;
    CHECK(same(&s, "<think>\n\n</think>\n\nYes.\n", "Yes.\n||"));
    CHECK(same(&s, "A <think>b</think>", "A <think>b</think>||"));
    s.silent = true;
    CHECK(same(&s, "<think>x</think>Yes.", "Yes.||"));
    s.silent = false;
    s.twice = true;
    CHECK(same(&s, "<think>x</think>\nYes.", "<think>x</think>\nYes.|x|"));
    s.thoughts = (tool_thoughts){NULL, NULL};
    CHECK(same(&s, "<think>x</think>Yes.", "<think>x</think>Yes.||"));
}
