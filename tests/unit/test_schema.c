/* test_schema.c - JSON schemas as grammars: what is valid, what is refused by its path. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/accepts.h"
#include "tests/test.h"

/* All documents of `good` are accepted, none of `bad`; each list ends with NULL. */
static bool judges(const char *schema, const char *const *good, const char *const *bad)
{
    fault why;
    program *p = accepts_open(ACCEPTS_SCHEMA, schema, &why);
    bool right = p != NULL;

    if (!p) fprintf(stderr, "%s: %s\n", schema, why.sentence);
    for (; p && *good; good++)
        if (!accepts_text(p, *good))
            right = false, fprintf(stderr, "%s: not %s\n", schema, *good);
    for (; p && *bad; bad++)
        if (accepts_text(p, *bad)) right = false, fprintf(stderr, "%s: but %s\n", schema, *bad);
    program_free(p);
    return right;
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static bool refused_at(const char *schema, const char *path)
{
    fault why;
    program *p = accepts_open(ACCEPTS_SCHEMA, schema, &why);
    const bool right = !p && strcmp(why.field, path) == 0 && why.sentence[0];

    if (!right) fprintf(stderr, "%s: '%s' %s\n", schema, why.field, why.sentence);
    program_free(p);
    return right;
}

TEST(schema_types)
{
    CHECK(judges("true", LIST("{}", "[1, \"a\"]", "null", "-1.5e3", "{\"a\":{\"b\":[]}}"),
                 LIST("", "nul", "01", "[1,]", "{\"a\"}", "\"\\x\"", "1.", "\"\n\"")));
    CHECK(judges("{\"type\":[\"integer\",\"null\"]}", LIST("0", "-7", "null"),
                 LIST("1.5", "\"a\"", "007", "1e3")));
    CHECK(judges("{\"type\":\"boolean\"}", LIST("true", "false"), LIST("1", "null")));
    CHECK(judges("{\"type\":\"array\",\"items\":{\"type\":\"boolean\"}}",
                 LIST("[]", "[true]", "[true, false]", "[\n  true,\n  false\n]"),
                 LIST("[1]", "[true false]", "[,]")));
}

TEST(schema_strings)
{
    CHECK(judges("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
                 LIST("\"ab\"", "\"\xc3\xa4\xf0\x9f\x98\x80z\"", "\"\\n\\u00e4\"",
                      "\"\\ud83d\\ude00a\""),
                 LIST("\"a\"", "\"abcd\"", "\"\\n\"", "\"\\ud83d\\ude00\"")));
    CHECK(judges("{\"type\":\"string\",\"pattern\":\"^a+$\"}", LIST("\"aa\""),
                 LIST("\"\"", "\"ba\"", "\"ab\"")));
    CHECK(judges("{\"type\":\"string\",\"pattern\":\"b\",\"maxLength\":3}",
                 LIST("\"b\"", "\"abc\"", "\"\xc3\xa4 b\""), LIST("\"a\"", "\"aabc\"")));
    CHECK(judges("{\"type\":\"string\",\"pattern\":\"^[\\\"\\\\n]$\"}",
                 LIST("\"\\\"\"", "\"\\n\""), LIST("\"\"\"", "\"n\"")));
    CHECK(judges("{\"type\":\"string\",\"format\":\"date\"}",
                 LIST("\"2024-02-29\"", "\"2023-12-31\"", "\"2000-02-29\""),
                 LIST("\"2023-02-29\"", "\"2023-04-31\"", "\"2023-13-01\"", "\"1900-02-29\"")));
    CHECK(judges("{\"type\":\"string\",\"format\":\"date-time\"}",
                 LIST("\"2024-02-29T23:59:59.25Z\"", "\"1999-01-01T00:00:00+01:00\""),
                 LIST("\"2024-02-29 23:59:59Z\"", "\"2024-02-29T24:00:00Z\"")));
    CHECK(judges("{\"type\":\"string\",\"format\":\"ipv4\"}", LIST("\"127.0.0.1\""),
                 LIST("\"256.0.0.1\"", "\"1.2.3\"", "\"01.2.3.4\"")));
    CHECK(judges("{\"type\":\"string\",\"format\":\"ipv6\"}",
                 LIST("\"::1\"", "\"1:2:3:4:5:6:7:8\"", "\"1::8\"", "\"::\""),
                 LIST("\"1:2:3\"", "\":::1\"", "\"1::2::3\"")));
    CHECK(judges("{\"type\":\"string\",\"format\":\"uuid\"}",
                 LIST("\"2eb8aa08-aa98-11ea-b4aa-73b441d16380\""), LIST("\"2eb8aa08\"")));
    CHECK(judges("{\"type\":\"string\",\"format\":\"password\"}", LIST("\"x\""), LIST("1")));
}

TEST(schema_integers_between_bounds)
{
    static const int bounds[][2] = {{0, 0},     {1, 9},      {-5, 5},  {7, 123},
                                    {-123, -7}, {99, 101},   {10, 99}, {100, 100},
                                    {-1000, 1}, {345, 3456}, {0, 1999}};

    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        char schema[128], text[32];
        fault why;
        program *p;

        snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"minimum\":%d,\"maximum\":%d}",
                 bounds[i][0], bounds[i][1]);
        p = accepts_open(ACCEPTS_SCHEMA, schema, &why);
        CHECK(p);
        for (int x = -4000; x <= 4000; x++) {
            snprintf(text, sizeof text, "%d", x);
            CHECK(accepts_text(p, text) == (x >= bounds[i][0] && x <= bounds[i][1]));
        }
        CHECK(!accepts_text(p, "-0") && !accepts_text(p, "00"));
        program_free(p);
    }
    CHECK(judges("{\"type\":\"integer\",\"exclusiveMinimum\":1.5,\"exclusiveMaximum\":4}",
                 LIST("2", "3"), LIST("1", "4")));
    CHECK(judges("{\"type\":\"integer\",\"minimum\":100}", LIST("100", "9007199254740992"),
                 LIST("99", "-100")));
    CHECK(judges("{\"type\":\"integer\",\"maximum\":-2}", LIST("-2", "-100"),
                 LIST("-1", "0", "2")));
}

TEST(schema_numbers_between_bounds)
{
    static const struct {
        const char *schema;
        double lo, hi;
        bool lo_open, hi_open;
    } cases[] = {
        {"{\"type\":\"number\",\"minimum\":1.1,\"maximum\":2.75}", 1.1, 2.75, false, false},
        {"{\"type\":\"number\",\"exclusiveMinimum\":1.1,\"exclusiveMaximum\":1.3}", 1.1, 1.3,
         true, true},
        {"{\"type\":\"number\",\"minimum\":-1.5,\"exclusiveMaximum\":0}", -1.5, 0, false, true},
        {"{\"type\":\"number\",\"minimum\":-0.25}", -0.25, 1e300, false, false},
        {"{\"type\":\"number\",\"maximum\":3}", -1e300, 3, false, false},
        {"{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":1}", 0, 1, true, false},
        {"{\"type\":\"number\",\"exclusiveMinimum\":9.5,\"maximum\":12}", 9.5, 12, true, false},
        {"{\"type\":\"number\",\"minimum\":-12.5,\"maximum\":-3.25}", -12.5, -3.25, false,
         false}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fault why;
        program *p = accepts_open(ACCEPTS_SCHEMA, cases[i].schema, &why);
        char text[32];

        CHECK(p);
        for (int k = -1500; k <= 1500; k++) {
            const double x = k / 100.0;
            const bool above = cases[i].lo_open ? x > cases[i].lo : x >= cases[i].lo;
            const bool below = cases[i].hi_open ? x < cases[i].hi : x <= cases[i].hi;

            snprintf(text, sizeof text, k % 100 ? "%.2f" : "%.0f", x);
            if (strcmp(text, "-0") == 0) continue;
            if (accepts_text(p, text) != (above && below))
                fprintf(stderr, "%s %s\n", cases[i].schema, text);
            CHECK(accepts_text(p, text) == (above && below));
        }
        program_free(p);
    }
}

TEST(schema_objects)
{
    CHECK(judges("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"
                 "\"b\":{\"type\":\"string\"},\"c\":{}},\"required\":[\"b\"]}",
                 LIST("{\"b\":\"x\"}", "{\"a\":1,\"b\":\"x\"}", "{ \"b\": \"\", \"c\": [1] }",
                      "{\n  \"a\": 1,\n  \"b\": \"x\",\n  \"c\": null\n}"),
                 LIST("{}", "{\"a\":1}", "{\"b\":1}", "{\"b\":\"x\",\"a\":1}", "{,\"b\":\"x\"}",
                      "{\"b\":\"x\",\"d\":1}", "{\"b\":\"x\",}")));
    CHECK(judges("{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"integer\"}},"
                 "\"additionalProperties\":{\"type\":\"boolean\"}}",
                 LIST("{}", "{\"ab\":1}", "{\"ab\":1,\"abc\":true}", "{\"a\":true,\"b\":false}",
                      "{\"\":true}", "{\"a\\n\":true}"),
                 LIST("{\"ab\":true}", "{\"abc\":1}", "{\"a\":true,\"ab\":true}",
                      "{\"a\\u0062\":true}")));
    CHECK(judges("{\"type\":\"object\",\"additionalProperties\":false}", LIST("{}", "{ }"),
                 LIST("{\"a\":1}")));
    CHECK(judges("{\"type\":\"object\",\"required\":[\"x\"]}",
                 LIST("{\"x\":1}", "{\"x\":1,\"y\":2}"), LIST("{}", "{\"y\":2}")));
    CHECK(judges("{\"type\":\"object\",\"minProperties\":1}", LIST("{\"x\":1}"), LIST("{}")));
    CHECK(judges("{\"properties\":{\"q\\\"\":{\"const\":1}}}", LIST("{\"q\\\"\":1}"),
                 LIST("1", "[]")));
}

TEST(schema_arrays)
{
    CHECK(judges(
        "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"null\"}],"
        "\"items\":false}",
        LIST("[]", "[1]", "[1,null]"), LIST("[null]", "[1,1]", "[1,null,1]")));
    CHECK(judges(
        "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}",
        LIST("[1,2]", "[1, 2, 3]"), LIST("[]", "[1]", "[1,2,3,4]")));
    CHECK(judges("{\"items\":{\"const\":1},\"minItems\":1}", LIST("[1]", "[1,1,1,1]"),
                 LIST("[]", "1")));
}

TEST(schema_values_that_are_listed)
{
    CHECK(judges(
        "{\"enum\":[\"a\",1,1.5,null,true,{\"b\":[1,{}]},[]]}",
        LIST("\"a\"", "1", "1.5", "null", "true", "{\"b\":[1,{}]}", "{ \"b\": [1, {}] }", "[]"),
        LIST("\"b\"", "2", "false", "{\"b\":[1]}", "{}")));
    CHECK(judges("{\"const\":null}", LIST("null"), LIST("0")));
    CHECK(judges("{\"type\":\"string\",\"enum\":[\"a\",\"bcd\",7],\"minLength\":2}",
                 LIST("\"bcd\""), LIST("\"a\"", "7")));
    CHECK(judges("{\"enum\":[1,2,3],\"allOf\":[{\"enum\":[2,3,4]},{\"minimum\":3}]}", LIST("3"),
                 LIST("1", "2", "4")));
    CHECK(judges("{\"const\":\"\\u00e4\\n\\\"\"}", LIST("\"\xc3\xa4\\n\\\"\""), LIST("\"a\"")));
}

TEST(schema_unions_and_references)
{
    CHECK(judges("{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":1}]}",
                 LIST("1", "\"a\""), LIST("\"ab\"", "null")));
    CHECK(judges(
        "{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},"
        "\"next\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}},\"required\":[\"next\"]}",
        LIST("{\"next\":null}", "{\"v\":1,\"next\":{\"v\":2,\"next\":null}}"),
        LIST("{\"next\":{}}", "{\"v\":1}")));
    CHECK(judges("{\"$ref\":\"#/$defs/a~1b\",\"$defs\":{\"a/b\":{\"$ref\":\"#/$defs/c%25\"},"
                 "\"c%\":{\"type\":\"null\"}}}",
                 LIST("null"), LIST("1")));
    CHECK(judges("{\"$ref\":\"#x\",\"$defs\":{\"y\":{\"$anchor\":\"x\",\"const\":1}}}",
                 LIST("1"), LIST("2")));
    CHECK(judges(
        "{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},"
        "{\"properties\":{\"a\":{\"minimum\":3},\"b\":{\"type\":\"null\"}}}]}",
        LIST("{\"a\":3}", "{\"a\":4,\"b\":null}"), LIST("{}", "{\"a\":2}", "{\"b\":null}")));
    CHECK(judges("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},"
                 "\"anyOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
                 LIST("{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":1}"), LIST("{}")));
    CHECK(judges(
        "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"}},"
        "\"required\":[\"k\"]},{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"b\"},"
        "\"x\":{\"type\":\"integer\"}},\"required\":[\"k\",\"x\"]}]}",
        LIST("{\"k\":\"a\"}", "{\"k\":\"b\",\"x\":1}"),
        LIST("{\"k\":\"b\"}", "{\"k\":\"c\"}")));
    CHECK(judges("{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}",
                 LIST("1", "\"\""), LIST("null")));
}

TEST(schema_refuses_by_path_what_it_cannot_hold)
{
    CHECK(refused_at("{\"not\":{}}", "schema.not"));
    CHECK(refused_at(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"items\":{\"multipleOf\":3}}}}",
        "schema.properties.a.items.multipleOf"));
    CHECK(refused_at("{\"type\":\"object\",\"patternProperties\":{\"^a\":{}}}",
                     "schema.patternProperties"));
    CHECK(refused_at("{\"type\":\"array\",\"uniqueItems\":true}", "schema.uniqueItems"));
    CHECK(refused_at("{\"anyOf\":[{\"type\":\"null\"},{\"contains\":1}]}",
                     "schema.anyOf[1].contains"));
    CHECK(refused_at("{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}",
                     "schema.oneOf"));
    CHECK(refused_at(
        "{\"oneOf\":[{\"properties\":{\"k\":{\"const\":\"a\"}}},{\"properties\":{\"k\":"
        "{\"const\":\"b\"}}}]}",
        "schema.oneOf"));
    CHECK(refused_at("{\"$ref\":\"#/nowhere\"}", "schema.$ref"));
    CHECK(refused_at("{\"type\":\"text\"}", "schema.type"));
    CHECK(refused_at("{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "schema.pattern"));
    CHECK(refused_at("{\"type\":\"string\",\"format\":\"regex\"}", "schema.format"));
    CHECK(refused_at("{\"type\":\"string\",\"pattern\":\"a\",\"format\":\"date\"}",
                     "schema.format"));
    CHECK(refused_at("{\"type\":\"string\",\"enum\":[\"a\"],\"pattern\":\"b\"}",
                     "schema.pattern"));
    CHECK(refused_at("{\"type\":\"string\",\"minLength\":-1}", "schema.minLength"));
    CHECK(refused_at("{\"minimum\":\"1\"}", "schema.minimum"));
    CHECK(refused_at("{\"required\":[1]}", "schema.required"));
    CHECK(refused_at("{\"properties\":[]}", "schema.properties"));
    CHECK(refused_at("{\"properties\":{\"a\":1}}", "schema.properties.a"));
    CHECK(refused_at("{\"type\":\"string\",\"maxLength\":5000000}", "schema"));
    CHECK(refused_at("7", "schema"));
}

TEST(schema_without_any_document_is_refused)
{
    fault why;

    CHECK(!accepts_open(ACCEPTS_SCHEMA, "false", &why) && why.e == ERR_INVALID);
    CHECK(!accepts_open(ACCEPTS_SCHEMA, "{\"type\":\"string\",\"minLength\":2,\"maxLength\":1}",
                        &why));
}

TEST(schema_neutral_keywords_are_let_through)
{
    CHECK(judges(
        "{\"type\":\"array\",\"uniqueItems\":false,\"unevaluatedItems\":true,\"title\":\"t\","
        "\"x-order\":3,\"$schema\":\"s\",\"default\":[]}",
        LIST("[]"), LIST("1")));
}

/* Work grows with the square of what is written: it ends, and soon. */
TEST(schema_that_would_take_minutes_is_refused)
{
    enum { DEFS = 20000 };
    char *text = malloc(100 * DEFS), *at = text;
    fault why;

    at += sprintf(at, "{\"allOf\":[");
    for (int i = 0; i < 10; i++)
        at += sprintf(at, "%s{\"$ref\":\"#/$defs/%d\"}", i ? "," : "", i);
    at += sprintf(at, "],\"anyOf\":[");
    for (int i = 0; i < DEFS; i++) at += sprintf(at, "%s{\"minimum\":%d}", i ? "," : "", i);
    at += sprintf(at, "],\"$defs\":{");
    for (int i = DEFS - 1; i >= 0; i--)
        at += sprintf(at, "\"%d\":{\"type\":\"integer\"}%s", i, i ? "," : "}}");
    CHECK(!accepts_open(ACCEPTS_SCHEMA, text, &why) && strstr(why.sentence, "too large"));
    free(text);
}
