/* jinja_text.h - a template's texts, which know of each byte who wrote it.
 *
 *   bytes  < | i m _ s t a r t | > u s e r \n H i   a buffer
 *   marks  1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1  0 0   1: the template wrote it
 *              |<---- a text ---->|                 a part of it
 *
 * A byte of a request keeps its mark through slices, joins and filters, so in what comes out
 * control tokens are looked for in the template's own bytes only. A buffer that is all of one
 * kind has no marks. Texts never change; one that ends where its buffer does is made longer in
 * place, so that adding to a text again and again costs what is added. */
#ifndef ENGINE_TEMPLATE_JINJA_TEXT_H
#define ENGINE_TEMPLATE_JINJA_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/template/jinja_arena.h"

typedef struct jinja_buffer {
    char *bytes;          /* [n] */
    unsigned char *marks; /* [n], or NULL: each is `trusted` */
    size_t n, cap;        /* cap 0: borrowed, never written */
    bool trusted;
} jinja_buffer;

typedef struct jinja_text {
    jinja_buffer *in; /* NULL: empty */
    size_t from, n;   /* bytes */
} jinja_text;

/* Text of bytes that outlive it. ERR_NOMEM, as of everything here that takes an arena. */
err jinja_text_borrow(jinja_arena *a, const char *bytes, size_t n, bool trusted,
                      jinja_text *out);

static inline const char *jinja_text_at(jinja_text t)
{
    return t.n ? t.in->bytes + t.from : "";
}

static inline jinja_text jinja_text_cut(jinja_text t, size_t from, size_t n)
{
    return (jinja_text){t.in, t.from + from, n};
}

bool jinja_text_trusted(jinja_text t, size_t i);
bool jinja_text_same(jinja_text a, jinja_text b);
bool jinja_text_is(jinja_text t, const char *s);
int jinja_text_compare(jinja_text a, jinja_text b); /* by code points, as Python does */

/* Where b begins in a, at `from` or later; SIZE_MAX: nowhere. */
size_t jinja_text_find(jinja_text a, jinja_text b, size_t from);

/* a and then b. */
err jinja_text_concat(jinja_arena *a, jinja_text x, jinja_text y, jinja_text *out);

/* More at the end of a buffer. */
err jinja_buffer_add(jinja_arena *a, jinja_buffer *to, const char *bytes, size_t n,
                     bool trusted);
err jinja_buffer_add_text(jinja_arena *a, jinja_buffer *to, jinja_text t);

static inline jinja_text jinja_buffer_text(jinja_buffer *b)
{
    return (jinja_text){b, 0, b->n};
}

/* --- characters: code points, as Python counts; a byte that is none is one by itself --- */

/* The first character of n >= 1 bytes, and its length. */
uint32_t jinja_char(const char *at, size_t n, size_t *length);
size_t jinja_chars(jinja_text t);                 /* how many */
size_t jinja_char_offset(jinja_text t, size_t i); /* byte of character i, at most t.n */
size_t jinja_char_write(uint32_t c, char out[4]); /* its bytes */
bool jinja_char_is_space(uint32_t c);             /* to Python's str.strip */

/* Without white space, or the characters of `drop` if it is not NULL, at its ends. */
jinja_text jinja_text_strip(jinja_text t, const jinja_text *drop, bool left, bool right);

#endif
