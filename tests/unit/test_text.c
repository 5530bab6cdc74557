/* test_text.c - the builder that JSON is written with. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/text.h"
#include "tests/test.h"

static bool json_is(const char *bytes, size_t n, const char *want)
{
    text_builder t = {0};
    bool same;

    text_add_json(&t, bytes, n);
    same = !t.failed && strcmp(t.at, want) == 0;
    text_free(&t);
    return same;
}

static bool float_is(float x, const char *want)
{
    text_builder t = {0};
    bool same;

    text_add_float(&t, x);
    same = strcmp(t.at, want) == 0;
    text_free(&t);
    return same;
}

TEST(text_escapes_what_json_needs_and_nothing_else)
{
    CHECK(json_is("a\"b\\c\n\r\t\x01\x1f\x7f/", 12,
                  "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f\x7f/\""));
    CHECK(json_is("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", 11,
                  "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\""));
    CHECK(json_is("", 0, "\"\""));
}

TEST(text_replaces_bytes_that_are_not_utf8)
{
    CHECK(json_is("a\xff"
                  "b",
                  3,
                  "\"a\xef\xbf\xbd"
                  "b\""));
    CHECK(json_is("\xf0\x9f\x98", 3, "\"\xef\xbf\xbd\""));
    CHECK(json_is("\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""));
}

TEST(text_json_strings_survive_a_parser)
{
    char bytes[127];
    text_builder t = {0};
    cJSON *parsed;

    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i + 1);
    text_add_json(&t, bytes, sizeof bytes);
    parsed = cJSON_Parse(t.at);
    CHECK(cJSON_IsString(parsed) && strlen(parsed->valuestring) == sizeof bytes);
    CHECK(memcmp(parsed->valuestring, bytes, sizeof bytes) == 0);
    cJSON_Delete(parsed);
    text_free(&t);
}

TEST(text_floats_survive_and_never_become_null)
{
    CHECK(float_is(0.1f, "0.100000001"));
    CHECK(float_is(-0.75f, "-0.75"));
    CHECK(float_is(-INFINITY, "-9999.0"));
    CHECK(float_is(NAN, "-9999.0"));
    for (unsigned i = 0; i < 1000; i++) {
        const float x = -1.0f / (float)(i * 7 + 3);
        text_builder t = {0};

        text_add_float(&t, x);
        CHECK(strtof(t.at, NULL) == x);
        text_free(&t);
    }
}

TEST(text_grows_and_is_taken_once)
{
    text_builder t = {0};
    size_t n = 0;
    char *all;

    for (int i = 0; i < 10000; i++) text_addf(&t, "%d,", i % 10);
    all = text_take(&t, &n);
    CHECK(n == 20000 && strlen(all) == n && all[19998] == '9');
    CHECK(t.at == NULL && t.n == 0);
    free(all);
    all = text_take(&t, &n);
    CHECK(all && n == 0 && all[0] == '\0');
    free(all);
}
