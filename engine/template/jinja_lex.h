/* jinja_lex.h - a template's text as tokens, white space control applied.
 *
 *   Hi {%- if x +%}\n  {{ "a" }}   DATA "Hi" BEGIN_BLOCK NAME if NAME x END_BLOCK DATA "\n  "
 *                                  BEGIN_VALUE STRING a END_VALUE
 *
 * As transformers sets Jinja up: trim_blocks (the newline behind a block goes) and
 * lstrip_blocks (white space before one goes, if nothing else is on the line). The newline at
 * the template's end goes, too. Source: jinja2/lexer.py. */
#ifndef ENGINE_TEMPLATE_JINJA_LEX_H
#define ENGINE_TEMPLATE_JINJA_LEX_H

#include <stddef.h>

#include "engine/err.h"
#include "engine/template/jinja_arena.h"
#include "engine/template/jinja_fault.h"

typedef enum jinja_token_kind {
    JINJA_END, /* of the template */
    JINJA_DATA,
    JINJA_BEGIN_VALUE,
    JINJA_END_VALUE,
    JINJA_BEGIN_BLOCK,
    JINJA_END_BLOCK,
    JINJA_NAME,
    JINJA_STRING, /* text: its value, escapes resolved */
    JINJA_NUMBER, /* a whole one, as it is written */
    JINJA_REAL,
    JINJA_OPERATOR
} jinja_token_kind;

typedef struct jinja_token {
    jinja_token_kind kind;
    int line;
    const char *at; /* [n] in the arena */
    size_t n;
} jinja_token;

/* All tokens of the n bytes at source; the last is JINJA_END. Errors: NOMEM; TEMPLATE, why says
 * what. */
err jinja_lex(jinja_arena *a, const char *source, size_t n, jinja_token **out,
              jinja_fault *why);

#endif
