/* test_grammar.c - regular expressions, GBNF, masks and budgets of engine/grammar. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/accepts.h"
#include "tests/test.h"

static bool regex(const char *expression, const char *text)
{
    return accepts(ACCEPTS_REGEX, expression, text);
}

static bool gbnf(const char *source, const char *text)
{
    return accepts(ACCEPTS_GBNF, source, text);
}

/* Is it refused, with these words? */
static bool refused(accepts_kind kind, const char *source, const char *words)
{
    fault why;
    program *p = accepts_open(kind, source, &why);
    const bool right = !p && (strstr(why.field, words) || strstr(why.sentence, words));

    program_free(p);
    if (!right) fprintf(stderr, "%s: '%s' '%s'\n", source, why.field, why.sentence);
    return right;
}

TEST(regex_matches_all_of_a_text)
{
    CHECK(regex("abc", "abc") && !regex("abc", "abcd") && !regex("abc", "ab"));
    CHECK(regex("a|bc|", "a") && regex("a|bc|", "bc") && regex("a|bc|", "") &&
          !regex("a|bc|", "b"));
    CHECK(regex("(?:ab)+c?", "ababc") && !regex("(?:ab)+c?", "abac"));
    CHECK(regex("a{2,3}", "aa") && regex("a{2,3}", "aaa") && !regex("a{2,3}", "a") &&
          !regex("a{2,3}", "aaaa"));
    CHECK(regex("a{2}", "aa") && !regex("a{2}", "aaa") && regex("a{2,}", "aaaaaa"));
    CHECK(regex("a{,2}", "a{,2}") && regex("x{", "x{"));
    CHECK(regex("(a*)*b", "aaab") && regex("(a*)*b", "b") && regex("(|a)+", "aaa"));
    CHECK(regex("a.*?b", "axxb") && regex("(?<n>a)(?P<m>b)", "ab"));
}

TEST(regex_sets_and_escapes_are_ecmascripts)
{
    CHECK(regex("[a-c-]+", "a-c") && !regex("[a-c]", "d") && regex("[^a-c]", "d"));
    CHECK(regex("\\d\\w\\s", "1_ ") && !regex("\\D", "1") && regex("\\D", "\xd9\xa1"));
    CHECK(regex("[\\d.]+", "1.5") && regex("\\.\\/\\-", "./-"));
    CHECK(regex("\\x41\\u0042\\u{43}\\cJ\\t\\n", "ABC\n\t\n"));
    CHECK(regex("\\ud83d\\ude00", "\xf0\x9f\x98\x80"));
    CHECK(regex(".", "\xf0\x9f\x98\x80") && regex(".", "\xc3\xa4") && !regex(".", "\n"));
    CHECK(regex("[^\\u00e4]", "\xc3\xb6") && !regex("[^\\u00e4]", "\xc3\xa4"));
    CHECK(!regex(".", "\xc3") && !regex(".", "\xed\xa0\x80") && !regex(".", "\xc0\x80"));
}

TEST(regex_places_hold_only_where_they_are)
{
    CHECK(regex("^ab$", "ab") && regex("(^a|b)c$", "ac") && regex("(^a|b)c$", "bc"));
    CHECK(!regex("a^b|c", "ab") && !regex("a$b|c", "ab") && regex("a$|b", "a") &&
          regex("^$", ""));
    CHECK(regex("(^|a)b", "b") && regex("(^|a)b", "ab") && regex("\\Aab\\Z", "ab"));
}

TEST(regex_refuses_what_is_not_regular_by_name_and_place)
{
    CHECK(refused(ACCEPTS_REGEX, "(a)\\1", "at byte 4: a reference back"));
    CHECK(refused(ACCEPTS_REGEX, "a(?=b)", "looking ahead"));
    CHECK(refused(ACCEPTS_REGEX, "a(?<!b)", "looking ahead"));
    CHECK(refused(ACCEPTS_REGEX, "\\bword", "word boundary"));
    CHECK(refused(ACCEPTS_REGEX, "\\p{L}", "property"));
    CHECK(refused(ACCEPTS_REGEX, "(?i)a", "kind of group"));
    CHECK(refused(ACCEPTS_REGEX, "a++", "possessive"));
    CHECK(refused(ACCEPTS_REGEX, "(a", "')' is missing"));
    CHECK(refused(ACCEPTS_REGEX, "a)", "')' without"));
    CHECK(refused(ACCEPTS_REGEX, "[a", "']' is missing"));
    CHECK(refused(ACCEPTS_REGEX, "[b-a]", "a range"));
    CHECK(refused(ACCEPTS_REGEX, "[]", "empty set"));
    CHECK(refused(ACCEPTS_REGEX, "*a", "nothing to repeat"));
    CHECK(refused(ACCEPTS_REGEX, "a{3,2}", "less than its least"));
    CHECK(refused(ACCEPTS_REGEX, "\\q", "no such escape"));
    CHECK(refused(ACCEPTS_REGEX, "\\u12", "hexadecimal"));
    CHECK(refused(ACCEPTS_REGEX, "a\\", "backslash at the end"));
    CHECK(refused(ACCEPTS_REGEX, "[^\\u{0}-\\u{10ffff}]", "no text ever ends"));
}

TEST(regex_that_is_too_large_is_refused_in_time)
{
    fault why;
    char nested[400], *at = nested;

    CHECK(!accepts_open(ACCEPTS_REGEX, "(((a{1000}){1000}){1000}){1000}", &why));
    CHECK(why.e == ERR_TOOMANY);
    CHECK(!accepts_open(ACCEPTS_REGEX, "(((((x{0,99999}){0,99999}){0,9}){0,9}){0,9})", &why));
    memset(at, '(', 150);
    memset(at + 150, ')', 150);
    at[300] = '\0';
    CHECK(!accepts_open(ACCEPTS_REGEX, nested, &why) && strstr(why.field, "nested"));
}

TEST(gbnf_reads_what_llama_cpp_reads)
{
    CHECK(gbnf("root ::= \"a\" \"b\" | \"c\"", "ab") &&
          gbnf("root ::= \"a\" \"b\" | \"c\"", "c"));
    CHECK(gbnf("root ::= (\"x\" | [0-9])+ \"!\"?", "x1x!") && !gbnf("root ::= [0-9]+", ""));
    CHECK(gbnf("# first\nroot ::= item*   # last\nitem ::=\n  \"a\" |\n  \"b\"\n", "abba"));
    CHECK(gbnf("root ::= [^\"\\\\]{2,3}", "xyz") && !gbnf("root ::= [^\"\\\\]{2,3}", "x\"y"));
    CHECK(gbnf("root ::= \"\\x41\\u00e4\\n\\\"\"", "A\xc3\xa4\n\""));
    CHECK(gbnf("root ::= ( \"a\"\n  \"b\" )\nother ::= root", "ab"));
    CHECK(gbnf("root ::= . . ", "\xc3\xa4!") && gbnf("root ::= \"a\"{3}", "aaa"));
    CHECK(gbnf("root ::= expr\nexpr ::= term (\"+\" term)*\nterm ::= [0-9] | \"(\" expr \")\"",
               "(1+2)+((3))"));
    CHECK(gbnf("root ::= \"\" | \"(\" root \")\" root", "(()())()"));
    CHECK(gbnf("root ::= [a-z-] [\\]\\-]", "-]"));
}

TEST(gbnf_refuses_by_line)
{
    CHECK(refused(ACCEPTS_GBNF, "root ::= a", "the rule 'a' is not defined"));
    CHECK(refused(ACCEPTS_GBNF, "a ::= \"x\"", "the rule 'root' is not defined"));
    CHECK(refused(ACCEPTS_GBNF, "root ::= \"x\"\nroot ::= \"y\"", "in line 2"));
    CHECK(refused(ACCEPTS_GBNF, "root ::= \"x", "ends within"));
    CHECK(refused(ACCEPTS_GBNF, "root ::= (\"x\"", "')' is missing"));
    CHECK(refused(ACCEPTS_GBNF, "root ::= \"x\")", "')' without"));
    CHECK(refused(ACCEPTS_GBNF, "root = \"x\"", "'::=' is missing"));
    CHECK(refused(ACCEPTS_GBNF, "root ::= root \"x\" | \"y\"", "calls itself"));
    CHECK(refused(ACCEPTS_GBNF, "root ::= a\na ::= b? a \"x\" | \"y\"\nb ::= \"\"",
                  "calls itself"));
    CHECK(refused(ACCEPTS_GBNF, "root ::= \"x\" root", "no text ever ends"));
    CHECK(refused(ACCEPTS_GBNF, "root ::= <think>", "token"));
    CHECK(refused(ACCEPTS_GBNF, "root ::= \"a\"{2,1}", "less than its least"));
}

/* --- masks --- */

static matcher *begin(program *p)
{
    matcher *m;

    CHECK(matcher_new(&m, p, false) == ERR_OK);
    return m;
}

static bool allows(matcher *m, int32_t id, size_t left)
{
    const uint64_t *mask = matcher_mask(m, left);

    return mask && (mask[id / 64] >> id % 64 & 1);
}

/* May this token come next, asked without the tree of tokens? */
static bool allowed_alone(program *p, const char *before, int32_t id)
{
    const token_tree *v = accepts_tree();
    matcher *m = begin(p);
    bool good = true;

    for (; *before; before++) CHECK(matcher_accept(m, 2 + (uint8_t)*before));
    good = v->use[id] == TOKEN_TREE_END ? matcher_may_end(m) : matcher_accept(m, id);
    matcher_free(m);
    return good;
}

TEST(a_mask_is_what_each_token_alone_may_do)
{
    static const char *const texts[] = {"",           "{",         "{\"a",
                                        "{\"a\":",    "{\"a\":1",  "{\"a\":[1",
                                        "{\"a\":\"b", "{\"a\":{}", "{\"a\":tr"};
    fault why;
    program *p = accepts_open(ACCEPTS_SCHEMA, "{\"type\":\"object\"}", &why);
    const token_tree *v = accepts_tree();

    CHECK(p);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        matcher *m = begin(p);

        for (const char *c = texts[i]; *c; c++) CHECK(matcher_accept(m, 2 + (uint8_t)*c));
        for (size_t id = 0; id < v->V; id++)
            CHECK(allows(m, (int32_t)id, 1000) == allowed_alone(p, texts[i], (int32_t)id));
        matcher_free(m);
    }
    program_free(p);
}

/* Whatever is drawn, the text is complete when the tokens are used up. */
static void run_to_end(program *p, size_t tokens, uint32_t seed)
{
    const token_tree *v = accepts_tree();
    matcher *m = begin(p);

    for (size_t i = 0; i < tokens && !matcher_is_complete(m); i++) {
        const uint64_t *mask = matcher_mask(m, tokens - i - 1);
        size_t id;

        CHECK(mask);
        do {
            seed = seed * 1664525u + 1013904223u;
            id = (seed >> 8) % v->V;
        } while (!(mask[id / 64] >> id % 64 & 1));
        if (id == 0) break;
        CHECK(matcher_accept(m, (int32_t)id));
    }
    CHECK(matcher_may_end(m));
    matcher_free(m);
}

TEST(any_draw_ends_within_its_budget)
{
    static const char *const schemas[] = {
        "{\"type\":\"object\"}", "{}",
        "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"},\"b\":{\"type\":\"array\","
        "\"items\":{\"$ref\":\"#\"}},\"c\":{\"type\":\"string\",\"minLength\":3}},"
        "\"required\":[\"c\"],\"additionalProperties\":false}"};

    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        fault why;
        program *p = accepts_open(ACCEPTS_SCHEMA, schemas[i], &why);
        const size_t least = program_shortest(p);

        CHECK(p);
        for (uint32_t seed = 0; seed < 200; seed++) run_to_end(p, least + seed % 90, seed);
        program_free(p);
    }
}

TEST(the_shortest_text_is_counted_in_bytes)
{
    fault why;
    program *p = accepts_open(
        ACCEPTS_SCHEMA,
        "{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"integer\"}},"
        "\"required\":[\"ab\"]}",
        &why);

    CHECK(program_shortest(p) == strlen("{\"ab\":0}"));
    program_free(p);
}

TEST(a_budget_of_the_shortest_allows_only_it)
{
    fault why;
    program *p = accepts_open(ACCEPTS_REGEX, "a+b|c", &why);
    matcher *m = begin(p);

    CHECK(allows(m, 2 + 'c', 0) && !allows(m, 2 + 'a', 0) && allows(m, 2 + 'a', 1));
    matcher_free(m);
    program_free(p);
}

TEST(a_stack_of_calls_in_the_last_place_does_not_grow)
{
    fault why;
    program *p = accepts_open(ACCEPTS_GBNF, "root ::= \"x\" root | \"y\"", &why);
    matcher *m = begin(p);

    for (int i = 0; i < 100000; i++) CHECK(matcher_accept(m, 2 + 'x'));
    CHECK(matcher_accept(m, 2 + 'y') && matcher_is_complete(m));
    matcher_free(m);
    program_free(p);
}

TEST(depth_is_bounded_and_never_a_trap)
{
    fault why;
    program *p = accepts_open(ACCEPTS_GBNF, "root ::= \"[\" root \"]\" | \"x\"", &why);
    matcher *m = begin(p);
    int depth = 0;

    while (allows(m, 2 + '[', SIZE_MAX / 2))
        CHECK(matcher_accept(m, 2 + '[') && ++depth < 1000);
    CHECK(depth >= 100 && allows(m, 2 + 'x', SIZE_MAX / 2) && matcher_accept(m, 2 + 'x'));
    for (int i = 0; i < depth; i++) CHECK(matcher_accept(m, 2 + ']'));
    CHECK(matcher_is_complete(m));
    matcher_free(m);
    program_free(p);
}

TEST(states_are_forgotten_and_answers_go_on)
{
    fault why;
    program *p = accepts_open(ACCEPTS_REGEX, "[a-z]{0,20000}!", &why);
    matcher *m = begin(p), *other = begin(p);

    CHECK(p && matcher_accept(other, 2 + 'q'));
    for (int i = 0; i < 12000; i++)
        CHECK(allows(m, 2 + 'a', 100000) && matcher_accept(m, 2 + 'a'));
    CHECK(states_forgotten(p->states) > 0);
    CHECK(allows(other, 2 + '!', 100) && matcher_accept(other, 2 + '!'));
    CHECK(matcher_is_complete(other));
    for (int i = 0; i < 8000; i++) CHECK(matcher_accept(m, 2 + 'b'));
    CHECK(!allows(m, 2 + 'a', 100000) && allows(m, 2 + '!', 100000));
    matcher_free(m);
    matcher_free(other);
    program_free(p);
}

/* Hundreds of configurations at once, and hardly a state twice: masks are cut, answers are not.
 */
TEST(a_grammar_of_many_configurations_still_ends)
{
    fault why;
    program *p = accepts_open(ACCEPTS_REGEX, "[a-z]*x[a-z]{200}", &why);

    CHECK(p);
    for (uint32_t seed = 0; seed < 5; seed++) run_to_end(p, 260 + seed, seed);
    program_free(p);
}

/* A mask in as many pieces as there may be, while another answer of the same program takes
 * masks and tokens in between. */
static const uint64_t *mask_in_pieces(matcher *m, matcher *other)
{
    const uint64_t *mask;
    uint32_t seed = 1;
    int pieces = 1;

    for (; !matcher_prepare(m, 40, 0, &mask); pieces++) {
        const uint64_t *its = matcher_mask(other, 1000);
        const int32_t id = 2 + (int32_t)((seed >> 8) % 256);

        seed = seed * 1664525u + 1013904223u;
        CHECK(pieces < 10000);
        if (its && matcher_allows(its, id)) CHECK(matcher_accept(other, id));
    }
    CHECK(mask && pieces >= 256 / 16);
    return mask;
}

static void check_pieces(program *p, program *alone)
{
    matcher *m = begin(p), *other = begin(p), *same = begin(alone);
    const uint64_t *mask = mask_in_pieces(m, other), *whole = matcher_mask(same, 40);

    CHECK(whole && memcmp(mask, whole, accepts_tree()->words * sizeof *mask) == 0);
    matcher_free(m);
    matcher_free(other);
    matcher_free(same);
    program_free(p);
    program_free(alone);
}

TEST(a_mask_in_pieces_is_the_mask)
{
    static const struct {
        accepts_kind kind;
        const char *source;
    } all[] = {{ACCEPTS_REGEX, "[a-z]*x[a-z]{20}"},
               {ACCEPTS_REGEX, "[a-z]{0,20000}!"},
               {ACCEPTS_GBNF, "root ::= \"a\" root \"b\" | [^a]*"},
               {ACCEPTS_SCHEMA, "{}"}};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fault why;

        check_pieces(accepts_open(all[i].kind, all[i].source, &why),
                     accepts_open(all[i].kind, all[i].source, &why));
        check_pieces(accepts_open_behind(all[i].kind, all[i].source, "<call>"),
                     accepts_open_behind(all[i].kind, all[i].source, "<call>"));
    }
}

TEST(a_grammar_behind_a_trigger_holds_from_there_on)
{
    program *p = accepts_open_behind(ACCEPTS_REGEX, "\\[[0-9]+\\]", "<call>");
    matcher *m = begin(p);

    CHECK(p && allows(m, 0, 100) && allows(m, 1, 100) && allows(m, 2 + 'x', 100));
    CHECK(matcher_accept(m, 2 + 'x') && matcher_accept(m, 2 + '<') && allows(m, 0, 100));
    CHECK(matcher_accept(m, 1)); /* the control token is its name */
    CHECK(!allows(m, 0, 100) && !allows(m, 1, 100) && !allows(m, 2 + 'x', 100));
    CHECK(allows(m, 2 + '[', 100) && allows(m, 258 + 18, 100)); /* "[1" */
    CHECK(matcher_accept(m, 258 + 18) && matcher_accept(m, 2 + ']'));
    CHECK(allows(m, 0, 100) && allows(m, 1, 100) && allows(m, 2 + 'x', 100));
    matcher_free(m);
    m = begin(p); /* spelled; a token that goes beyond it must go on as the grammar does */
    CHECK(matcher_accept(m, 258 + 16) && !allows(m, 1, 2) && allows(m, 258 + 17, 100));
    CHECK(matcher_accept(m, 258 + 17) && allows(m, 2 + '7', 100) && !allows(m, 2 + ']', 100));
    matcher_free(m);
    program_free(p);
}

TEST(a_hidden_space_is_no_part_of_a_text)
{
    static const char space = ' ';
    const gguf_text pieces[] = {{"</s>", 4}, {&space, 1}, {" a", 2}, {"a", 1}, {"b", 1}};
    const uint8_t use[] = {TOKEN_TREE_END, 0, 0, 0, 0};
    token_tree *v;
    program *p;
    grammar *g;
    matcher *m;
    nfa *a;

    CHECK(token_tree_new(&v, pieces, use, 5) == ERR_OK);
    CHECK(nfa_new(&a) == ERR_OK);
    v->pads = true;
    nfa_add_text(a, nfa_start(a, 0), "ab", 2, nfa_end(a, 0));
    CHECK(grammar_new(&g, a, v->single, NULL) == ERR_OK);
    CHECK(program_new(&p, g, v) == ERR_OK);
    CHECK(matcher_new(&m, p, true) == ERR_OK);
    CHECK(allows(m, 2, 9) && allows(m, 3, 9) && !allows(m, 1, 9));
    CHECK(matcher_accept(m, 2) && allows(m, 4, 9) && !allows(m, 2, 9));
    matcher_free(m);
    CHECK(matcher_new(&m, p, false) == ERR_OK);
    CHECK(!allows(m, 2, 9) && allows(m, 3, 9));
    matcher_free(m);
    program_free(p);
    token_tree_free(v);
}
