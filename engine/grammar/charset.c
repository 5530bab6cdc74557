/* charset.c - ranges of characters into ranges of bytes.
 *
 * A range of code points is cut where the length of UTF-8 changes, then until all bytes behind
 * the first that differs run through all their values: each piece is then a sequence of byte
 * ranges. U+0080 .. U+FFFF, for one: [C2-DF][80-BF], E0[A0-BF][80-BF], [E1-EC][80-BF][80-BF],
 * and so on around the surrogates, which UTF-8 does not have. */
#include "engine/grammar/charset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void charset_free(charset *s)
{
    free(s->at);
    *s = (charset){0};
}

err charset_add(charset *s, uint32_t lo, uint32_t hi)
{
    if (s->n == s->room) {
        const size_t more = s->room ? 2 * s->room : 8;
        charset_range *bigger = realloc(s->at, more * sizeof *s->at);

        if (!bigger) return ERR_NOMEM;
        s->at = bigger;
        s->room = more;
    }
    s->at[s->n++] = (charset_range){lo, hi};
    return ERR_OK;
}

err charset_add_all(charset *s, const charset *other)
{
    for (size_t i = 0; i < other->n; i++) TRY(charset_add(s, other->at[i].lo, other->at[i].hi));
    return ERR_OK;
}

static int compare_ranges(const void *a, const void *b)
{
    const charset_range *x = a, *y = b;

    return (x->lo > y->lo) - (x->lo < y->lo);
}

void charset_normalize(charset *s)
{
    size_t n = 0;

    if (!s->n) return;
    qsort(s->at, s->n, sizeof *s->at, compare_ranges);
    for (size_t i = 1; i < s->n; i++) {
        if (s->at[i].lo > s->at[n].hi + 1)
            s->at[++n] = s->at[i];
        else if (s->at[i].hi > s->at[n].hi)
            s->at[n].hi = s->at[i].hi;
    }
    s->n = n + 1;
}

err charset_negate(charset *s)
{
    charset other = {0};
    uint32_t from = 0;

    charset_normalize(s);
    for (size_t i = 0; i <= s->n; i++) {
        const uint32_t to = i < s->n ? s->at[i].lo : CHARSET_LAST + 1;

        if (from < to && charset_add(&other, from, to - 1) != ERR_OK) {
            charset_free(&other);
            return ERR_NOMEM;
        }
        if (i < s->n) from = s->at[i].hi + 1;
    }
    charset_free(s);
    *s = other;
    return ERR_OK;
}

/* --- spelling --- */

static size_t spell_utf8(uint32_t code, char *out)
{
    const size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t mark[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = n - 1; i > 0; i--, code >>= 6) out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(mark[n] | code);
    return n;
}

size_t charset_spell(uint32_t code, charset_form form, char out[CHARSET_SPELLED])
{
    static const char plain[] = "\"\\\b\f\n\r\t", escaped[] = "\"\\bfnrt";
    const char *special = code && code < 0x80 ? strchr(plain, (int)code) : NULL;

    if (form == CHARSET_PLAIN || (!special && code >= 0x20)) return spell_utf8(code, out);
    if (!special) return (size_t)snprintf(out, CHARSET_SPELLED, "\\u%04x", (unsigned)code);
    out[0] = '\\';
    out[1] = escaped[special - plain];
    return 2;
}

uint32_t charset_decode(const char *text, size_t n, size_t *length)
{
    const uint8_t first = (uint8_t)text[0];
    const size_t want = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t code = want == 1 ? first : first & (0x7fu >> want);

    *length = want < n ? want : n;
    for (size_t i = 1; i < *length; i++) code = code << 6 | ((uint8_t)text[i] & 0x3f);
    return code;
}

/* --- edges --- */

/* lo and hi are of one length and differ so that this is a sequence of ranges. */
static void add_sequence(nfa *a, uint32_t lo, uint32_t hi, uint32_t from, uint32_t to)
{
    char low[4], high[4];
    const size_t n = spell_utf8(lo, low);

    spell_utf8(hi, high);
    for (size_t i = 0; i < n; i++) {
        const uint32_t next = i + 1 < n ? nfa_add_node(a) : to;

        nfa_add_bytes(a, from, (uint8_t)low[i], (uint8_t)high[i], next);
        from = next;
    }
}

/* Cut until bytes behind the first that differs run through all. */
static void add_utf8(nfa *a, uint32_t lo, uint32_t hi, uint32_t from, uint32_t to)
{
    static const uint32_t last[] = {0x7f, 0x7ff, 0xd7ff, 0xdfff, 0xffff};

    if (lo > hi) return;
    for (size_t i = 0; i < 5; i++) {
        if (lo > last[i] || hi <= last[i]) continue;
        add_utf8(a, lo, last[i], from, to);
        add_utf8(a, last[i] + 1, hi, from, to);
        return;
    }
    if (lo >= 0xd800 && lo <= 0xdfff) return; /* all of it surrogates */
    for (uint32_t bits = 6; lo >= 0x80 && bits <= 18; bits += 6) {
        const uint32_t mask = (1u << bits) - 1;

        if ((lo & ~mask) == (hi & ~mask)) break;
        if (lo & mask) {
            add_utf8(a, lo, lo | mask, from, to);
            add_utf8(a, (lo | mask) + 1, hi, from, to);
            return;
        }
        if ((hi & mask) != mask) {
            add_utf8(a, lo, (hi & ~mask) - 1, from, to);
            add_utf8(a, hi & ~mask, hi, from, to);
            return;
        }
    }
    add_sequence(a, lo, hi, from, to);
}

/* Is it written as the byte that it is? */
static bool is_single(uint32_t code, charset_form form)
{
    return code < 0x80 &&
           (form == CHARSET_PLAIN || (code >= 0x20 && code != '"' && code != '\\'));
}

/* A hexadecimal digit of lo .. hi, in either case. */
static void add_hex(nfa *a, uint32_t from, int lo, int hi, uint32_t to)
{
    if (lo < 10)
        nfa_add_bytes(a, from, (uint8_t)('0' + lo), (uint8_t)('0' + (hi < 9 ? hi : 9)), to);
    if (hi < 10) return;
    lo = lo < 10 ? 10 : lo;
    nfa_add_bytes(a, from, (uint8_t)('a' + lo - 10), (uint8_t)('a' + hi - 10), to);
    nfa_add_bytes(a, from, (uint8_t)('A' + lo - 10), (uint8_t)('A' + hi - 10), to);
}

/* Four digits, each between the two that its pair of bytes says. */
static void add_digits(nfa *a, uint32_t from, const uint8_t pairs[8], uint32_t to)
{
    for (size_t i = 0; i < 4; i++) {
        const uint32_t next = i < 3 ? nfa_add_node(a) : to;

        add_hex(a, from, pairs[2 * i], pairs[2 * i + 1], next);
        from = next;
    }
}

/* Behind a backslash: any escape. Half a surrogate pair is none, as two halves are one. */
static void add_free_escapes(nfa *a, uint32_t from, uint32_t to)
{
    static const uint8_t below[] = {0, 12, 0, 15, 0, 15, 0, 15},
                         before[] = {13, 13, 0, 7, 0, 15, 0, 15};
    static const uint8_t above[] = {14, 15, 0, 15, 0, 15, 0, 15};
    static const uint8_t high[] = {13, 13, 8, 11, 0, 15, 0, 15},
                         low[] = {13, 13, 12, 15, 0, 15, 0, 15};
    const uint32_t digits = nfa_add_node(a), between = nfa_add_node(a),
                   second = nfa_add_node(a);

    for (const char *c = "\"\\/bfnrt"; *c; c++)
        nfa_add_bytes(a, from, (uint8_t)*c, (uint8_t)*c, to);
    nfa_add_bytes(a, from, 'u', 'u', digits);
    add_digits(a, digits, below, to);
    add_digits(a, digits, before, to);
    add_digits(a, digits, above, to);
    add_digits(a, digits, high, between);
    nfa_add_text(a, between, "\\u", 2, second);
    add_digits(a, second, low, to);
}

/* Escaped characters of a set in their one spelling. */
static void add_escapes(nfa *a, const charset *s, uint32_t from, uint32_t to)
{
    char out[CHARSET_SPELLED];

    for (size_t i = 0; i < s->n; i++)
        for (uint32_t c = s->at[i].lo; c <= s->at[i].hi && c < 0x80; c++)
            if (!is_single(c, CHARSET_JSON))
                nfa_add_text(a, from, out, charset_spell(c, CHARSET_JSON, out), to);
}

static bool has_escapes(const charset *s)
{
    for (size_t i = 0; i < s->n; i++)
        for (uint32_t c = s->at[i].lo; c <= s->at[i].hi && c < 0x80; c++)
            if (!is_single(c, CHARSET_JSON)) return true;
    return false;
}

uint32_t charset_add_rule(nfa *a, const charset *s, charset_form form)
{
    const bool wide = s->n && s->at[s->n - 1].hi >= 0x80;
    uint32_t rule, from, to;

    if (!wide && (form == CHARSET_PLAIN || !has_escapes(s))) return NFA_NONE;
    rule = nfa_add_rule(a);
    from = nfa_start(a, rule);
    to = nfa_end(a, rule);
    for (size_t i = 0; i < s->n; i++)
        add_utf8(a, s->at[i].lo < 0x80 ? 0x80 : s->at[i].lo, s->at[i].hi, from, to);
    if (form == CHARSET_JSON) add_escapes(a, s, from, to);
    if (form == CHARSET_JSON_FREE) {
        const uint32_t behind = nfa_add_node(a);

        nfa_add_bytes(a, from, '\\', '\\', behind);
        add_free_escapes(a, behind, to);
    }
    return rule;
}

/* Runs of characters that are bytes themselves are edges here: most of a text is those, and a
 * call costs a frame. */
void charset_add_edge(nfa *a, const charset *s, charset_form form, uint32_t rule, uint32_t from,
                      uint32_t to)
{
    for (size_t i = 0; i < s->n; i++) {
        uint32_t lo = s->at[i].lo;

        while (lo <= s->at[i].hi && lo < 0x80) {
            uint32_t hi = lo;

            while (hi < s->at[i].hi && is_single(hi, form) && is_single(hi + 1, form)) hi++;
            if (is_single(lo, form)) nfa_add_bytes(a, from, (uint8_t)lo, (uint8_t)hi, to);
            lo = hi + 1;
        }
    }
    if (rule != NFA_NONE) nfa_add_call(a, from, rule, to);
}
