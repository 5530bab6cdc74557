/* gbnf.h - llama.cpp's grammar language.
 *
 *   root  ::= greeting (" " name)+ [.!]?      # where a text begins
 *   name  ::= [A-Z] [a-z]{1,12} | "\u00c4" .*
 *
 * Sequences, | ( ) * + ? {m} {m,} {m,n}, "texts", [sets] and [^sets], the dot, comments,
 * escapes \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH. A rule ends with its line, but within
 * parentheses and behind '|' or '::='. Source: llama.cpp, grammars/README.md and
 * src/llama-grammar.cpp. */
#ifndef ENGINE_GRAMMAR_GBNF_H
#define ENGINE_GRAMMAR_GBNF_H

#include "engine/grammar/nfa.h"

enum { GBNF_MAX_BYTES = 1 << 18, GBNF_MAX_NESTING = 100, GBNF_MAX_NAMES = 1 << 14 };

/* Rule 0 of a, which has no edges yet, becomes `root` of the n bytes at text, valid UTF-8.
 * Errors: NOMEM, TOOMANY; INVALID with the reason and its place in `why`. */
err gbnf_add(nfa *a, const char *text, size_t n, fault *why);

#endif
