/* test_request_guide.c - members that hold an answer to a form: read, refused, kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/http/wire_error.h"
#include "tests/body.h"
#include "tests/test.h"

/* A chat with these members; the caller frees q. */
static bool read_members(request *q, const char *members, fault *why)
{
    char body[4096];

    snprintf(body, sizeof body, "{%s,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}",
             members);
    return body_read(q, &api_chat_kind, body, why);
}

/* The fewest tokens that are enough for the form of these members; 0: they are refused. */
static size_t shortest(const char *members)
{
    fault why;
    request q;
    const bool good = read_members(&q, members, &why);
    const size_t n = good && q.in.program ? program_shortest(q.in.program) : 0;

    if (!good) fprintf(stderr, "%s: %s\n", members, why.sentence);
    request_free(&q);
    return n;
}

static bool refused(const char *members, const char *param, const char *code)
{
    fault why;
    request q;
    const bool good = read_members(&q, members, &why);
    const wire_error row = wire_error_for(why.e);
    const bool right = !good && row.status == 400 && strcmp(why.field, param) == 0 &&
                       row.code && strcmp(row.code, code) == 0;

    if (!right) fprintf(stderr, "%s: '%s' %s\n", members, why.field, why.sentence);
    request_free(&q);
    return right;
}

TEST(every_dialect_names_a_form)
{
    CHECK(shortest("\"response_format\":{\"type\":\"json_object\"}") == 2);
    CHECK(shortest(
              "\"response_format\":{\"type\":\"json_object\",\"schema\":{\"const\":12}}") == 2);
    CHECK(shortest(
              "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
              "\"strict\":true,\"schema\":{\"type\":\"boolean\"}}}") == 4);
    CHECK(shortest(
              "\"response_format\":{\"type\":\"json_schema\",\"schema\":{\"const\":\"x\"}}") ==
          3);
    CHECK(shortest("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
                   "\"n\"}}") == 2);
    CHECK(shortest("\"json_schema\":{\"const\":\"abc\"}") == 5);
    CHECK(shortest("\"guided_json\":{\"const\":null}") == 4);
    CHECK(shortest("\"guided_json\":\"{\\\"const\\\":null}\"") == 4);
    CHECK(shortest("\"guided_json\":{}") == 1);
    CHECK(shortest("\"guided_json_object\":true") == 2);
    CHECK(shortest("\"guided_regex\":\"a{7}\"") == 7 &&
          shortest("\"regex\":\"a{7}|b{3}\"") == 3);
    CHECK(shortest("\"guided_choice\":[\"red\",\"green\"]") == 3);
    CHECK(shortest("\"guided_grammar\":\"root ::= \\\"ab\\\"\"") == 2);
    CHECK(shortest("\"grammar\":\"root ::= [0-9]{4}\"") == 4);
    CHECK(shortest("\"structured_outputs\":{\"json\":{\"const\":1}}") == 1);
    CHECK(shortest("\"structured_outputs\":{\"regex\":\"xy\"}") == 2);
    CHECK(shortest("\"structured_outputs\":{\"choice\":[\"abc\"]}") == 3);
    CHECK(shortest("\"structured_outputs\":{\"grammar\":\"root ::= \\\"a\\\"\"}") == 1);
    CHECK(shortest("\"structured_outputs\":{\"json_object\":true,\"regex\":null}") == 2);
}

TEST(what_asks_for_no_form_gives_none)
{
    static const char *const none[] = {
        "\"response_format\":{\"type\":\"text\"}",
        "\"grammar\":\"\"",
        "\"guided_choice\":[]",
        "\"structured_outputs\":{}",
        "\"guided_json\":null",
        "\"guided_json_object\":false",
        "\"structured_outputs\":{\"disable_fallback\":false,\"json\":null}"};

    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        fault why;
        request q;

        CHECK(read_members(&q, none[i], &why) && !q.in.program);
        request_free(&q);
    }
}

TEST(two_forms_are_refused_by_name)
{
    CHECK(refused(
        "\"grammar\":\"root ::= \\\"a\\\"\",\"response_format\":{\"type\":\"json_object\"}",
        "grammar", "invalid_value"));
    CHECK(
        refused("\"guided_json\":{},\"guided_regex\":\"a\"", "guided_regex", "invalid_value"));
    CHECK(refused("\"structured_outputs\":{\"json\":{},\"regex\":\"a\"}",
                  "structured_outputs.regex", "invalid_value"));
}

TEST(a_form_that_cannot_be_is_refused_by_its_place)
{
    CHECK(refused("\"guided_regex\":\"(a)\\\\1\"", "guided_regex", "invalid_value"));
    CHECK(refused("\"guided_regex\":7", "guided_regex", "invalid_value"));
    CHECK(refused("\"guided_choice\":[1]", "guided_choice", "invalid_value"));
    CHECK(refused("\"guided_choice\":\"a\"", "guided_choice", "invalid_value"));
    CHECK(refused("\"grammar\":\"root ::= x\"", "grammar", "invalid_value"));
    CHECK(refused("\"guided_json\":\"{\"", "guided_json", "invalid_value"));
    CHECK(refused("\"guided_json\":[]", "guided_json", "invalid_value"));
    CHECK(refused("\"response_format\":{\"type\":\"json_schema\"}",
                  "response_format.json_schema", "missing_required_parameter"));
    CHECK(refused("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":"
                  "{\"properties\":{\"a\":{\"not\":{}}}}}}",
                  "response_format.json_schema.schema.properties.a.not", "invalid_value"));
    CHECK(refused("\"structured_outputs\":{\"structural_tag\":\"x\"}",
                  "structured_outputs.structural_tag", "unsupported_parameter"));
    CHECK(refused("\"structured_outputs\":{\"disable_any_whitespace\":true}",
                  "structured_outputs.disable_any_whitespace", "unsupported_parameter"));
}

TEST(a_budget_below_the_shortest_answer_is_refused_with_the_number)
{
    static const char ten[] = "\"guided_regex\":\"a{10}\",\"max_tokens\":%d";
    char members[64];
    fault why;
    request q;

    snprintf(members, sizeof members, ten, 9);
    CHECK(!read_members(&q, members, &why) && strcmp(why.field, "max_tokens") == 0);
    CHECK(strstr(why.sentence, "at least 10 tokens") && strstr(why.sentence, "guided_regex"));
    request_free(&q);
    snprintf(members, sizeof members, ten, 10);
    CHECK(read_members(&q, members, &why));
    request_free(&q);
    snprintf(members, sizeof members, ten, 0); /* only fills the cache */
    CHECK(read_members(&q, members, &why));
    request_free(&q);
}

TEST(a_form_is_compiled_once_and_kept_within_bounds)
{
    const request_env env = body_env();
    char members[64];
    fault why;
    request q, again;

    CHECK(read_members(&q, "\"guided_regex\":\"kept\"", &why));
    CHECK(read_members(&again, "\"guided_regex\":\"kept\"", &why));
    CHECK(q.in.program == again.in.program);
    request_free(&again);
    for (int i = 0; i < 3 * GUIDES_KEPT; i++) {
        snprintf(members, sizeof members, "\"guided_regex\":\"x{%d}\"", i);
        CHECK(read_members(&again, members, &why));
        request_free(&again);
        CHECK(guides_kept(env.guides) <= GUIDES_KEPT);
    }
    CHECK(program_shortest(q.in.program) == 4); /* held by its request */
    request_free(&q);
}
