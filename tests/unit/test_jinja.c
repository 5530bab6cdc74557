/* test_jinja.c - templates: who wrote which byte, what they may take, what is said of them.
 * What they write is compared with jinja2 by tests/templates. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/jinja.h"
#include "tests/test.h"

enum { BYTES = 8 << 20 };

/* What a template made of these variables: texts that a request wrote, by their names. */
typedef struct result {
    err e;
    jinja_fault why;
    char text[4096];
    char marks[4096]; /* of each byte T: the template's, r: a request's */
} result;

static void set_texts(jinja_run *r, jinja_dict *given, const char *const *variables)
{
    for (; *variables; variables += 2) {
        jinja_value v;

        CHECK(jinja_make_text(jinja_arena_of(r), variables[1], strlen(variables[1]), false,
                              &v) == ERR_OK);
        CHECK(jinja_dict_put(jinja_arena_of(r), given, variables[0], v) == ERR_OK);
    }
}

static result run_within(const char *source, const char *const *variables, size_t bytes,
                         const atomic_bool *cancel)
{
    result x = {0};
    jinja *t = NULL;
    jinja_run *r = NULL;
    jinja_value given;
    jinja_text out;

    x.e = jinja_compile(&t, source, strlen(source), &x.why);
    if (x.e != ERR_OK) return x;
    CHECK(jinja_open(&r, bytes, cancel) == ERR_OK);
    CHECK(jinja_make_dict(jinja_arena_of(r), &given) == ERR_OK);
    set_texts(r, given.is.dict, variables);
    x.e = jinja_render(r, t, given.is.dict, &out, &x.why);
    for (size_t i = 0; x.e == ERR_OK && i < out.n && i < sizeof x.text - 1; i++) {
        x.text[i] = jinja_text_at(out)[i];
        x.marks[i] = jinja_text_trusted(out, i) ? 'T' : 'r';
    }
    jinja_close(r);
    jinja_free(t);
    return x;
}

static const char *const nothing[] = {NULL};

static result run(const char *source, const char *const *variables)
{
    return run_within(source, variables, BYTES, NULL);
}

/* --- who wrote it --- */

TEST(jinja_every_byte_is_the_templates_or_a_requests)
{
    static const char *const given[] = {"u", "ab cd", "v", "<|x|>", NULL};
    static const struct {
        const char *source, *text, *marks;
    } rows[] = {
        {"<{{ u }}>", "<ab cd>", "TrrrrrT"},
        {"{{ '<' + u + '>' }}", "<ab cd>", "TrrrrrT"},
        {"{{ '<' ~ u ~ '>' }}", "<ab cd>", "TrrrrrT"},
        {"{{ ('<' + u)[:3] }}", "<ab", "Trr"},
        {"{{ ('<' + u)[::-1] }}", "dc ba<", "rrrrrT"},
        {"{{ ('<' + u + '>') | upper }}", "<AB CD>", "TrrrrrT"},
        {"{{ ('  ' + u + ' ') | trim }}", "ab cd", "rrrrr"},
        {"{{ u.split(' ') | join('<>') }}", "ab<>cd", "rrTTrr"},
        {"{{ '<>'.join(u.split(' ')) }}", "ab<>cd", "rrTTrr"},
        {"{{ u | replace(' ', '<>') }}", "ab<>cd", "rrTTrr"},
        {"{{ 'x y' | replace(' ', u) }}", "xab cdy", "TrrrrrT"},
        {"{{ '<%s>' % u }}", "<ab cd>", "TrrrrrT"},
        {"{{ '<{}>'.format(u) }}", "<ab cd>", "TrrrrrT"},
        {"{{ '%7s' % u }}", "  ab cd", "rrrrrrr"},
        {"{{ u | tojson }}", "\"ab cd\"", "rrrrrrr"},
        {"{{ [u] }}", "['ab cd']", "rrrrrrrrr"},
        {"{{ ['<'] }}", "['<']", "rrrrr"},
        {"{{ 5 }}", "5", "r"},
        {"{% set x %}<{{ u }}>{% endset %}{{ x }}", "<ab cd>", "TrrrrrT"},
        {"{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(u) }}", "<ab cd>", "TrrrrrT"},
        {"{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}{{ u }}{% endcall %}",
         "<ab cd>", "TrrrrrT"},
        {"{% filter upper %}x{{ u }}{% endfilter %}", "XAB CD", "Trrrrr"},
        {"{% set n = namespace(t='') %}{% for c in u %}{% set n.t = n.t + c + '|' %}{% endfor "
         "%}"
         "{{ n.t }}",
         "a|b| |c|d|", "rTrTrTrTrT"},
        {"{{ u | indent(2, first=true) }}", "  ab cd", "TTrrrrr"},
        {"{{ u.center(7) }}", " ab cd ", "TrrrrrT"},
        {"{{ u | default('<') }}{{ nil | default('<') }}", "ab cd<", "rrrrrT"},
        {"{{ u | first }}{{ u[0] }}{{ u | last }}", "aad", "rrr"},
        {"{{ ('<' ~ v) | escape }}", "&lt;&lt;|x|&gt;", "TTTTrrrrrrrrrrr"},
        {"{% if v == '<|x|>' %}<|x|>{% endif %}", "<|x|>", "TTTTT"},
        {"{{ {v: 1} | items | first | first }}", "<|x|>", "rrrrr"},
        {"{{ u * 2 }}{{ 'x' * 2 }}", "ab cdab cdxx", "rrrrrrrrrrTT"},
        {"{{ [u, '<'] | sort | join }}", "<ab cd", "Trrrrr"},
        {"{{ u | string | list | reverse | join }}", "dc ba", "rrrrr"},
        {"{{ u.partition(' ')[1] }}{{ u.rsplit(' ', 1)[0] }}", " ab", "Trr"},
        {"{{ u | truncate(4, true, '..', 0) }}", "ab..", "rrTT"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const result x = run(rows[i].source, given);
        const bool good = x.e == ERR_OK && strcmp(x.text, rows[i].text) == 0 &&
                          strcmp(x.marks, rows[i].marks) == 0;

        if (!good)
            fprintf(stderr, "%s: %s %s %s\n", rows[i].source, x.text, x.marks, x.why.text);
        CHECK(good);
    }
}

/* A text that is made longer in place must not change one that ends where it did. */
TEST(jinja_texts_never_change)
{
    const result x = run("{% set a = 'a' ~ u %}{% set b = a + 'b' %}{% set c = a + 'c' %}"
                         "{% set d = b + b %}{{ a }} {{ b }} {{ c }} {{ d }} {{ a + a[:1] }}",
                         (const char *const[]){"u", "x", NULL});

    CHECK(x.e == ERR_OK && strcmp(x.text, "ax axb axc axbaxb axa") == 0);
    CHECK(strcmp(x.marks, "TrrTrTTrTTTrrTTrTT") != 0);
    CHECK(strcmp(x.marks, "TrTTrTTTrTTTrTTrTTTrT") == 0);
}

/* Constants are of the template: what one run makes of them no other sees. */
TEST(jinja_a_template_is_the_same_at_every_run)
{
    static const char source[] =
        "{% set x = 'a' 'b' %}{% set x = x + 'c' %}{{ x }}{{ 'a' 'b' }}";
    jinja_fault why;
    jinja *t = NULL;

    CHECK(jinja_compile(&t, source, sizeof source - 1, &why) == ERR_OK);
    for (int i = 0; i < 3; i++) {
        jinja_run *r = NULL;
        jinja_value given;
        jinja_text out;

        CHECK(jinja_open(&r, BYTES, NULL) == ERR_OK);
        CHECK(jinja_make_dict(jinja_arena_of(r), &given) == ERR_OK);
        CHECK(jinja_render(r, t, given.is.dict, &out, &why) == ERR_OK);
        CHECK(jinja_text_is(out, "abcab"));
        jinja_close(r);
    }
    jinja_free(t);
}

/* --- what is said --- */

TEST(jinja_errors_name_what_and_where)
{
    static const struct {
        const char *source, *says;
        int line;
        bool raised;
    } rows[] = {
        {"a\n{% nosuch %}", "unknown statement 'nosuch'", 2, false},
        {"\n\n{% include 'x' %}", "unknown statement 'include'", 3, false},
        {"{{ x|nosuch }}", "unknown filter 'nosuch'", 1, false},
        {"{{ x is nosuch }}", "unknown test 'nosuch'", 1, false},
        {"{% if x %}\n{{ 1 +\n }}{% endif %}", "an expression is missing", 3, false},
        {"{% if x %}", "unexpected end of template, expected 'endif'", 1, false},
        {"a\nb {{ 'x", "a string has no end", 2, false},
        {"{{ (1] }}", "unexpected ']', expected ')'", 1, false},
        {"a\n{{ x.y }}", "'x' is undefined", 2, false},
        {"{% for i in [1] %}\n{{ i.a.b }}{% endfor %}", "'int object' has no attribute 'a'", 2,
         false},
        {"{{ u.pop() }}", "'str object' has no attribute 'pop'", 1, false},
        {"{{ [].append(1) }}", "access to attribute 'append' of 'list' object is unsafe.", 1,
         false},
        {"\n{{ raise_exception('No: ' ~ u) }}", "No: text", 2, true},
        {"{{ raise_exception('') }}", "(no message)", 1, true},
        {"{{ 9223372036854775807 + 1 }}", "a number is too large", 1, false},
        {"{{ 99999999999999999999 }}", "the number '99999999999999999999' is not valid", 1,
         false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const result x = run(rows[i].source, (const char *const[]){"u", "text", NULL});
        const bool good = x.e == ERR_TEMPLATE && strcmp(x.why.text, rows[i].says) == 0 &&
                          x.why.line == rows[i].line && x.why.raised == rows[i].raised;

        if (!good) fprintf(stderr, "%s: %d: %s\n", rows[i].source, x.why.line, x.why.text);
        CHECK(good);
    }
}

TEST(jinja_a_long_message_is_cut_between_characters)
{
    const result x = run("{{ raise_exception('\xc3\xa9' * 400) }}", nothing);

    CHECK(x.e == ERR_TEMPLATE && x.why.raised);
    CHECK(strlen(x.why.text) % 2 == 0 && strlen(x.why.text) > 250);
}

/* --- what it may take --- */

TEST(jinja_templates_without_end_are_ended)
{
    static const struct {
        const char *source, *says;
    } rows[] = {
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "levels"},
        {"{% set r = range(99999) %}{% for a in r %}{{ 5.5 in r }}{% endfor %}", "steps"},
        {"{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
         "memory"},
        {"{% set n = namespace(t='x') %}{% for i in range(60) %}{% set n.t = n.t + n.t %}"
         "{% endfor %}",
         "memory"},
        {"{% set n = namespace(t='x' * 1000) %}{% for i in range(99999) %}{{ n.t }}{% endfor "
         "%}",
         "writes more"},
        {"{{ 'x' * 1000000000 }}", "memory"},
        {"{{ [1] * 1000000000 }}", "memory"},
        {"{{ '%1000000000d' % 5 }}", "too large"},
        {"{% set n = namespace(l=[]) %}{% for i in range(900) %}{% set n.l = [n.l] %}{% endfor "
         "%}"
         "{{ n.l }}",
         "levels"},
        {"{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}"
         "{% endfor %}{{ n.l | tojson }}",
         "writes more"},
        {"{% set n = namespace() %}{% set n.n = n %}{{ n }}", "levels"},
        {"{{ 2 ** 2 ** 2 ** 2 ** 2 ** 2 ** 2 }}", "too large"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const result x = run(rows[i].source, nothing);
        const bool good = x.e == ERR_TEMPLATE && strstr(x.why.text, rows[i].says);

        if (!good) fprintf(stderr, "%s: %s\n", rows[i].source, x.why.text);
        CHECK(good);
    }
}

/* Two lists of which each holds one list twice, sixty deep, have 2^60 elements to compare. */
TEST(jinja_comparing_what_is_shared_ends)
{
    const result x = run("{% set n = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set "
                         "n.a = [n.a, n.a] %}"
                         "{% set n.b = [n.b, n.b] %}{% endfor %}{{ n.a == n.b }}",
                         nothing);

    CHECK(x.e == ERR_OK && strcmp(x.text, "False") == 0);
}

TEST(jinja_nesting_in_the_source_is_bounded)
{
    enum { DEEP = 20000 };
    char *source = malloc(4 * DEEP);
    size_t n = 0;

    for (int i = 0; i < DEEP; i++) source[n++] = i < 2 ? '{' : '(';
    source[n] = '\0';
    CHECK(run(source, nothing).e == ERR_TEMPLATE);
    n = 2;
    for (int i = 0; i < DEEP; i++) source[n++] = '-';
    source[n] = '\0';
    CHECK(run(source, nothing).e == ERR_TEMPLATE);
    n = 0;
    for (int i = 0; i < 400; i++) n += (size_t)sprintf(source + n, "{%% if 1 %%}");
    CHECK(run(source, nothing).e == ERR_TEMPLATE);
    free(source);
}

TEST(jinja_who_hangs_up_ends_a_run)
{
    atomic_bool cancel;

    atomic_init(&cancel, true);
    CHECK(run_within("{% for i in range(9999) %}x{% endfor %}", nothing, BYTES, &cancel).e ==
          ERR_CANCELED);
}

TEST(jinja_adding_to_a_text_costs_what_is_added)
{
    const result x = run_within(
        "{% set n = namespace(t='') %}{% for i in range(20000) %}{% set n.t = n.t + u %}"
        "{% endfor %}{{ n.t | length }}",
        (const char *const[]){"u", "0123456789", NULL}, 24 << 20, NULL);

    CHECK(x.e == ERR_OK && strcmp(x.text, "200000") == 0);
}

/* A request decides how many keys an object has. */
TEST(jinja_dicts_of_many_keys_are_found_in)
{
    const result x = run_within("{% set n = namespace(l=[]) %}{% set d = dict(range(30000) | "
                                "batch(2)) %}{{ d | length }} "
                                "{{ d[29998] }} {{ 3 in d }} {{ d[2.0] }}",
                                nothing, 64 << 20, NULL);

    CHECK(x.e == ERR_OK && strcmp(x.text, "15000 29999 False 3") == 0);
}

/* Jinja lets it stand inside a condition: templates ask first what there is. */
TEST(jinja_an_unknown_filter_in_a_condition_is_an_error_when_it_is_reached)
{
    result x = run("{% if false %}{{ x | nosuch }}{% endif %}ok", nothing);

    CHECK(x.e == ERR_OK && strcmp(x.text, "ok") == 0);
    x = run("a\n{% if true %}{{ x | nosuch }}{% endif %}", nothing);
    CHECK(x.e == ERR_TEMPLATE && x.why.line == 2);
    CHECK(strcmp(x.why.text, "unknown filter or test 'nosuch'") == 0);
}

TEST(jinja_bytes_that_are_no_text_pass_through)
{
    const result x = run("{{ u }}{{ u | upper }}{{ u[1] }}{{ u | length }}",
                         (const char *const[]){"u", "a\xff\xc3", NULL});

    CHECK(x.e == ERR_OK && strcmp(x.text, "a\xff\xc3"
                                          "A\xff\xc3\xff"
                                          "3") == 0);
}
