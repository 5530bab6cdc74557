/* utf8.c - the one place that knows how UTF-8 is formed (Unicode 15, table 3-7). An overlong
 * form must not pass: it is a second spelling of a character that a check elsewhere looks for.
 */
#include "engine/utf8.h"

/* Length of the character that `lead` begins, 0 if none does, and the range of its second
 * byte, which is where overlong forms, surrogates and what is above U+10FFFF show. */
static size_t lead_length(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (lead < 0x80) return 1;
    if (lead < 0xc2) return 0;
    if (lead < 0xe0) return 2;
    if (lead < 0xf0) return 3;
    return lead < 0xf5 ? 4 : 0;
}

utf8_kind utf8_step(const char *text, size_t n, size_t *length)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char low, high;
    const size_t whole = lead_length(s[0], &low, &high);

    *length = 1;
    if (whole == 0) return UTF8_BAD;
    for (size_t i = 1; i < whole; i++, (*length)++) {
        if (i == n) return UTF8_HALF;
        if (s[i] < low || s[i] > high) return UTF8_BAD;
        low = 0x80;
        high = 0xbf;
    }
    return UTF8_WHOLE;
}

size_t utf8_prefix(const char *text, size_t n)
{
    size_t at = 0, length;

    while (at < n && utf8_step(text + at, n - at, &length) == UTF8_WHOLE) at += length;
    return at;
}

bool utf8_valid(const char *text, size_t n)
{
    return utf8_prefix(text, n) == n;
}
