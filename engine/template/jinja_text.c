/* jinja_text.c - bytes with marks: joined, searched, counted in characters.
 *
 * A text is a view: cutting one copies nothing. Only what is made longer is written, and only
 * behind the end of its buffer, where no other text can look. A buffer whose bytes have all one
 * writer has no marks; they come with the first byte of the other. */
#include "engine/template/jinja_text.h"

#include <string.h>

#include "engine/utf8.h"

err jinja_text_borrow(jinja_arena *a, const char *bytes, size_t n, bool trusted,
                      jinja_text *out)
{
    jinja_buffer *b = jinja_arena_take(a, sizeof *b);

    if (!b) return ERR_NOMEM;
    *b = (jinja_buffer){.bytes = (char *)bytes, .n = n, .trusted = trusted};
    *out = (jinja_text){b, 0, n};
    return ERR_OK;
}

bool jinja_text_trusted(jinja_text t, size_t i)
{
    return t.in->marks ? t.in->marks[t.from + i] : t.in->trusted;
}

bool jinja_text_same(jinja_text a, jinja_text b)
{
    return a.n == b.n && memcmp(jinja_text_at(a), jinja_text_at(b), a.n) == 0;
}

bool jinja_text_is(jinja_text t, const char *s)
{
    return t.n == strlen(s) && memcmp(jinja_text_at(t), s, t.n) == 0;
}

/* UTF-8 is made so that bytes compare as characters do. */
int jinja_text_compare(jinja_text a, jinja_text b)
{
    const int c = memcmp(jinja_text_at(a), jinja_text_at(b), a.n < b.n ? a.n : b.n);

    if (c) return c;
    return a.n == b.n ? 0 : a.n < b.n ? -1 : 1;
}

size_t jinja_text_find(jinja_text a, jinja_text b, size_t from)
{
    const char *found;

    if (from > a.n) return SIZE_MAX;
    if (!b.n) return from;
    found = memmem(jinja_text_at(a) + from, a.n - from, jinja_text_at(b), b.n);
    return found ? (size_t)(found - jinja_text_at(a)) : SIZE_MAX;
}

/* --- growing --- */

/* Doubled, and nothing freed: the arena then holds twice the longest at most. */
static err reserve(jinja_arena *a, jinja_buffer *b, size_t n)
{
    const size_t cap = b->n + n + (b->n + n < 64 ? 64 : b->n + n);
    char *bytes;
    unsigned char *marks = NULL;

    if (b->cap - b->n >= n && b->cap) return ERR_OK;
    bytes = jinja_arena_take(a, cap);
    if (b->marks) marks = jinja_arena_take(a, cap);
    if (!bytes || (b->marks && !marks)) return ERR_NOMEM;
    if (b->n) memcpy(bytes, b->bytes, b->n);
    if (marks) memcpy(marks, b->marks, b->n);
    b->bytes = bytes;
    b->marks = marks;
    b->cap = cap;
    return ERR_OK;
}

/* Bytes of both kinds need a mark each. */
static err need_marks(jinja_arena *a, jinja_buffer *b)
{
    if (b->marks) return ERR_OK;
    b->marks = jinja_arena_take(a, b->cap);
    if (!b->marks) return ERR_NOMEM;
    memset(b->marks, b->trusted, b->n);
    return ERR_OK;
}

err jinja_buffer_add(jinja_arena *a, jinja_buffer *to, const char *bytes, size_t n,
                     bool trusted)
{
    if (!n) return ERR_OK;
    TRY(reserve(a, to, n));
    if (!to->n) to->trusted = trusted;
    if (to->marks || trusted != to->trusted) {
        TRY(need_marks(a, to));
        memset(to->marks + to->n, trusted, n);
    }
    memmove(to->bytes + to->n, bytes, n);
    to->n += n;
    return ERR_OK;
}

err jinja_buffer_add_text(jinja_arena *a, jinja_buffer *to, jinja_text t)
{
    if (!t.n) return ERR_OK;
    if (!t.in->marks) return jinja_buffer_add(a, to, jinja_text_at(t), t.n, t.in->trusted);
    TRY(reserve(a, to, t.n));
    TRY(need_marks(a, to));
    memmove(to->bytes + to->n, t.in->bytes + t.from, t.n);
    memmove(to->marks + to->n, t.in->marks + t.from, t.n);
    to->n += t.n;
    return ERR_OK;
}

err jinja_text_concat(jinja_arena *a, jinja_text x, jinja_text y, jinja_text *out)
{
    jinja_buffer *b = x.in;

    if (!x.n || !y.n) {
        *out = x.n ? x : y;
        return ERR_OK;
    }
    if (!b->cap || x.from + x.n != b->n) {
        b = jinja_arena_take(a, sizeof *b);
        if (!b) return ERR_NOMEM;
        TRY(jinja_buffer_add_text(a, b, x));
        x = (jinja_text){b, 0, x.n};
    }
    TRY(jinja_buffer_add_text(a, b, y));
    *out = (jinja_text){b, x.from, x.n + y.n};
    return ERR_OK;
}

/* --- characters --- */

uint32_t jinja_char(const char *at, size_t n, size_t *length)
{
    const unsigned char first = (unsigned char)*at;
    uint32_t c;

    *length = 1;
    if (first < 0x80) return first;
    if (utf8_step(at, n, length) != UTF8_WHOLE) {
        *length = 1;
        return 0xdc00u + first; /* as Python's surrogateescape has it */
    }
    c = first & (0x7fu >> *length);
    for (size_t i = 1; i < *length; i++) c = c << 6 | ((unsigned char)at[i] & 0x3fu);
    return c;
}

size_t jinja_char_offset(jinja_text t, size_t i)
{
    const char *at = jinja_text_at(t);
    size_t offset = 0, length;

    for (; i && offset < t.n; i--, offset += length)
        jinja_char(at + offset, t.n - offset, &length);
    return offset;
}

size_t jinja_chars(jinja_text t)
{
    const char *at = jinja_text_at(t);
    size_t n = 0, length;

    for (size_t i = 0; i < t.n; i += length, n++) jinja_char(at + i, t.n - i, &length);
    return n;
}

size_t jinja_char_write(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c - 0xdc80u < 0x80) { /* the byte that it was */
        out[0] = (char)(c - 0xdc00u);
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

bool jinja_char_is_space(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool drops(uint32_t c, const jinja_text *drop)
{
    size_t length;

    if (!drop) return jinja_char_is_space(c);
    for (size_t i = 0; i < drop->n; i += length)
        if (jinja_char(jinja_text_at(*drop) + i, drop->n - i, &length) == c) return true;
    return false;
}

/* The last character: at most three bytes that continue one before it. */
static uint32_t last_char(jinja_text t, size_t *length)
{
    const char *end = jinja_text_at(t) + t.n;

    for (size_t back = t.n < 4 ? t.n : 4; back > 1; back--) {
        const uint32_t c = jinja_char(end - back, back, length);

        if (*length == back) return c;
    }
    return jinja_char(end - 1, 1, length);
}

jinja_text jinja_text_strip(jinja_text t, const jinja_text *drop, bool left, bool right)
{
    size_t length;

    while (left && t.n && drops(jinja_char(jinja_text_at(t), t.n, &length), drop))
        t = jinja_text_cut(t, length, t.n - length);
    while (right && t.n && drops(last_char(t, &length), drop)) t.n -= length;
    return t;
}
