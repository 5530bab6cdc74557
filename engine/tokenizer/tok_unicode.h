/* tok_unicode.h - what Unicode says of characters and texts. Internal to the tokenizer.
 *
 * utf8proc has the tables; here is what vocabularies ask of them: normal forms, small
 * letters, and a few classes. Text is valid UTF-8. */
#ifndef ENGINE_TOKENIZER_TOK_UNICODE_H
#define ENGINE_TOKENIZER_TOK_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"

/* Bytes that grow; a failed allocation is remembered. Zeroed, it is empty. */
typedef struct tok_text {
    char *at; /* [n] of [room] */
    size_t n, room;
    bool failed;
} tok_text;

void tok_text_add(tok_text *t, const char *bytes, size_t n);
void tok_text_add_char(tok_text *t, int32_t c);
void tok_text_free(tok_text *t);

typedef enum tok_form { TOK_NFC, TOK_NFD, TOK_NFKC, TOK_NFKD } tok_form;

/* Bytes that a byte becomes at most, in the forms as they are numbered, rounded up. */
enum { TOK_FORM_GROWTH = 3, TOK_FORM_GROWTH_COMPAT = 11 };

/* Add the normal form of n bytes. What is in it already is copied. Errors: NOMEM. */
err tok_unicode_form(tok_form form, const char *text, size_t n, tok_text *out);

/* The character that the n >= 1 bytes begin with; *length of its bytes. */
int32_t tok_unicode_char(const char *text, size_t n, size_t *length);

/* Add the small letter of c, or c: one character, for all but U+0130. */
void tok_unicode_add_lower(tok_text *out, int32_t c);

bool tok_unicode_is_mark(int32_t c);        /* Mn: an accent */
bool tok_unicode_is_combining(int32_t c);   /* M*: whatever joins what stands before it */
bool tok_unicode_is_space(int32_t c);       /* White_Space */
bool tok_unicode_is_punctuation(int32_t c); /* P*, or ASCII that is no letter or digit */
bool tok_unicode_is_control(int32_t c);     /* Cc, Cf, Co, but for tab and line ends */
bool tok_unicode_is_ideograph(int32_t c);   /* of Chinese, as BERT counts them */

#endif
