/* trigger.h - a grammar that begins somewhere within an answer.
 *
 * Before it anything may be written, control tokens too, and the answer may end there. As soon
 * as one of the triggers has been written, the grammar holds; when its text is complete
 * anything may follow again, until the next trigger. So a call of a tool is held to its schema
 * while what is said around it is free.
 *
 * It is one automaton with the grammar: a token that holds the end of a trigger and what
 * follows is allowed only where that begins as the grammar does. */
#ifndef ENGINE_GRAMMAR_TRIGGER_H
#define ENGINE_GRAMMAR_TRIGGER_H

#include "engine/grammar/grammar.h"
#include "engine/grammar/states.h"

enum { TRIGGER_MOST = 64, TRIGGER_MOST_BYTES = 4096 };

/* Let what `a` is so far, its rule 0, begin behind the n triggers, of which none is empty. Of
 * triggers that hold each other the one that ends first counts. The last thing that is done to
 * a. ERR_INVALID: too many, too long, or an empty one. */
err trigger_add(nfa *a, const char *const *triggers, size_t n);

/* Does a state wait for a trigger? */
bool trigger_is_awaited(const grammar *g, const states *s, uint32_t state);

#endif
