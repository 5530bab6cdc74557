/* text.h - text that grows: what JSON, event streams and /metrics are written into.
 *
 * A failed allocation is remembered and makes text_take return NULL, so writers need no
 * check of their own. Start with `text_builder t = {0}`. */
#ifndef SERVER_TEXT_H
#define SERVER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct text_builder {
    char *at; /* [n], NUL-terminated once something was added; malloc'd */
    size_t n, cap;
    bool failed; /* out of memory: what follows is dropped */
} text_builder;

void text_add(text_builder *t, const char *bytes, size_t n);
void text_add_string(text_builder *t, const char *s);
void text_addf(text_builder *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The n bytes as a JSON string with its quotes. Only `"`, `\` and bytes below 0x20 are
 * escaped; what is not UTF-8 becomes U+FFFD. */
void text_add_json(text_builder *t, const char *bytes, size_t n);
void text_add_escaped(text_builder *t, const char *bytes, size_t n); /* without the quotes */
void text_add_json_string(text_builder *t, const char *s);           /* NULL: null */

/* A number as JSON: %.9g, which a float survives; -9999 stands for one that is not finite. */
void text_add_float(text_builder *t, float x);

/* The text, for the caller to free; *n (may be NULL) its bytes. NULL: out of memory. t is
 * empty afterwards. */
char *text_take(text_builder *t, size_t *n);
void text_free(text_builder *t);

#endif
