/* test_json.c - what is no JSON for us, and values with their ranges. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/json.h"
#include "server/text.h"
#include "tests/test.h"

static bool parses_bytes(const char *text, size_t n)
{
    fault why = {0};
    cJSON *body = NULL;
    const bool good = json_parse(&body, text, n, &why);

    cJSON_Delete(body);
    /* What is refused comes with a sentence and an err, what is not with neither. */
    if (good == (why.e != ERR_OK) || good == (why.sentence[0] != '\0')) return !good;
    return good;
}

static bool parses(const char *text)
{
    return parses_bytes(text, strlen(text));
}

static cJSON *document(const char *text)
{
    fault why = {0};
    cJSON *body = NULL;

    CHECK(json_parse(&body, text, strlen(text), &why));
    return body;
}

TEST(json_takes_what_is_json)
{
    CHECK(parses("{}"));
    CHECK(parses(" {\"a\": [1, 2.5e3, null, true, \"x\"]}\n"));
    CHECK(parses("\xef\xbb\xbf{\"a\":1}"));
    CHECK(parses("\"\\u00e9 \\ud83d\\ude00\""));
    CHECK(parses("{\"a\":\"\\\\u0000\"}")); /* a backslash, then u0000 */
}

TEST(json_refuses_trailing_text)
{
    CHECK(!parses("{} x"));
    CHECK(!parses("{}{}"));
    CHECK(!parses(""));
    CHECK(!parses("{\"a\":1,}"));
    CHECK(!parses("{\"a\":1"));
}

TEST(json_refuses_every_form_of_nul)
{
    CHECK(!parses_bytes("{\"a\":\"x\0y\"}", 11));
    CHECK(!parses_bytes("{}\0", 3));
    CHECK(!parses("{\"a\":\"x\\u0000y\"}"));
    CHECK(!parses("{\"a\\u0000\":1}"));
    CHECK(!parses("{\"a\":\"\\\\\\u0000\"}")); /* an escaped backslash, then NUL */
}

TEST(json_refuses_malformed_escapes)
{
    CHECK(!parses("\"\\uzzzz\""));
    CHECK(!parses("\"\\u00\""));
    CHECK(!parses("\"\\u"));
    CHECK(!parses("\"\\"));
    CHECK(!parses("\"\\ud83d\""));
}

TEST(json_refuses_numbers_that_only_c_knows)
{
    static const char *const bad[] = {"01",   "-01", "1.",   "-",   ".5",  "1e",  "1e+",
                                      "1.e3", "+1",  "0x10", "1-1", "--1", "NaN", "Infinity"};
    static const char *const good[] = {"0", "-0", "0.5", "1e3", "1E-3", "1e+09", "-12.50e0"};
    char text[32];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "{\"a\":%s}", bad[i]);
        CHECK(!parses(text));
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(text, sizeof text, "[%s,7]", good[i]);
        CHECK(parses(text) && parses(good[i]));
    }
}

TEST(json_refuses_control_characters_in_strings)
{
    CHECK(!parses("{\"a\":\"x\ny\"}"));
    CHECK(!parses("{\"a\":\"x\ty\"}"));
    CHECK(!parses("{\"a\x01\":1}"));
    CHECK(parses("{\"a\":\"x\\ny\x7f\"}"));
}

TEST(json_refuses_invalid_utf8)
{
    CHECK(!parses("{\"a\":\"\xff\"}"));
    CHECK(!parses("{\"a\":\"\xc0\x80\"}"));
    CHECK(!parses("{\"a\":\"\xed\xa0\x80\"}"));
}

TEST(json_bounds_depth_and_values)
{
    text_builder t = {0};

    for (int i = 0; i < JSON_MAX_DEPTH; i++) text_add_string(&t, "[");
    for (int i = 0; i < JSON_MAX_DEPTH; i++) text_add_string(&t, "]");
    CHECK(parses(t.at));
    text_free(&t);
    for (int i = 0; i < 100000; i++) text_add_string(&t, "[");
    CHECK(!parses(t.at));
    text_free(&t);
    text_add_string(&t, "[0");
    for (int i = 0; i < JSON_MAX_VALUES; i++) text_add_string(&t, ",0");
    text_add_string(&t, "]");
    CHECK(!parses(t.at));
    text_free(&t);
}

TEST(json_names_are_case_sensitive_and_null_is_absent)
{
    cJSON *body = document("{\"Top\":1,\"x\":null}");
    fault why = {0};
    int64_t n = 7;

    CHECK(json_get(body, "top") == NULL && json_get(body, "x") == NULL);
    CHECK(json_get_int(body, "top", 0, 9, &n, &why) && n == 7);
    CHECK(json_get_int(body, "x", 0, 9, &n, &why) && n == 7);
    CHECK(json_get_int(body, "Top", 0, 9, &n, &why) && n == 1);
    cJSON_Delete(body);
}

TEST(json_integers_are_whole_and_in_range)
{
    cJSON *body = document("{\"a\":1.9,\"b\":3000000000,\"c\":\"1\",\"d\":1e400,\"e\":-1}");
    fault why = {0};
    int64_t n = 7;

    CHECK(!json_get_int(body, "a", 0, 9, &n, &why) && n == 7);
    CHECK(strcmp(why.field, "a") == 0 && why.e == ERR_INVALID);
    CHECK(!json_get_int(body, "b", 0, INT32_MAX, &n, &why));
    CHECK(json_get_int(body, "b", 0, INT64_MAX, &n, &why) && n == 3000000000);
    CHECK(!json_get_int(body, "c", 0, 9, &n, &why));
    CHECK(!json_get_int(body, "d", 0, INT64_MAX, &n, &why));
    CHECK(!json_get_int(body, "e", 0, 9, &n, &why));
    cJSON_Delete(body);
}

TEST(json_numbers_flags_and_strings_have_their_type)
{
    cJSON *body = document("{\"a\":0.5,\"b\":true,\"c\":\"x\",\"d\":1e400}");
    fault why = {0};
    double x = 9;
    bool flag = false;
    const char *text = "none";

    CHECK(json_get_number(body, "a", 0, 1, &x, &why) && x == 0.5);
    CHECK(!json_get_number(body, "a", 1, 2, &x, &why));
    CHECK(!json_get_number(body, "b", 0, 1, &x, &why));
    CHECK(!json_get_number(body, "d", 0, 1e308, &x, &why));
    CHECK(json_get_bool(body, "b", &flag, &why) && flag);
    CHECK(!json_get_bool(body, "a", &flag, &why));
    CHECK(json_get_string(body, "c", &text, &why) && strcmp(text, "x") == 0);
    CHECK(!json_get_string(body, "a", &text, &why));
    cJSON_Delete(body);
}

/* The value of "seed" in text; 1 where it is refused. */
static int64_t seed_in(const char *text)
{
    cJSON *body = document(text);
    fault why = {0};
    int64_t n = 0;
    const bool good = json_get_int64(body, text, "seed", &n, &why);

    cJSON_Delete(body);
    return good ? n : 1;
}

TEST(json_reads_all_64_bits_of_a_seed)
{
    CHECK(seed_in("{\"seed\":42}") == 42);
    CHECK(seed_in("{\"seed\":9223372036854775807}") == INT64_MAX);
    CHECK(seed_in("{\"seed\":-9223372036854775808}") == INT64_MIN);
    CHECK(seed_in("{\"x\":{\"seed\":3},\"y\":\"seed\",\"seed\" : 9007199254740993}") ==
          9007199254740993);
    CHECK(seed_in("{\"x\":[\"seed\",{\"seed\":3}],\"seed\":9007199254740995}") ==
          9007199254740995);
    CHECK(seed_in("{\"seed\":null}") == 0);
}

TEST(json_refuses_a_seed_that_is_no_64_bit_integer)
{
    CHECK(seed_in("{\"seed\":9223372036854775808}") == 1);
    CHECK(seed_in("{\"seed\":1.5}") == 1);
    CHECK(seed_in("{\"seed\":1e30}") == 1);
    CHECK(seed_in("{\"seed\":\"7\"}") == 1);
}

TEST(json_faults_are_valid_utf8_when_they_are_cut)
{
    fault why = {0};
    char long_name[600];

    for (size_t i = 0; i < sizeof long_name - 1; i += 2) memcpy(long_name + i, "\xc3\xa9", 2);
    long_name[598] = '\0';
    for (int shift = 0; shift < 2; shift++) {
        CHECK(!fault_refuse(&why, ERR_JSON, long_name, "%s%s", shift ? "x" : "", long_name));
        CHECK((unsigned char)why.sentence[strlen(why.sentence) - 1] == 0xa9);
        CHECK((unsigned char)why.field[strlen(why.field) - 1] == 0xa9);
    }
}

/* Is it refused in words that hold this one, with this member? */
static bool blames(const char *body, size_t n, const char *member, const char *word)
{
    cJSON *out = NULL;
    fault why = {0};

    return !json_parse(&out, body, n, &why) && strcmp(why.field, member) == 0 &&
           strstr(why.sentence, word) && (!member[0] || strstr(why.sentence, member));
}

TEST(json_names_the_member_that_holds_what_is_no_text)
{
    static const char lone[] = "{\"a\":1,\"prompt\":\"x\\ud83d y\"}";
    static const char low[] = "{\"messages\":[{\"content\":\"\\udE00\"}]}";
    static const char twice[] = "{\"stop\":[\"\\ud83d\\ud83d\"]}";
    static const char zero[] = "{\"user\":\"\\u0000\"}";
    static const char raw[] = "{\"user\":\"a\0b\"}";
    static const char outside[] = "{\"user\":\"a\"}\0";
    static const char key[] = "{\"a\\ud83d\":1}";
    static const char inner_key[] = "{\"a\":[{\"b\":1,\"c\\ud83d\":2}]}";
    static const char second[] =
        "{\"a\":[[],{\"b\":[\"x\"]}],\"messages\":[{\"role\":\"user\"},"
        "{\"role\":\"user\",\"content\":[{},{\"text\":\"\\u0000\"}]}]}";
    char deep[2 * JSON_MAX_DEPTH + 16];

    CHECK(blames(lone, sizeof lone - 1, "prompt", "surrogate"));
    CHECK(blames(low, sizeof low - 1, "messages[0].content", "surrogate"));
    CHECK(blames(twice, sizeof twice - 1, "stop[0]", "surrogate"));
    CHECK(blames(zero, sizeof zero - 1, "user", "NUL"));
    CHECK(blames(raw, sizeof raw - 1, "user", "NUL"));
    CHECK(blames(outside, sizeof outside - 1, "", "NUL"));
    CHECK(blames(key, sizeof key - 1, "", "surrogate"));
    CHECK(blames(inner_key, sizeof inner_key - 1, "a[0]", "surrogate"));
    CHECK(blames(second, sizeof second - 1, "messages[1].content[1].text", "NUL"));
    memset(deep, '[', JSON_MAX_DEPTH);
    strcpy(deep + JSON_MAX_DEPTH, "\"\\udc00");
    CHECK(blames(deep, strlen(deep),
                 "[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]",
                 "surrogate")); /* as much as there is room for */
}
