/* program.h - a grammar ready to be run over a vocabulary: its states, and a mask for each.
 *
 * Many answers share it; each has a matcher (matcher.h), which is where it stands. It is
 * counted, and may be held and dropped by any thread; it is run by one, the one that samples.
 */
#ifndef ENGINE_GRAMMAR_PROGRAM_H
#define ENGINE_GRAMMAR_PROGRAM_H

#include <stdatomic.h>

#include "engine/grammar/grammar.h"
#include "engine/grammar/states.h"
#include "engine/grammar/token_tree.h"

typedef struct program {
    grammar *grammar;
    const token_tree *tree; /* outlives it */
    states *states;
    uint32_t *at; /* [longest + 1] of the walk that goes on (walk.c) */
    atomic_size_t holders;
} program;

/* Takes g, also after a failure. Held once, by the caller. ERR_NOMEM. */
err program_new(program **out, grammar *g, const token_tree *v);

/* Held once more; NULL is none. Dropped, and freed with the last hold. */
program *program_hold(program *p);
void program_free(program *p);

/* Tokens that are enough for the shortest text. */
size_t program_shortest(const program *p);

/* Bytes that it may come to take; most are never touched. */
size_t program_bytes(const program *p);

#endif
