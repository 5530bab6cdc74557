/* regex.h - regular expressions, as ECMAScript reads them with the flag u.
 *
 * Characters, . [sets] (groups) | * + ? {m,n}, lazy forms (which match the same texts), ^ $,
 * \d \w \s and their opposites, \t \n \r \f \v \0 \cX \xHH \uHHHH \u{H}, names of groups; from
 * Python (?P<name>, \A, \Z and \UHHHHHHHH. What is not regular, or depends on a locale, is
 * refused by its name and place: references back, looking around, \b, flags, \p. */
#ifndef ENGINE_GRAMMAR_REGEX_H
#define ENGINE_GRAMMAR_REGEX_H

#include "engine/grammar/pattern.h"

enum { REGEX_MAX_BYTES = 1 << 16, REGEX_MAX_NESTING = 100 };

/* Edges `from` -> `to` of a for the texts that the n bytes at `text`, valid UTF-8, describe.
 * Errors: NOMEM, TOOMANY; INVALID with the reason and its place in `why`. */
err regex_add(nfa *a, const char *text, size_t n, const pattern_use *use, uint32_t from,
              uint32_t to, fault *why);

#endif
