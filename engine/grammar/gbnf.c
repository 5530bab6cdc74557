/* gbnf.c - reads GBNF by descent; each rule is a tree (pattern.h), then edges.
 *
 *   file: (name '::=' choice line-end)*       choice: chain ('|' chain)*
 *   chain: (atom repeat?)*       atom: "text", [set], '.', name, '(' choice ')'
 *
 * A name stands for a rule of the grammar from its first mention on; at the end each must have
 * been defined. Names are found by a table of hashes: a grammar may have thousands. */
#include "engine/grammar/gbnf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/pattern.h"

enum { TABLE = 2 * GBNF_MAX_NAMES };

typedef struct name {
    const char *at;
    size_t n;
    uint32_t rule;
    bool defined;
} name;

typedef struct reader {
    nfa *a;
    const char *text;
    size_t n, at, line;
    int nesting;
    pattern tree; /* of the rule that is read */
    name *names;  /* [TABLE] open addressing; at NULL: free */
    size_t n_names;
    fault *why;
    err e;
} reader;

static uint32_t refuse(reader *r, const char *what)
{
    char sentence[200];

    if (r->e != ERR_OK) return 0;
    snprintf(sentence, sizeof sentence, "in line %zu: %s", r->line, what);
    r->e = err_blame(r->why, ERR_INVALID, sentence);
    return 0;
}

static char peek(const reader *r)
{
    return r->e == ERR_OK && r->at < r->n ? r->text[r->at] : '\0';
}

static bool skip(reader *r, const char *what)
{
    const size_t n = strlen(what);

    if (r->e != ERR_OK || r->n - r->at < n || memcmp(r->text + r->at, what, n) != 0)
        return false;
    r->at += n;
    return true;
}

/* Blanks and comments, and ends of lines where a rule goes on behind them. */
static void skip_space(reader *r, bool lines)
{
    for (char c; (c = peek(r));) {
        if (c == '#')
            while (peek(r) && peek(r) != '\n' && peek(r) != '\r') r->at++;
        else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')))
            r->line += r->text[r->at++] == '\n';
        else
            return;
    }
}

/* --- names --- */

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_';
}

static name *find_name(reader *r, const char *at, size_t n)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < n; i++) hash = (hash ^ (uint8_t)at[i]) * 16777619u;
    for (uint32_t i = hash % TABLE;; i = (i + 1) % TABLE) {
        name *x = &r->names[i];

        if (!x->at || (x->n == n && memcmp(x->at, at, n) == 0)) return x;
    }
}

/* The name that is read, known from now on. `root` is rule 0. */
static name *take_name(reader *r)
{
    const size_t from = r->at;
    name *x;

    while (is_name_byte(peek(r))) r->at++;
    if (r->at == from) refuse(r, "a name of a rule is missing");
    if (r->n_names == GBNF_MAX_NAMES) refuse(r, "there are too many rules");
    if (r->e != ERR_OK) return NULL;
    x = find_name(r, r->text + from, r->at - from);
    if (x->at) return x;
    *x = (name){.at = r->text + from, .n = r->at - from};
    x->rule = x->n == 4 && memcmp(x->at, "root", 4) == 0 ? 0 : nfa_add_rule(r->a);
    r->n_names++;
    return x;
}

/* --- characters --- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint32_t take_hex(reader *r, int digits)
{
    uint32_t code = 0;

    for (int i = 0; i < digits; i++, r->at++) {
        if (hex_value(peek(r)) < 0) return refuse(r, "hexadecimal digits are missing");
        code = code * 16 + (uint32_t)hex_value(peek(r));
    }
    return code > CHARSET_LAST ? refuse(r, "there is no such character") : code;
}

/* Behind a backslash. */
static uint32_t take_escape(reader *r)
{
    const char c = peek(r);

    if (!c) return refuse(r, "a backslash at the end");
    r->at++;
    if (c == 'n') return '\n';
    if (c == 'r') return '\r';
    if (c == 't') return '\t';
    if (c == 'x') return take_hex(r, 2);
    if (c == 'u') return take_hex(r, 4);
    if (c == 'U') return take_hex(r, 8);
    if (strchr("\\\"[]-^", c)) return (uint32_t)c;
    return refuse(r, "there is no such escape");
}

static uint32_t take_char(reader *r)
{
    size_t length;
    uint32_t code;

    if (skip(r, "\\")) return take_escape(r);
    if (!peek(r)) return refuse(r, "the grammar ends within a text or a set");
    code = charset_decode(r->text + r->at, r->n - r->at, &length);
    r->line += code == '\n';
    r->at += length;
    return code;
}

static uint32_t take_text(reader *r)
{
    const uint32_t chain = pattern_add(&r->tree, PATTERN_CHAIN, 0, 0);

    while (r->e == ERR_OK && r->tree.failure == ERR_OK && !skip(r, "\""))
        pattern_append(&r->tree, chain, pattern_add(&r->tree, PATTERN_CHAR, take_char(r), 0));
    return chain;
}

static uint32_t take_set(reader *r)
{
    const bool others = skip(r, "^");
    charset s = {0};

    while (r->e == ERR_OK && !skip(r, "]")) {
        const uint32_t lo = take_char(r);
        uint32_t hi = lo;

        if (r->at + 1 < r->n && peek(r) == '-' && r->text[r->at + 1] != ']') {
            r->at++;
            hi = take_char(r);
        }
        if (r->e == ERR_OK && lo > hi) refuse(r, "a range whose end is before its beginning");
        if (r->e == ERR_OK) r->e = charset_add(&s, lo, hi);
    }
    if (r->e == ERR_OK && others) r->e = charset_negate(&s);
    if (r->e == ERR_OK) return pattern_add_set(&r->tree, &s);
    charset_free(&s);
    return 0;
}

static uint32_t take_dot(reader *r)
{
    charset s = {0};

    r->e = charset_add(&s, 0, CHARSET_LAST);
    return pattern_add_set(&r->tree, &s);
}

/* --- atoms and what is made of them --- */

static uint32_t take_choice(reader *r, bool inside);

static uint32_t take_group(reader *r)
{
    uint32_t choice;

    if (++r->nesting > GBNF_MAX_NESTING) return refuse(r, "parentheses are nested too deep");
    skip_space(r, true);
    choice = take_choice(r, true);
    if (!skip(r, ")")) refuse(r, "')' is missing");
    r->nesting--;
    return choice;
}

static uint32_t take_atom(reader *r)
{
    const name *x;

    if (skip(r, "\"")) return take_text(r);
    if (skip(r, "[")) return take_set(r);
    if (skip(r, "(")) return take_group(r);
    if (skip(r, ".")) return take_dot(r);
    if (peek(r) == '<' || peek(r) == '!')
        return refuse(r, "a token (<...>) is not supported in a grammar");
    x = take_name(r);
    return x ? pattern_add(&r->tree, PATTERN_CALL, x->rule, 0) : 0;
}

enum { MOST_TIMES = 100000 };

static bool take_number(reader *r, uint32_t *out)
{
    const size_t from = r->at;
    uint32_t x = 0;

    for (; peek(r) >= '0' && peek(r) <= '9'; r->at++)
        if (x <= MOST_TIMES) x = x * 10 + (uint32_t)(peek(r) - '0');
    if (r->at == from) return false;
    if (x > MOST_TIMES) refuse(r, "a number of repetitions is too large");
    *out = x;
    return true;
}

static void take_braces(reader *r, bool inside, uint32_t *min, uint32_t *max)
{
    skip_space(r, inside);
    if (!take_number(r, min)) refuse(r, "a number is missing behind '{'");
    skip_space(r, inside);
    *max = *min;
    if (skip(r, ",")) {
        skip_space(r, inside);
        *max = PATTERN_UNBOUNDED;
        take_number(r, max);
        skip_space(r, inside);
    }
    if (!skip(r, "}")) refuse(r, "'}' is missing");
    if (*min > *max) refuse(r, "a repetition whose most is less than its least");
}

/* Several may follow each other: each is of all before it. */
static uint32_t take_repeats(reader *r, bool inside, uint32_t atom)
{
    for (;;) {
        uint32_t min = 0, max = PATTERN_UNBOUNDED, node;

        skip_space(r, inside);
        if (skip(r, "+"))
            min = 1;
        else if (skip(r, "?"))
            max = 1;
        else if (skip(r, "{"))
            take_braces(r, inside, &min, &max);
        else if (!skip(r, "*"))
            return atom;
        if (++r->nesting > GBNF_MAX_NESTING) refuse(r, "there are too many repetitions");
        node = pattern_add(&r->tree, PATTERN_REPEAT, min, max);
        pattern_append(&r->tree, node, atom);
        atom = node;
    }
}

static uint32_t take_chain(reader *r, bool inside)
{
    const uint32_t chain = pattern_add(&r->tree, PATTERN_CHAIN, 0, 0);

    while (peek(r) && r->tree.failure == ERR_OK && !strchr("|)\r\n", peek(r))) {
        const int nesting = r->nesting;

        pattern_append(&r->tree, chain, take_repeats(r, inside, take_atom(r)));
        r->nesting = nesting;
        skip_space(r, inside);
    }
    return chain;
}

static uint32_t take_choice(reader *r, bool inside)
{
    const uint32_t choice = pattern_add(&r->tree, PATTERN_CHOICE, 0, 0);

    do {
        uint32_t chain;

        skip_space(r, true);
        chain = take_chain(r, inside);
        pattern_append(&r->tree, choice, chain);
    } while (skip(r, "|"));
    return choice;
}

/* --- rules --- */

static void emit_rule(reader *r, uint32_t rule, uint32_t root)
{
    static const pattern_use use = {.form = CHARSET_PLAIN, .max = PATTERN_UNBOUNDED};

    if (r->e == ERR_OK) r->e = r->tree.failure;
    if (r->e == ERR_OK)
        r->e = pattern_emit(r->a, &r->tree, root, &use, nfa_start(r->a, rule),
                            nfa_end(r->a, rule));
    pattern_free(&r->tree);
}

static void take_rule(reader *r)
{
    name *x = take_name(r);
    uint32_t rule, root;

    if (!x) return;
    if (x->defined) refuse(r, "a rule is defined twice");
    x->defined = true;
    rule = x->rule;
    skip_space(r, false);
    if (!skip(r, "::=")) refuse(r, "'::=' is missing");
    root = take_choice(r, false);
    if (peek(r) && peek(r) != '\n' && peek(r) != '\r') refuse(r, "')' without '('");
    emit_rule(r, rule, root);
    skip_space(r, true);
}

static void check_names(reader *r)
{
    char sentence[128];

    for (size_t i = 0; i < TABLE && r->e == ERR_OK; i++) {
        const name *x = &r->names[i];

        if (!x->at || x->defined) continue;
        snprintf(sentence, sizeof sentence, "the rule '%.*s' is not defined",
                 x->n < 64 ? (int)x->n : 64, x->at);
        r->e = err_blame(r->why, ERR_INVALID, sentence);
    }
    if (r->e == ERR_OK && !find_name(r, "root", 4)->at)
        r->e = err_blame(r->why, ERR_INVALID, "the rule 'root' is not defined");
}

err gbnf_add(nfa *a, const char *text, size_t n, fault *why)
{
    reader r = {.a = a, .text = text, .n = n, .line = 1, .why = why, .e = ERR_OK};

    r.names = calloc(TABLE, sizeof *r.names);
    if (!r.names) return ERR_NOMEM;
    if (n > GBNF_MAX_BYTES) refuse(&r, "the grammar is too long");
    if (memchr(text, 0, n)) refuse(&r, "a NUL byte");
    skip_space(&r, true);
    while (r.e == ERR_OK && nfa_failure(a) == ERR_OK && peek(&r)) take_rule(&r);
    if (r.e == ERR_OK) r.e = nfa_failure(a);
    check_names(&r);
    free(r.names);
    return r.e;
}
