/* test_tool_grammar.c - every format's grammar takes well-formed calls and no others, and what
 * it takes the parser reads as a call. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/tool_grammar.h"
#include "server/api/tool_parse.h"
#include "server/json.h"
#include "server/text.h"
#include "tests/accepts.h"
#include "tests/test.h"

static const char schema_f[] =
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"
    "\"s\":{\"type\":\"string\"},\"u\":{\"enum\":[\"c\",\"f\"]}},\"required\":[\"a\"],"
    "\"additionalProperties\":false}";

/* The grammar of two functions, f(a, s?, u?) and g of anything; the caller frees. */
static program *make(const char *format, tool_grammar more, fault *why)
{
    cJSON *schema = cJSON_Parse(schema_f);
    const tool_function functions[] = {
        {.name = "f", .parameters = schema, .path = "p", .strict = true},
        {.name = "go", .path = "q"}};
    program *p = NULL;
    grammar *g;
    nfa *a = NULL;

    more.format = tool_format_named(format);
    more.functions = functions;
    more.n = 2;
    CHECK(more.format && schema && nfa_new(&a) == ERR_OK);
    *why = (fault){0};
    if (!tool_grammar_add(a, &more, why))
        nfa_free(a);
    else if (grammar_new(&g, a, accepts_tree()->single, why) == ERR_OK)
        CHECK(program_new(&p, g, accepts_tree()) == ERR_OK);
    cJSON_Delete(schema);
    return p;
}

/* Each text is one of the grammar's, or none is. */
static bool all(const char *format, tool_grammar more, bool good, const char *const *texts)
{
    fault why;
    program *p = make(format, more, &why);
    bool right = p != NULL;

    for (; *texts && right; texts++) {
        right = accepts_text(p, *texts) == good;
        if (!right) fprintf(stderr, "%s %s: %s\n", format, good ? "lacks" : "takes", *texts);
    }
    program_free(p);
    return right;
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
static const tool_grammar forced = {.forced = true, .parallel = true};
static const tool_grammar one = {.forced = true};
static const tool_grammar free_text = {.parallel = true};

#define CALL_F "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"

TEST(hermes_calls_are_held_to_their_schemas)
{
    CHECK(
        all("hermes", forced, true,
            LIST(CALL_F, CALL_F "\n" CALL_F,
                 "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":-3,\"u\":\"c\"}}</tool_call>",
                 "<tool_call>{\"name\": \"go\", \"arguments\": {\"x\": [1]}}</tool_call>")));
    CHECK(
        all("hermes", forced, false,
            LIST("", "Hi", CALL_F "Hi", "Hi" CALL_F,
                 "<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>",
                 "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
                 "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1.5}}</tool_call>",
                 "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1,\"u\":\"k\"}}</tool_call>",
                 "<tool_call>{\"name\":\"go\",\"arguments\":[]}</tool_call>",
                 "<tool_call>{\"name\":\"go\",\"arguments\":{}}")));
    CHECK(all("hermes", one, true, LIST(CALL_F)));
    CHECK(all("hermes", one, false, LIST(CALL_F "\n" CALL_F)));
}

TEST(text_is_free_until_a_mark)
{
    CHECK(all("hermes", free_text, true,
              LIST("", "Hi <tool_cal> {", CALL_F, "Hm.\n" CALL_F "\nso\n" CALL_F,
                   "{\"name\": \"f\", \"arguments\": {\"a\": 1}}", "{\"name\": \"Ann\"}",
                   "\n{\"name\":\"f\",\"arguments\":{\"a\":1}}", "So {\"name\": \"f\", x")));
    CHECK(all("hermes", free_text, false,
              LIST("Hi <tool_call>", "<tool_call>x", "{\"name\": \"f\"}",
                   "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
                   "a\n" CALL_F "\n<tool_call>{")));
    CHECK(all("hermes", (tool_grammar){0}, true, LIST("Hi", "Hi " CALL_F)));
    CHECK(all("hermes", (tool_grammar){0}, false, LIST(CALL_F " and", CALL_F "\n" CALL_F)));
}

TEST(thoughts_come_before_a_call)
{
    const tool_thoughts think = {"<think>", "</think>"};
    tool_grammar g = {.forced = true, .thoughts = think};

    CHECK(all(
        "hermes", g, true,
        LIST(CALL_F, "<think>a <tool_call> b</think>\n\n" CALL_F, "<think></think>" CALL_F)));
    CHECK(all("hermes", g, false, LIST("<think>a", "<think>a</think>", "a</think>" CALL_F)));
    g.opened = true;
    CHECK(all("hermes", g, true, LIST("a\n</think>\n" CALL_F)));
    CHECK(all("hermes", g, false, LIST(CALL_F, "a\n</think>\nb")));
    g.forced = false;
    CHECK(all("hermes", g, true, LIST("a <tool_call> </think>b", "a</think>\n" CALL_F)));
    CHECK(all("hermes", g, false, LIST("a", "a</think><tool_call>x")));
}

TEST(a_text_beside_calls_may_be_a_document)
{
    cJSON *document = cJSON_Parse("{\"const\":true}");
    const tool_grammar g = {.parallel = true, .document = document};

    CHECK(all("hermes", g, true, LIST("true", CALL_F)));
    CHECK(all("hermes", g, false, LIST("Hi", "true" CALL_F, "")));
    cJSON_Delete(document);
}

/* What each format writes; the second list is near it. */
TEST(each_format_has_its_own_form)
{
    CHECK(all("mistral", forced, true,
              LIST("[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}}]",
                   "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": "
                   "\"aB3456789\"}, {\"name\": \"go\", \"arguments\": {}}]")));
    CHECK(all("mistral", forced, false,
              LIST("[TOOL_CALLS]{\"name\": \"go\", \"arguments\": {}}", "[TOOL_CALLS][]",
                   "[TOOL_CALLS][{\"name\": \"go\", \"arguments\": {}, \"id\": \"short\"}]")));
    CHECK(all("mistral-args", forced, true,
              LIST("[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]go[ARGS]{}")));
    CHECK(all("mistral-args", forced, false,
              LIST("[TOOL_CALLS]f[ARGS]{}", "[TOOL_CALLS]f{\"a\": 1}")));
    CHECK(
        all("deepseek", forced, true,
            LIST("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": 1}"
                 "<｜tool▁call▁end｜><｜tool▁call▁begin｜>go<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
                 "<｜tool▁calls▁end｜>")));
    CHECK(all("deepseek", forced, false, LIST("<｜tool▁calls▁begin｜><｜tool▁calls▁end｜>")));
    CHECK(
        all("deepseek-r1", forced, true,
            LIST("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
                 "{\"a\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>")));
}

TEST(arguments_between_marks_have_their_own_form)
{
    CHECK(all("qwen3-coder", forced, true,
              LIST("<tool_call>\n<function=f>\n<parameter=a>\n12\n</parameter>\n<parameter=s>\n"
                   "any <b>text\n\n</parameter>\n</function>\n</tool_call>",
                   "<tool_call>\n<function=f>\n<parameter=a>1</parameter>\n<parameter=u>\nc\n"
                   "</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=go>\n"
                   "<parameter=k>\nv\n</parameter>\n</function>\n</tool_call>")));
    CHECK(
        all("qwen3-coder", forced, false,
            LIST("<tool_call>\n<function=f>\n</function>\n</tool_call>",
                 "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n</function>\n</"
                 "tool_call>",
                 "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=u>\nk\n"
                 "</parameter>\n</function>\n</tool_call>")));
    CHECK(all(
        "glm", forced, true,
        LIST("<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>")));
}

/* Small models go on with the same call for ever. */
TEST(an_answer_ends_behind_a_call_without_a_mark)
{
    static const char bare[] = "{\"name\": \"f\", \"arguments\": {\"a\": 1}}";
    char text[256];

    CHECK(all("hermes", free_text, true, LIST(bare, "Hi " CALL_F "\n" CALL_F " Hi")));
    for (size_t i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "%s%s%s", bare,
                 i == 0   ? "\n"
                 : i == 1 ? "\nHi"
                          : "",
                 i == 2 ? bare : "");
        CHECK(all("hermes", free_text, false, LIST(text)));
    }
}

TEST(formats_that_lead_and_others_have_their_own_form)
{
    CHECK(all("llama3-json", forced, true,
              LIST("{\"name\": \"f\", \"parameters\": {\"a\": 1}}; {\"name\": \"go\", "
                   "\"parameters\": {}}")));
    CHECK(all("llama3-json", free_text, false,
              LIST("{\"name\": \"f\", \"arguments\": {\"a\": 1}}")));
    CHECK(all("llama3-pythonic", forced, true,
              LIST("[f(a=1, s=\"x\", u=\"c\"), go()]", "[f(a=1)]")));
    CHECK(all("llama3-pythonic", forced, false, LIST("[f()]", "[f(s=\"x\")]", "[]", "f(a=1)")));
    CHECK(
        all("phi-4-mini", forced, true,
            LIST("<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]<|/tool_call|>")));
    CHECK(all("granite", forced, true,
              LIST("<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]")));
    CHECK(all("functionary", forced, true, LIST("<function=f>{\"a\": 1}</function>")));
    CHECK(all(
        "harmony", forced, true,
        LIST("<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\": 1}",
             "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
             "to=functions.go<|message|>{}<|call|>",
             " to=functions.f<|channel|>commentary json<|message|>{\"a\": 1}")));
    CHECK(all("harmony", free_text, false,
              LIST("<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}",
                   " to=functions.x<|channel|>commentary json<|message|>{}")));
}

/* A text that is drawn from the grammar, byte by byte; the caller frees. */
static char *draw(program *p, uint32_t seed)
{
    enum { MOST = 400 };
    const token_tree *v = accepts_tree();
    text_builder t = {0};
    matcher *m;

    CHECK(matcher_new(&m, p, false) == ERR_OK);
    for (size_t left = MOST; left && !matcher_is_complete(m); left--) {
        const uint64_t *mask = matcher_mask(m, left - 1);
        size_t id = (seed = seed * 1664525u + 1013904223u) % v->V;

        CHECK(mask != NULL);
        while (!matcher_allows(mask, (int32_t)id) || (v->use[id] == TOKEN_TREE_CONTROL))
            id = (id + 1) % v->V;
        if (v->use[id] == TOKEN_TREE_END) break;
        CHECK(matcher_accept(m, (int32_t)id));
        text_add(&t, v->pieces[id].at, v->pieces[id].n);
    }
    CHECK(matcher_may_end(m));
    matcher_free(m);
    return text_take(&t, NULL);
}

/* The parser finds one call, whose arguments are JSON with an integer a. */
static bool is_read(const char *format, const char *text)
{
    cJSON *list = cJSON_CreateArray(), *f = cJSON_CreateObject(), *arguments = NULL;
    const tool_parse_setup s = {.format = tool_format_named(format), .functions = list};
    text_builder t = {0};
    const piece *pieces;
    tool_parser *p;
    size_t n;
    bool good;

    cJSON_AddStringToObject(f, "name", "f");
    cJSON_AddItemToObject(f, "parameters", cJSON_Parse(schema_f));
    cJSON_AddItemToArray(list, f);
    CHECK(tool_parse_new(&p, &s) == ERR_OK);
    tool_parse_feed(p, text, strlen(text));
    tool_parse_end(p);
    CHECK(tool_parse_take(p, &pieces, &n) == ERR_OK);
    for (size_t i = 0; i < n; i++)
        if (pieces[i].kind == PIECE_ARGUMENTS) text_add(&t, pieces[i].text, pieces[i].len);
    arguments = t.n ? cJSON_ParseWithOpts(t.at, NULL, true) : NULL;
    good = tool_parse_calls(p) == 1 && arguments && cJSON_IsNumber(json_get(arguments, "a"));
    if (!good) fprintf(stderr, "%s: %s\n  read as %s\n", format, text, t.n ? t.at : "nothing");
    cJSON_Delete(arguments);
    text_free(&t);
    tool_parse_free(p);
    cJSON_Delete(list);
    return good;
}

TEST(what_a_grammar_allows_the_parser_reads)
{
    cJSON *schema = cJSON_Parse(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"
        "\"u\":{\"enum\":[\"c\",\"f\"]}},\"required\":[\"a\"]}");
    const tool_function f = {.name = "f", .parameters = schema, .path = "p", .strict = true};

    for (size_t i = 0; tool_format_at(i); i++) {
        const tool_grammar g = {
            .format = tool_format_at(i), .functions = &f, .n = 1, .forced = true};
        fault why = {0};
        grammar *made;
        program *p;
        nfa *a;

        CHECK(nfa_new(&a) == ERR_OK && tool_grammar_add(a, &g, &why));
        CHECK(grammar_new(&made, a, accepts_tree()->single, &why) == ERR_OK);
        CHECK(program_new(&p, made, accepts_tree()) == ERR_OK);
        for (uint32_t seed = 1; seed <= 20; seed++) {
            char *text = draw(p, seed);

            CHECK(is_read(g.format->name, text));
            free(text);
        }
        program_free(p);
    }
    cJSON_Delete(schema);
}

TEST(a_schema_that_cannot_be_held_is_refused_or_any_object)
{
    cJSON *schema = cJSON_Parse("{\"$ref\":\"#/nowhere\"}");
    tool_function f = {.name = "f", .parameters = schema, .path = "tools[0]", .strict = true};
    const tool_grammar g = {
        .format = tool_format_named("hermes"), .functions = &f, .n = 1, .forced = true};
    fault why = {0};
    nfa *a;

    CHECK(nfa_new(&a) == ERR_OK && !tool_grammar_add(a, &g, &why));
    CHECK(strncmp(why.field, "tools[0]", 8) == 0 && why.sentence[0]);
    nfa_free(a);
    f.strict = false;
    CHECK(nfa_new(&a) == ERR_OK && tool_grammar_add(a, &g, &why));
    nfa_free(a);
    cJSON_Delete(schema);
}
