/* text.c - a growing buffer, JSON strings and numbers in it.
 *
 * One rule makes writers simple: a builder that failed stays failed and takes nothing more, so
 * a text is whole or is none. Bytes double, for a /metrics page or an answer has thousands of
 * small additions. */
#include "server/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

/* Room for n more bytes and a NUL, so that a text is a C string at any time. */
static bool make_room(text_builder *t, size_t n)
{
    size_t cap = t->cap ? t->cap : 256;
    char *at;

    /* Once failed, always failed: what came later would make a text with a hole. */
    if (t->failed) return false;
    if (t->cap - t->n > n) return true;
    while (cap - t->n <= n) cap *= 2;
    at = realloc(t->at, cap);
    if (!at) { /* what is there stays, for text_free */
        t->failed = true;
        return false;
    }
    t->at = at;
    t->cap = cap;
    return true;
}

void text_add(text_builder *t, const char *bytes, size_t n)
{
    if (!make_room(t, n)) return;
    if (n) memcpy(t->at + t->n, bytes, n);
    t->n += n;
    t->at[t->n] = '\0';
}

void text_add_string(text_builder *t, const char *s)
{
    text_add(t, s, strlen(s));
}

void text_addf(text_builder *t, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format); /* twice: a list that was used is spent */
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !make_room(t, (size_t)n)) return;
    va_start(args, format);
    vsnprintf(t->at + t->n, (size_t)n + 1, format, args);
    va_end(args);
    t->n += (size_t)n;
}

/* The short forms that are read most; what else is below a space goes as \u00xx. */
static const char *escape_of(char c)
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

/* The byte at bytes[i] as JSON wants it, or NULL if it goes as it is. *length: the bytes
 * that this is about. Half a character and bytes that are none become U+FFFD. */
static const char *escape_at(const char *bytes, size_t n, char code[8], size_t *length)
{
    const unsigned char c = (unsigned char)*bytes;

    *length = 1;
    if (c >= 0x80) return utf8_step(bytes, n, length) == UTF8_WHOLE ? NULL : "\xef\xbf\xbd";
    if (escape_of(*bytes)) return escape_of(*bytes);
    if (c >= 0x20) return NULL;
    snprintf(code, 8, "\\u%04x", c);
    return code;
}

/* A model's answer may end in half a character, and JSON must be UTF-8 all the same. */
void text_add_escaped(text_builder *t, const char *bytes, size_t n)
{
    size_t from = 0, length; /* what is copied as it is goes in runs */

    for (size_t i = 0; i < n; i += length) {
        char code[8];
        const char *escape = escape_at(bytes + i, n - i, code, &length);

        if (length > n - i) length = n - i; /* half a character at the end */
        if (!escape) continue;
        text_add(t, bytes + from, i - from);
        text_add_string(t, escape);
        from = i + length;
    }
    /* What is left behind the last escape. */
    text_add(t, bytes + from, n - from);
}

void text_add_json(text_builder *t, const char *bytes, size_t n)
{
    text_add(t, "\"", 1);
    text_add_escaped(t, bytes, n);
    text_add(t, "\"", 1);
}

void text_add_json_string(text_builder *t, const char *s)
{
    if (s)
        text_add_json(t, s, strlen(s));
    else
        text_add_string(t, "null");
}

void text_add_float(text_builder *t, float x)
{
    if (!isfinite(x)) /* JSON has no word for it; clients know this number from OpenAI */
        text_add_string(t, "-9999.0");
    else
        text_addf(t, "%.9g", (double)x); /* nine digits bring every float back */
}

/* The one place where a writer learns that memory ran out. */
char *text_take(text_builder *t, size_t *n)
{
    char *at;

    text_add(t, "", 0); /* an empty text is a text, too */
    if (t->failed) {
        text_free(t);
        return NULL;
    }
    at = t->at;
    if (n) *n = t->n;
    *t = (text_builder){0};
    return at;
}

void text_free(text_builder *t)
{
    free(t->at);
    *t = (text_builder){0};
}
