/* jinja_lex.c - from one tag to the next; inside a tag, from token to token.
 *
 *   text \n   {%- if x %}\n text      data is cut at a tag by the sign that the tag begins
 * with,
 *        ^^^^^            ^^         and its beginning by how the tag before it ended
 *
 * The sign of a tag decides over what stands before it, the sign of its end over what follows:
 * "-" takes all white space, "+" leaves all, none takes the newline behind a block and the
 * white space in front of one that begins its line. */
#include "engine/template/jinja_lex.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "engine/template/jinja_text.h"

enum { DEEPEST_BRACKET = 200 };

typedef struct lexer {
    jinja_arena *arena;
    const char *at, *end; /* what is not read yet */
    int line;
    bool line_starts; /* what is before `at` ends a line, or there is nothing */
    jinja_token *tokens;
    size_t n, cap;
    char open[DEEPEST_BRACKET]; /* brackets that wait to be closed */
    size_t n_open;
    jinja_fault *why;
} lexer;

__attribute__((format(printf, 2, 3))) static err fail(lexer *l, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    l->why->line = l->line;
    vsnprintf(l->why->text, sizeof l->why->text, format, list);
    va_end(list);
    return ERR_TEMPLATE;
}

static err add(lexer *l, jinja_token_kind kind, const char *at, size_t n)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap ? 2 * l->cap : 64;
        jinja_token *more = jinja_arena_take(l->arena, cap * sizeof *more);

        if (!more) return ERR_NOMEM;
        if (l->n) memcpy(more, l->tokens, l->n * sizeof *more);
        l->tokens = more;
        l->cap = cap;
    }
    l->tokens[l->n++] = (jinja_token){kind, l->line, at, n};
    return ERR_OK;
}

/* --- places --- */

static bool here(const lexer *l, const char *s)
{
    const size_t n = strlen(s);

    return (size_t)(l->end - l->at) >= n && memcmp(l->at, s, n) == 0;
}

static void advance(lexer *l, const char *to)
{
    for (const char *p = l->at; p < to; p++) l->line += *p == '\n';
    if (to > l->at) l->line_starts = to[-1] == '\n';
    l->at = to;
}

static const char *skip_space(const char *at, const char *end)
{
    size_t length;

    while (at < end && jinja_char_is_space(jinja_char(at, (size_t)(end - at), &length)))
        at += length;
    return at;
}

static const char *strip_end(const char *from, const char *to)
{
    jinja_buffer b = {.bytes = (char *)from, .n = (size_t)(to - from)};

    return from + jinja_text_strip(jinja_buffer_text(&b), NULL, false, true).n;
}

/* --- data --- */

/* The text up to a tag that begins with "{%", "{#" or "{{" and the sign behind it. */
static err add_data(lexer *l, const char *to, char what, char sign)
{
    const char *stop = to, *line = to;

    while (line > l->at && line[-1] != '\n') line--;
    if (sign == '-')
        stop = strip_end(l->at, to);
    else if (sign != '+' && what != '{' && (line > l->at || l->line_starts) &&
             skip_space(line, to) == to)
        stop = line;
    if (stop > l->at) TRY(add(l, JINJA_DATA, l->at, (size_t)(stop - l->at)));
    advance(l, to);
    return ERR_OK;
}

static const char *find_tag(const lexer *l)
{
    for (const char *p = l->at; l->end - p >= 2; p++) {
        p = memchr(p, '{', (size_t)(l->end - p - 1));
        if (!p) return NULL;
        if (p[1] == '%' || p[1] == '#' || p[1] == '{') return p;
    }
    return NULL;
}

/* The end of a block or a comment, whose mark is "%}" or "#}": the sign before it says what
 * white space behind it goes. False: it does not end here. */
static bool at_end(const lexer *l, const char *mark, const char **after)
{
    const bool minus = here(l, "-"), plus = here(l, "+");
    const char *p = l->at + (minus || plus);

    if (l->end - p < 2 || memcmp(p, mark, 2) != 0) return false;
    p += 2;
    if (minus) p = skip_space(p, l->end);
    if (!minus && !plus && p < l->end && *p == '\n') p++;
    *after = p;
    return true;
}

static err skip_comment(lexer *l)
{
    const int line = l->line;
    const char *after;

    advance(l, l->at + 2);
    for (; l->at < l->end; advance(l, l->at + 1)) {
        if (!at_end(l, "#}", &after)) continue;
        advance(l, after);
        return ERR_OK;
    }
    l->line = line;
    return fail(l, "a comment has no end");
}

/* "{%- raw -%}": behind the keyword *p is what follows the tag. */
static bool is_tag(const lexer *l, const char *at, const char *word, char *sign,
                   const char **after)
{
    lexer look = *l;

    look.at = at + 2;
    *sign = look.at < l->end && (*look.at == '-' || *look.at == '+') ? *look.at : '\0';
    look.at = skip_space(look.at + (*sign != '\0'), l->end);
    if (!here(&look, word)) return false;
    look.at = skip_space(look.at + strlen(word), l->end);
    return at_end(&look, "%}", after);
}

/* Data up to the tag that ends it, whatever it holds. A raw tag's newline stays. */
static err read_raw(lexer *l, const char *after)
{
    const char *p, *next;
    char sign;

    if (after[-1] == '\n' && after[-2] == '}' && after[-4] != '-') after--;
    advance(l, after);
    for (p = l->at; (p = memmem(p, (size_t)(l->end - p), "{%", 2)); p++) {
        if (!is_tag(l, p, "endraw", &sign, &next)) continue;
        TRY(add_data(l, p, '%', sign));
        advance(l, next);
        return ERR_OK;
    }
    return fail(l, "'raw' has no 'endraw'");
}

/* --- inside a tag --- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80);
}

/* Digits, with single underscores between them. */
static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && (is_digit(*p) || (*p == '_' && p + 1 < end && is_digit(p[1])))) p++;
    return p;
}

/* 1e5, 1.5, 1.5e-5: a real number has a fraction or an exponent. "1." is a one and a dot. */
static err read_number(lexer *l)
{
    const char *p = skip_digits(l->at, l->end), *exponent;
    jinja_token_kind kind = JINJA_NUMBER;

    if (p == l->at + 1 && *l->at == '0' && p < l->end && strchr("xXoObB", *p)) {
        for (p++; p < l->end && (is_name(*p) || is_digit(*p));) p++;
        TRY(add(l, kind, l->at, (size_t)(p - l->at)));
        advance(l, p);
        return ERR_OK;
    }
    if (l->end - p > 1 && *p == '.' && is_digit(p[1])) {
        kind = JINJA_REAL;
        p = skip_digits(p + 1, l->end);
    }
    exponent = p + 1;
    if (p < l->end && (*p == 'e' || *p == 'E')) {
        if (exponent < l->end && (*exponent == '+' || *exponent == '-')) exponent++;
        if (exponent < l->end && is_digit(*exponent)) {
            kind = JINJA_REAL;
            p = skip_digits(exponent, l->end);
        }
    }
    TRY(add(l, kind, l->at, (size_t)(p - l->at)));
    advance(l, p);
    return ERR_OK;
}

/* The value of so many digits of a base; false: they are not there. */
static bool read_digits(const char *p, const char *end, int n, int base, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < n; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *d = p + i < end && p[i] ? strchr(digits, p[i]) : NULL;

        if (!d || (d - digits) % 16 >= base) return false;
        *out = *out * (uint32_t)base + (uint32_t)((d - digits) % 16);
    }
    return true;
}

/* An escape's character to *to, which moves; p is behind its letter. NULL: it is none. */
static const char *read_coded(char letter, const char *p, const char *end, char **to)
{
    const int n = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
    uint32_t c;

    if (!read_digits(p, end, n, 16, &c) || c > 0x10ffff) return NULL;
    *to += jinja_char_write(c, *to);
    return p + n;
}

/* What stands behind a backslash, as Python reads it: an unknown letter keeps its backslash. */
static const char *read_escape(const char *p, const char *end, char **to)
{
    static const char letters[] = "nrtabfv\\'\"", meaning[] = "\n\r\t\a\b\f\v\\'\"";
    const char *found = *p ? strchr(letters, *p) : NULL;
    uint32_t c;

    if (*p == '\n') return p + 1;
    if (found) {
        *(*to)++ = meaning[found - letters];
        return p + 1;
    }
    if (*p == 'N') return NULL; /* a character by its name, of which there are 30,000 */
    if (*p == 'x' || *p == 'u' || *p == 'U') return read_coded(*p, p + 1, end, to);
    for (int n = 3; n; n--)
        if (read_digits(p, end, n, 8, &c)) {
            *to += jinja_char_write(c, *to);
            return p + n;
        }
    *(*to)++ = '\\';
    return p;
}

static err read_string(lexer *l)
{
    const char quote = *l->at, *p = l->at + 1, *stop = p;
    char *text, *to;

    while (stop < l->end && *stop != quote) stop += *stop == '\\' ? 2 : 1;
    if (stop >= l->end) return fail(l, "a string has no end");
    text = to = jinja_arena_take(l->arena, (size_t)(stop - p) + 1);
    if (!text) return ERR_NOMEM;
    while (p < stop) {
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        p = read_escape(p + 1, stop, &to);
        if (!p) return fail(l, "a string has an escape that is not valid");
    }
    TRY(add(l, JINJA_STRING, text, (size_t)(to - text)));
    advance(l, stop + 1);
    return ERR_OK;
}

/* A closing bracket must be the opened one's. */
static err match_bracket(lexer *l, char c)
{
    static const char pairs[] = "()[]{}";
    const char *p = strchr(pairs, c);

    if (!p) return ERR_OK;
    if ((p - pairs) % 2 == 0) {
        if (l->n_open == DEEPEST_BRACKET) return fail(l, "brackets are nested too deeply");
        l->open[l->n_open++] = p[1];
        return ERR_OK;
    }
    if (!l->n_open) return fail(l, "unexpected '%c'", c);
    if (l->open[--l->n_open] != c)
        return fail(l, "unexpected '%c', expected '%c'", c, l->open[l->n_open]);
    return ERR_OK;
}

static err read_operator(lexer *l)
{
    static const char *const known[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                        "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                        ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!here(l, known[i])) continue;
        TRY(match_bracket(l, *l->at));
        TRY(add(l, JINJA_OPERATOR, known[i], strlen(known[i])));
        advance(l, l->at + strlen(known[i]));
        return ERR_OK;
    }
    return fail(l, "unexpected character '%c'", (*l->at & 0x80) || *l->at < ' ' ? '?' : *l->at);
}

static err read_token(lexer *l)
{
    const char *p = l->at;

    if (is_digit(*p)) return read_number(l);
    if (*p == '"' || *p == '\'') return read_string(l);
    if (!is_name(*p)) return read_operator(l);
    while (p < l->end && (is_name(*p) || is_digit(*p))) p++;
    TRY(add(l, JINJA_NAME, l->at, (size_t)(p - l->at)));
    advance(l, p);
    return ERR_OK;
}

/* A value's end never takes a newline but with a minus. */
static bool at_value_end(const lexer *l, const char **after)
{
    if (here(l, "}}")) {
        *after = l->at + 2;
        return true;
    }
    if (!here(l, "-}}")) return false;
    *after = skip_space(l->at + 3, l->end);
    return true;
}

/* A bracket that is open hides what looks like the end: {{ {"a": {}} }}. */
static err read_tag(lexer *l, bool block)
{
    const int line = l->line;
    const char *after;

    TRY(add(l, block ? JINJA_BEGIN_BLOCK : JINJA_BEGIN_VALUE, l->at, 2));
    advance(l, l->at + 2);
    if (here(l, "-") || here(l, "+")) advance(l, l->at + 1);
    l->n_open = 0;
    for (;;) {
        advance(l, skip_space(l->at, l->end));
        if (l->at >= l->end) break;
        if (!l->n_open && (block ? at_end(l, "%}", &after) : at_value_end(l, &after))) {
            TRY(add(l, block ? JINJA_END_BLOCK : JINJA_END_VALUE, l->at, 2));
            advance(l, after);
            return ERR_OK;
        }
        TRY(read_token(l));
    }
    l->line = line;
    return fail(l, "a tag has no end");
}

/* --- all of it --- */

static err read_all(lexer *l)
{
    const char *tag, *after;

    while ((tag = find_tag(l))) {
        const char next = l->end - tag > 2 ? tag[2] : '\0';
        char sign;

        TRY(add_data(l, tag, tag[1], next));
        if (tag[1] == '%' && is_tag(l, tag, "raw", &sign, &after))
            TRY(read_raw(l, after));
        else if (tag[1] == '#')
            TRY(skip_comment(l));
        else
            TRY(read_tag(l, tag[1] == '%'));
    }
    if (l->at < l->end) TRY(add(l, JINJA_DATA, l->at, (size_t)(l->end - l->at)));
    return add(l, JINJA_END, "", 0);
}

/* Lines end in \n, whatever the file has, and the last one's end goes. */
static size_t normalize(const char *source, size_t n, char *to)
{
    size_t length = 0;

    for (size_t i = 0; i < n; i++) {
        if (source[i] == '\r' && i + 1 < n && source[i + 1] == '\n') continue;
        to[length++] = source[i] == '\r' ? '\n' : source[i];
    }
    return length - (length && to[length - 1] == '\n');
}

err jinja_lex(jinja_arena *a, const char *source, size_t n, jinja_token **out, jinja_fault *why)
{
    char *text = jinja_arena_take(a, n + 1);
    lexer l = {.arena = a, .at = text, .line = 1, .line_starts = true, .why = why};

    if (!text) return ERR_NOMEM;
    l.end = text + normalize(source, n, text);
    TRY(read_all(&l));
    *out = l.tokens;
    return ERR_OK;
}
