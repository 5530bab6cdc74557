/* json_rules.h - JSON as rules: what schemas are put together from, and any object at all.
 *
 * Between tokens of JSON there may be nothing, one space, or one or two ends of lines with an
 * indentation of up to 20 blanks, as llama.cpp has it: enough for every usual layout, and no
 * place for a model to write blanks for ever. For the same reason numbers have at most 16
 * digits before the point, 16 behind it, and an exponent of two. */
#ifndef ENGINE_GRAMMAR_JSON_RULES_H
#define ENGINE_GRAMMAR_JSON_RULES_H

#include "engine/grammar/nfa.h"

enum { JSON_RULES_DIGITS = 16 };

/* Numbers of rules. */
typedef struct json_rules {
    uint32_t space, string, number, integer, value, object, array;
} json_rules;

/* Add them to a. */
json_rules json_rules_add(nfa *a);

/* Let `rule` be a list of `element` rules with commas between two marks, "[]" or "{}". */
void json_rules_add_list(nfa *a, const json_rules *j, const char *marks, uint32_t element,
                         uint32_t rule);

#endif
