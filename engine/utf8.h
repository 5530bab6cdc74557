/* utf8.h - which bytes are characters: no overlong forms, no surrogates, nothing above
 * U+10FFFF. */
#ifndef ENGINE_UTF8_H
#define ENGINE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

typedef enum utf8_kind {
    UTF8_WHOLE, /* a character of *length bytes */
    UTF8_HALF,  /* the n bytes are the beginning of one */
    UTF8_BAD    /* none: the first *length bytes are to be replaced together */
} utf8_kind;

/* What the n >= 1 bytes at text begin with. *length is 1 .. 4. */
utf8_kind utf8_step(const char *text, size_t n, size_t *length);

/* Bytes of text, from its start, that are valid. */
size_t utf8_prefix(const char *text, size_t n);

/* Is all of it valid UTF-8? */
bool utf8_valid(const char *text, size_t n);

#endif
