/* regex.c - reads a regular expression into a tree, by descent.
 *
 *   choice: chain ('|' chain)*      chain: (atom repeat?)*
 *   atom: character, escape, set, place, '(' choice ')' */
#include "engine/grammar/regex.h"

#include <stdio.h>
#include <string.h>

#include "engine/grammar/regex_set.h"

typedef struct reader {
    const char *text;
    size_t n, at;
    int nesting;
    pattern tree;
    fault *why;
    err e;
} reader;

/* The first thing that is wrong counts. */
static uint32_t refuse(reader *r, const char *what)
{
    char sentence[160];

    if (r->e != ERR_OK) return 0;
    snprintf(sentence, sizeof sentence, "at byte %zu: %s", r->at, what);
    r->e = err_blame(r->why, ERR_INVALID, sentence);
    return 0;
}

/* The byte that comes next, or NUL at the end; a NUL of the text itself is refused before. */
static char peek(const reader *r, size_t ahead)
{
    return r->e == ERR_OK && r->at + ahead < r->n ? r->text[r->at + ahead] : '\0';
}

static bool skip(reader *r, const char *what)
{
    const size_t n = strlen(what);

    if (r->e != ERR_OK || r->n - r->at < n || memcmp(r->text + r->at, what, n) != 0)
        return false;
    r->at += n;
    return true;
}

static uint32_t take_code(reader *r)
{
    size_t length;
    const uint32_t code = charset_decode(r->text + r->at, r->n - r->at, &length);

    r->at += length;
    return code;
}

/* --- escapes --- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Up to `most` digits, at least `least`. */
static uint32_t take_hex(reader *r, int least, int most)
{
    uint32_t code = 0;
    int n = 0;

    for (; n < most && hex_value(peek(r, 0)) >= 0; n++, r->at++)
        code = code * 16 + (uint32_t)hex_value(peek(r, 0));
    if (n < least) return refuse(r, "hexadecimal digits are missing");
    if (code > CHARSET_LAST) return refuse(r, "there is no such character");
    return code;
}

/* \uHHHH, two of which may be a surrogate pair, or \u{H}. */
static uint32_t take_unicode(reader *r)
{
    uint32_t code, low;

    if (skip(r, "{")) {
        code = take_hex(r, 1, 8);
        if (!skip(r, "}")) refuse(r, "'}' is missing");
        return code;
    }
    code = take_hex(r, 4, 4);
    if (code < 0xd800 || code > 0xdbff || !skip(r, "\\u")) return code;
    low = take_hex(r, 4, 4);
    if (low < 0xdc00 || low > 0xdfff) return refuse(r, "half of a surrogate pair");
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

/* The character of an escape behind its backslash that is not one for a set. */
static uint32_t take_escape(reader *r, bool in_set)
{
    static const char letters[] = "tnrfv", meant[] = "\t\n\r\f\v";
    const char c = peek(r, 0), *at = c ? strchr(letters, c) : NULL;

    if (!c) return refuse(r, "a backslash at the end");
    if (c >= '1' && c <= '9') return refuse(r, "a reference back (\\1) is not regular");
    if ((uint8_t)c >= 0x80) return take_code(r);
    r->at++;
    if (at) return (uint32_t)meant[at - letters];
    if (c == '0' && !(peek(r, 0) >= '0' && peek(r, 0) <= '9')) return 0;
    if (c == 'x') return take_hex(r, 2, 2);
    if (c == 'u') return take_unicode(r);
    if (c == 'U') return take_hex(r, 8, 8);
    if (c == 'b' && in_set) return '\b';
    if (c == 'c' && hex_value(peek(r, 0)) != -2 && ((peek(r, 0) | 0x20) >= 'a') &&
        ((peek(r, 0) | 0x20) <= 'z'))
        return (uint32_t)r->text[r->at++] & 0x1f;
    r->at--;
    if (c == 'b' || c == 'B') return refuse(r, "a word boundary (\\b) is not supported");
    if (c == 'p' || c == 'P') return refuse(r, "a Unicode property (\\p) is not supported");
    if (c == 'k') return refuse(r, "a reference back (\\k) is not regular");
    if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
        return refuse(r, "there is no such escape");
    r->at++;
    return (uint32_t)c;
}

static bool is_set_letter(char c)
{
    return c && strchr("dDwWsS", c) != NULL;
}

/* --- sets --- */

static void add_range(reader *r, charset *s, uint32_t lo, uint32_t hi)
{
    if (r->e == ERR_OK && lo > hi) refuse(r, "a range whose end is before its beginning");
    if (r->e == ERR_OK) r->e = charset_add(s, lo, hi);
}

/* One member, or the set of a letter, which begins no range. */
static bool take_member(reader *r, charset *s, uint32_t *code)
{
    if (!skip(r, "\\")) {
        *code = take_code(r);
        return true;
    }
    if (is_set_letter(peek(r, 0))) {
        const err e = regex_set_add(s, r->text[r->at++]);

        if (r->e == ERR_OK) r->e = e;
        return false;
    }
    *code = take_escape(r, true);
    return true;
}

static uint32_t take_set(reader *r)
{
    const bool others = skip(r, "^");
    charset s = {0};
    uint32_t lo, hi;

    if (peek(r, 0) == ']') return refuse(r, "an empty set");
    while (r->e == ERR_OK && peek(r, 0) != ']') {
        if (!peek(r, 0)) refuse(r, "']' is missing");
        if (r->e != ERR_OK || !take_member(r, &s, &lo)) continue;
        hi = lo;
        if (peek(r, 0) == '-' && peek(r, 1) && peek(r, 1) != ']') {
            r->at++;
            if (!take_member(r, &s, &hi)) refuse(r, "a range that ends in a set");
        }
        add_range(r, &s, lo, hi);
    }
    skip(r, "]");
    if (r->e == ERR_OK && others) r->e = charset_negate(&s);
    if (r->e == ERR_OK) return pattern_add_set(&r->tree, &s);
    charset_free(&s);
    return 0;
}

static uint32_t add_named_set(reader *r, char letter)
{
    charset s = {0};
    const err e = regex_set_add(&s, letter);

    if (e == ERR_OK) return pattern_add_set(&r->tree, &s);
    charset_free(&s);
    r->e = e;
    return 0;
}

/* --- groups and atoms --- */

static uint32_t take_choice(reader *r);

/* What follows a '('. */
static void take_group_head(reader *r)
{
    if (!skip(r, "?") || skip(r, ":")) return;
    if (skip(r, "P<") || (peek(r, 1) != '=' && peek(r, 1) != '!' && skip(r, "<"))) {
        while (peek(r, 0) && peek(r, 0) != '>') r->at++;
        if (!skip(r, ">")) refuse(r, "the name of a group has no end");
    } else if (peek(r, 0) == '=' || peek(r, 0) == '!' || peek(r, 0) == '<') {
        refuse(r, "looking ahead or behind is not supported");
    } else {
        refuse(r, "this kind of group is not supported");
    }
}

static uint32_t take_group(reader *r)
{
    uint32_t inside;

    if (++r->nesting > REGEX_MAX_NESTING) return refuse(r, "groups are nested too deep");
    take_group_head(r);
    inside = take_choice(r);
    if (!skip(r, ")")) refuse(r, "')' is missing");
    r->nesting--;
    return inside;
}

static uint32_t take_backslash(reader *r)
{
    const char c = peek(r, 0);

    if (is_set_letter(c)) {
        r->at++;
        return add_named_set(r, c);
    }
    if (skip(r, "A")) return pattern_add(&r->tree, PATTERN_BEGIN, 0, 0);
    if (skip(r, "Z") || skip(r, "z")) return pattern_add(&r->tree, PATTERN_END, 0, 0);
    return pattern_add(&r->tree, PATTERN_CHAR, take_escape(r, false), 0);
}

static uint32_t take_atom(reader *r)
{
    if (skip(r, "(")) return take_group(r);
    if (skip(r, "[")) return take_set(r);
    if (skip(r, "\\")) return take_backslash(r);
    if (skip(r, "^")) return pattern_add(&r->tree, PATTERN_BEGIN, 0, 0);
    if (skip(r, "$")) return pattern_add(&r->tree, PATTERN_END, 0, 0);
    if (skip(r, ".")) return add_named_set(r, '.');
    if (strchr("*+?", peek(r, 0))) return refuse(r, "there is nothing to repeat");
    return pattern_add(&r->tree, PATTERN_CHAR, take_code(r), 0);
}

/* --- repetition --- */

enum { MOST_TIMES = 100000 };

static bool take_number(reader *r, uint32_t *out)
{
    const size_t from = r->at;
    uint32_t x = 0;

    for (; peek(r, 0) >= '0' && peek(r, 0) <= '9'; r->at++)
        if (x <= MOST_TIMES) x = x * 10 + (uint32_t)(peek(r, 0) - '0');
    if (r->at == from) return false;
    if (x > MOST_TIMES) refuse(r, "a number of repetitions is too large");
    *out = x;
    return true;
}

/* {m}, {m,} or {m,n}; what is none of them are characters. */
static bool take_braces(reader *r, uint32_t *min, uint32_t *max)
{
    const size_t from = r->at;

    if (!skip(r, "{") || !take_number(r, min)) goto no_repeat;
    *max = *min;
    if (skip(r, ",")) {
        *max = PATTERN_UNBOUNDED;
        take_number(r, max);
    }
    if (!skip(r, "}")) goto no_repeat;
    if (*min > *max) refuse(r, "a repetition whose most is less than its least");
    return true;
no_repeat:
    r->at = from;
    return false;
}

static uint32_t take_repeat(reader *r, uint32_t atom)
{
    uint32_t min = 0, max = PATTERN_UNBOUNDED, node;

    if (skip(r, "+"))
        min = 1;
    else if (skip(r, "?"))
        max = 1;
    else if (!skip(r, "*") && !take_braces(r, &min, &max))
        return atom;
    if (peek(r, 0) == '+') return refuse(r, "a possessive repetition is not supported");
    skip(r, "?"); /* lazy: it matches the same */
    node = pattern_add(&r->tree, PATTERN_REPEAT, min, max);
    pattern_append(&r->tree, node, atom);
    return node;
}

static uint32_t take_chain(reader *r)
{
    const uint32_t chain = pattern_add(&r->tree, PATTERN_CHAIN, 0, 0);

    while (peek(r, 0) && peek(r, 0) != '|' && peek(r, 0) != ')' && r->tree.failure == ERR_OK)
        pattern_append(&r->tree, chain, take_repeat(r, take_atom(r)));
    return chain;
}

static uint32_t take_choice(reader *r)
{
    const uint32_t choice = pattern_add(&r->tree, PATTERN_CHOICE, 0, 0);

    do {
        const uint32_t chain = take_chain(r);

        pattern_append(&r->tree, choice, chain);
    } while (skip(r, "|"));
    return choice;
}

static uint32_t read_all(reader *r)
{
    uint32_t root;

    if (r->n > REGEX_MAX_BYTES) refuse(r, "the expression is too long");
    if (memchr(r->text, 0, r->n)) refuse(r, "a NUL byte");
    root = take_choice(r);
    if (r->e == ERR_OK && r->at < r->n) refuse(r, "')' without '('");
    return root;
}

err regex_add(nfa *a, const char *text, size_t n, const pattern_use *use, uint32_t from,
              uint32_t to, fault *why)
{
    reader r = {.text = text, .n = n, .why = why, .e = ERR_OK};
    const uint32_t root = read_all(&r);
    err e = r.e != ERR_OK ? r.e : r.tree.failure;

    if (e == ERR_OK) e = pattern_emit(a, &r.tree, root, use, from, to);
    pattern_free(&r.tree);
    return e;
}
