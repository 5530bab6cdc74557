/* charset.h - sets of Unicode characters, and the bytes they are written as.
 *
 * A set is a list of ranges of code points. As an edge of a grammar it is those characters in
 * UTF-8, plain or as they stand inside a JSON string: there each character has one spelling
 * (what JSON.stringify writes), so that a set of strings is a set of texts; or any that JSON
 * allows. */
#ifndef ENGINE_GRAMMAR_CHARSET_H
#define ENGINE_GRAMMAR_CHARSET_H

#include "engine/grammar/nfa.h"

typedef struct charset_range {
    uint32_t lo, hi;
} charset_range;

/* Zeroed, it is empty. */
typedef struct charset {
    charset_range *at; /* malloc'd */
    size_t n, room;
} charset;

typedef enum charset_form {
    CHARSET_PLAIN,    /* UTF-8 */
    CHARSET_JSON,     /* in a JSON string, spelled in one way */
    CHARSET_JSON_FREE /* in a JSON string, spelled in any way */
} charset_form;

enum { CHARSET_LAST = 0x10ffff };

void charset_free(charset *s);

/* Add lo .. hi; a range of surrogates is no character and left out later. ERR_NOMEM. */
err charset_add(charset *s, uint32_t lo, uint32_t hi);
err charset_add_all(charset *s, const charset *other);

/* Sort and join ranges; then, make it the set of all others. ERR_NOMEM. */
void charset_normalize(charset *s);
err charset_negate(charset *s);

/* A normalized set's characters of more than one byte, as a rule of their own, which many edges
 * may call. NFA_NONE: it has none. */
uint32_t charset_add_rule(nfa *a, const charset *s, charset_form form);

/* An edge for one character of a normalized set, whose rule is given. */
void charset_add_edge(nfa *a, const charset *s, charset_form form, uint32_t rule, uint32_t from,
                      uint32_t to);

/* The bytes of a character, plain or in its one JSON spelling; how many, at most 6. */
enum { CHARSET_SPELLED = 8 };
size_t charset_spell(uint32_t code, charset_form form, char out[CHARSET_SPELLED]);

/* The character that n > 0 bytes of valid UTF-8 begin with; *length is its bytes. */
uint32_t charset_decode(const char *text, size_t n, size_t *length);

#endif
