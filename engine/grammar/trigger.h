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

enum { TRIGGER_MOST = 256, TRIGGER_MOST_BYTES = 16384 };

/* A text, and what follows it. */
typedef struct trigger {
    const char *text; /* not empty */
    uint32_t rule;
} trigger;

typedef struct trigger_use {
    uint32_t from, to; /* nodes */
    bool again;        /* behind a rule there may be more text, and the next trigger */
    bool must;         /* text alone does not lead to `to` */
    bool leads;        /* triggers count where the text begins only, and one of them */
} trigger_use;

/* A path `from` -> `to` of free text in which triggers are followed by their rules. Of triggers
 * that hold each other the one that ends first counts. ERR_INVALID: too many, too long, or an
 * empty one; NOMEM, TOOMANY. */
err trigger_add_text(nfa *a, const trigger *list, size_t n, const trigger_use *use);

/* Rule 0 becomes a new one without edges; what it was gets the number that is returned. */
uint32_t trigger_push_down(nfa *a);

/* Let what `a` is so far, its rule 0, begin behind the n triggers, again and again. The last
 * thing that is done to a. Errors: those of trigger_add_text. */
err trigger_add(nfa *a, const char *const *triggers, size_t n);

/* Does a state wait for a trigger? */
bool trigger_is_awaited(const grammar *g, const states *s, uint32_t state);

#endif
