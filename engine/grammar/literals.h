/* literals.h - one of many texts. */
#ifndef ENGINE_GRAMMAR_LITERALS_H
#define ENGINE_GRAMMAR_LITERALS_H

#include "engine/grammar/nfa.h"

/* A tree of texts that begin at one node: those that begin alike share nodes, so that few are
 * open at a time however many there are. */
typedef struct literals {
    uint32_t root, to;
} literals;

/* Texts from `from` to `to`. */
literals literals_begin(nfa *a, uint32_t from, uint32_t to);
void literals_add(nfa *a, const literals *l, const char *text, size_t n);

#endif
