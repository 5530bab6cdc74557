/* grammar.h - a compiled grammar: one automaton over bytes with a stack, made ready to be run.
 *
 * A configuration is a node and a stack of frames; a frame is a node to go on from. An
 * automaton may be in several at once (states.h). What makes that safe is worked out here,
 * once:
 *
 *   cost[n]   the fewest bytes from node n to the end of its rule, NEVER if there are none, in
 *             bytes that are tokens by themselves: so many tokens are enough for any model
 *   depth[n]  the frames that this shortest way takes
 *
 * A configuration whose shortest way does not exist, or is deeper than GRAMMAR_MAX_DEPTH, is
 * never entered. So from every configuration there is a way to the end, a byte at a time, and
 * no answer is ever led where it cannot be closed. */
#ifndef ENGINE_GRAMMAR_GRAMMAR_H
#define ENGINE_GRAMMAR_GRAMMAR_H

#include "engine/grammar/nfa.h"

enum { GRAMMAR_MAX_DEPTH = 200 };
#define GRAMMAR_NEVER (UINT32_MAX / 2)

typedef struct grammar {
    nfa *nfa;
    uint32_t *cost;  /* [n_nodes] */
    uint16_t *depth; /* [n_nodes] */
    uint8_t *ends;   /* [n_nodes] 1: the end of a rule; 2: nothing but skips lead there */
    uint8_t byte_class[256]; /* bytes that no edge tells apart */
    uint8_t first_of[256];   /* [n_classes] a byte of the class */
    size_t n_classes;
} grammar;

/* Finish what was built; takes `a`, also after a failure. `available`: bytes that are tokens by
 * themselves, [256].
 *
 * Errors: NOMEM, TOOMANY (nfa.h); INVALID where a rule calls itself before any byte, or no text
 * ever ends: `why` says which. The caller frees. Linear in the grammar, times a logarithm. */
err grammar_new(grammar **out, nfa *a, const bool *available, fault *why);
void grammar_free(grammar *g);

/* Tokens that are enough for the shortest text. */
size_t grammar_shortest(const grammar *g);

#endif
