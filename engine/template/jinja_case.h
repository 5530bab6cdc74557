/* jinja_case.h - upper and lower case of texts; marks stay with their characters. */
#ifndef ENGINE_TEMPLATE_JINJA_CASE_H
#define ENGINE_TEMPLATE_JINJA_CASE_H

#include "engine/err.h"
#include "engine/template/jinja_text.h"

typedef enum jinja_case_kind {
    JINJA_UPPER,
    JINJA_LOWER,
    JINJA_CAPITALIZE, /* the first character upper, the others lower */
    JINJA_TITLE,      /* the first letter behind what is no letter */
    JINJA_WORDS,      /* the filter title: behind white space and - ( { [ < */
    JINJA_SWAP
} jinja_case_kind;

err jinja_case(jinja_arena *a, jinja_text t, jinja_case_kind kind, jinja_text *out);

/* Letters, and digits: of ASCII, or by Unicode's tables. */
bool jinja_case_is_letter(uint32_t c);
bool jinja_case_is_digit(uint32_t c);

#endif
