/* jinja_case.c - character by character, by the tables of utf8proc.
 *
 * A character becomes one character: the few that Python makes two of (the German sharp s in
 * upper case) stay. */
#include "engine/template/jinja_case.h"

#include <string.h>

#include <utf8proc.h>

bool jinja_case_is_letter(uint32_t c)
{
    utf8proc_category_t k;

    if (c < 0x80) return (c | 32) >= 'a' && (c | 32) <= 'z';
    k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool jinja_case_is_digit(uint32_t c)
{
    if (c < 0x80) return c >= '0' && c <= '9';
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

static uint32_t upper(uint32_t c)
{
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
}

static uint32_t lower(uint32_t c)
{
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

/* Does a word begin behind this character? 0: at the beginning. */
static bool begins(jinja_case_kind kind, uint32_t before)
{
    if (!before) return true;
    if (kind == JINJA_TITLE) return !jinja_case_is_letter(before);
    if (kind == JINJA_WORDS)
        return jinja_char_is_space(before) || (before < 0x80 && strchr("-({[<", (int)before));
    return false;
}

static uint32_t change(jinja_case_kind kind, uint32_t before, uint32_t c)
{
    if (c - 0xdc80 < 0x80) return c; /* a byte that is no character */
    if (kind == JINJA_UPPER) return upper(c);
    if (kind == JINJA_LOWER) return lower(c);
    if (kind == JINJA_SWAP) return upper(c) == c ? lower(c) : upper(c);
    return begins(kind, before) ? upper(c) : lower(c);
}

err jinja_case(jinja_arena *a, jinja_text t, jinja_case_kind kind, jinja_text *out)
{
    jinja_buffer *b = jinja_arena_take(a, sizeof *b);
    uint32_t before = 0;
    size_t length;
    char bytes[4];

    if (!b) return ERR_NOMEM;
    for (size_t i = 0; i < t.n; i += length) {
        const uint32_t c = jinja_char(jinja_text_at(t) + i, t.n - i, &length);
        const size_t n = jinja_char_write(change(kind, before, c), bytes);

        TRY(jinja_buffer_add(a, b, bytes, n, jinja_text_trusted(t, i)));
        before = c;
    }
    *out = jinja_buffer_text(b);
    return ERR_OK;
}
