/* tok_unicode.c - normal forms, a stretch at a time, and classes of characters.
 *
 * To decode, sort and compose a whole text in 32-bit characters costs more than all merging
 * does. But most characters cannot take part: they stay what they are, and nothing
 * joins what stands before them. So a text is cut before such `inert` ones, and only what lies
 * between two cuts and has others is worked on:
 *
 *   "caf" "e + U+0301" " noir"      an inert character and all that follow it up to the next
 */
#include "engine/tokenizer/tok_unicode.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

/* --- growing text --- */

static bool make_room(tok_text *t, size_t n)
{
    const size_t room = (t->n + n) * 2 + 64;
    char *more;

    if (t->failed) return false;
    if (n <= t->room - t->n) return true;
    more = realloc(t->at, room);
    if (!more) {
        t->failed = true;
        return false;
    }
    t->at = more;
    t->room = room;
    return true;
}

void tok_text_add(tok_text *t, const char *bytes, size_t n)
{
    if (n == 0 || !make_room(t, n)) return;
    memcpy(t->at + t->n, bytes, n);
    t->n += n;
}

void tok_text_add_char(tok_text *t, int32_t c)
{
    utf8proc_uint8_t bytes[4];

    tok_text_add(t, (const char *)bytes, (size_t)utf8proc_encode_char(c, bytes));
}

void tok_text_free(tok_text *t)
{
    free(t->at);
    *t = (tok_text){0};
}

/* --- normal forms --- */

typedef struct span {
    int32_t first, last;
} span;

/* What no form but NFD and NFKD touches, and before which nothing is joined: letters without
 * parts, ideographs, whole syllables. NFC alone leaves Latin with accents as it is. */
static const span inert_spans[] = {
    {0x400, 0x482},                                       /* Cyrillic */
    {0x5d0, 0x5ea},                                       /* Hebrew letters */
    {0x621, 0x64a},                                       /* Arabic letters */
    {0x2010, 0x2010}, {0x2012, 0x2016}, {0x2018, 0x2023}, /* dashes, quotes, bullets */
    {0x2190, 0x219b}, {0x2500, 0x25ff}, {0x2600, 0x27bf}, /* arrows, boxes, symbols */
    {0x3001, 0x3029}, {0x3041, 0x3096}, {0x30a1, 0x30fe}, /* kana */
    {0x4e00, 0x9fff}, {0xac00, 0xd7a3}, {0x1f300, 0x1f5ff}, {0x1f600, 0x1f64f},
};

static bool in_spans(int32_t c)
{
    size_t from = 0, to = sizeof inert_spans / sizeof inert_spans[0];

    while (from < to) {
        const size_t middle = from + (to - from) / 2;

        /* ends in the first span that does not end before c */
        if (c > inert_spans[middle].last)
            from = middle + 1;
        else
            to = middle;
    }
    return from < sizeof inert_spans / sizeof inert_spans[0] && c >= inert_spans[from].first;
}

/* Each form's first character that may change, and what is known above it: most text is passed
 * through without a look into utf8proc's tables. */
static bool is_inert(tok_form form, int32_t c)
{
    switch (form) {
    case TOK_NFC:
        return c < 0x300 || in_spans(c);
    case TOK_NFKC:
        return c < 0xa0 || (c > 0x2100 && in_spans(c));
    case TOK_NFD:
        return c < 0xc0 || (c >= 0x4e00 && c <= 0x9fff);
    case TOK_NFKD:
        return c < 0xa0 || (c >= 0x4e00 && c <= 0x9fff);
    }
    return false;
}

/* Characters of one stretch, and as much room again to sort in. */
typedef struct stretch {
    utf8proc_int32_t *chars; /* [2 * room] */
    size_t n, room;
} stretch;

static int class_of(utf8proc_int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* Marks by class, of equals the first first. utf8proc's own sort swaps neighbours, which takes
 * minutes for a megabyte of marks; this counts. */
static void sort_marks(stretch *s, size_t from, size_t to)
{
    size_t place[257] = {0};
    utf8proc_int32_t *sorted = s->chars + s->room;

    for (size_t i = from; i < to; i++) place[class_of(s->chars[i]) + 1]++;
    for (int i = 0; i < 256; i++) place[i + 1] += place[i];
    for (size_t i = from; i < to; i++) sorted[place[class_of(s->chars[i])]++] = s->chars[i];
    memcpy(s->chars + from, sorted, (to - from) * sizeof *sorted);
}

/* Runs of marks, where they are out of order. */
static void order(stretch *s)
{
    for (size_t i = 0, end; i < s->n; i = end) {
        bool sorted = true;

        end = i + 1;
        if (class_of(s->chars[i]) == 0) continue;
        for (; end < s->n && class_of(s->chars[end]) != 0; end++)
            sorted = sorted && class_of(s->chars[end - 1]) <= class_of(s->chars[end]);
        if (!sorted) sort_marks(s, i, end);
    }
}

static void decompose(stretch *s, const char *text, size_t n, utf8proc_option_t options)
{
    size_t length;
    int boundary = 0;

    for (size_t at = 0; at < n; at += length) {
        const int32_t c = tok_unicode_char(text + at, n - at, &length);
        const utf8proc_ssize_t more = utf8proc_decompose_char(
            c, s->chars + s->n, (utf8proc_ssize_t)(s->room - s->n), options, &boundary);

        s->n += (size_t)more; /* there is room: as many as a byte can become for each byte */
    }
}

static err add_form(tok_form form, const char *text, size_t n, tok_text *out)
{
    const bool compat = form == TOK_NFKC || form == TOK_NFKD;
    const utf8proc_option_t options = UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0);
    stretch s = {.room = n * (compat ? TOK_FORM_GROWTH_COMPAT : TOK_FORM_GROWTH) + 1};

    s.chars = malloc(2 * s.room * sizeof *s.chars);
    if (!s.chars) return ERR_NOMEM;
    decompose(&s, text, n, options);
    order(&s);
    if (form == TOK_NFC || form == TOK_NFKC)
        s.n = (size_t)utf8proc_normalize_utf32(s.chars, (utf8proc_ssize_t)s.n,
                                               UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (size_t i = 0; i < s.n; i++) tok_text_add_char(out, s.chars[i]);
    free(s.chars);
    return ERR_OK;
}

/* Inert characters are copied up to the last, which may be joined by what follows it. */
err tok_unicode_form(tok_form form, const char *text, size_t n, tok_text *out)
{
    size_t done = 0, last = 0, at = 0, length;

    while (at < n) {
        if (is_inert(form, tok_unicode_char(text + at, n - at, &length))) {
            last = at;
            at += length;
            continue;
        }
        tok_text_add(out, text + done, last - done);
        while (at < n && !is_inert(form, tok_unicode_char(text + at, n - at, &length)))
            at += length;
        TRY(add_form(form, text + last, at - last, out));
        done = last = at;
    }
    tok_text_add(out, text + done, n - done);
    return out->failed ? ERR_NOMEM : ERR_OK;
}

/* --- characters --- */

int32_t tok_unicode_char(const char *text, size_t n, size_t *length)
{
    utf8proc_int32_t c = (unsigned char)text[0];

    *length = 1;
    if (c < 0x80) return c;
    *length = (size_t)utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &c);
    return c;
}

void tok_unicode_add_lower(tok_text *out, int32_t c)
{
    tok_text_add_char(out, c == 0x130 ? 'i' : utf8proc_tolower(c));
    if (c == 0x130) tok_text_add_char(out, 0x307); /* the one that becomes two */
}

bool tok_unicode_is_mark(int32_t c)
{
    return c >= 0x300 && utf8proc_category(c) == UTF8PROC_CATEGORY_MN;
}

bool tok_unicode_is_combining(int32_t c)
{
    const utf8proc_category_t category = utf8proc_category(c);

    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
           category == UTF8PROC_CATEGORY_ME;
}

bool tok_unicode_is_space(int32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
    if (c == 0x85) return true;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    default:
        return false;
    }
}

bool tok_unicode_is_punctuation(int32_t c)
{
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
               (c >= '{' && c <= '~');
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PO:
    case UTF8PROC_CATEGORY_PS:
        return true;
    default:
        return false;
    }
}

bool tok_unicode_is_control(int32_t c)
{
    if (c == '\t' || c == '\n' || c == '\r') return false;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
        return true;
    default:
        return false;
    }
}

/* With the gap that the reference has: 0x2b820 is 0x2b920 there. */
bool tok_unicode_is_ideograph(int32_t c)
{
    static const span spans[] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                                 {0x20000, 0x2a6df}, {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f},
                                 {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};

    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++)
        if (c >= spans[i].first && c <= spans[i].last) return true;
    return false;
}
