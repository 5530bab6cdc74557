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

enum { TRIGGER_MOST = 1024, TRIGGER_MOST_BYTES = 1 << 16 };

/* A text, and what follows it. */
typedef struct trigger_rule {
    const char *text; /* not empty */
    uint32_t rule;
} trigger_rule;

/* Free text from one node to another, in which triggers are followed by their rules. */
typedef struct trigger_use {
    uint32_t from, to;
    const trigger_rule *at; /* [n] anywhere; of those that hold each other the first to end */
    size_t n;
    const trigger_rule *leading; /* [n_leading] where nothing but blanks came before */
    size_t n_leading;
    const char *behind; /* text that stands before it, or NULL: a trigger may begin there */
    bool again;         /* behind a rule all of this may come once more */
    bool leads_once;    /* but not behind one that leads: `to` follows it */
    bool must;          /* text alone does not lead to `to` */
} trigger_use;

/* ERR_INVALID: too many, too long, or an empty one; NOMEM, TOOMANY. */
err trigger_add_text(nfa *a, const trigger_use *use);

/* Rule 0 becomes a new one without edges; what it was gets the number that is returned. */
uint32_t trigger_push_down(nfa *a);

/* Let what `a` is so far, its rule 0, begin behind the n triggers, again and again. The last
 * thing that is done to a. Errors: those of trigger_add_text. */
err trigger_add(nfa *a, const char *const *triggers, size_t n);

/* Does a state wait for a trigger? */
bool trigger_is_awaited(const grammar *g, const states *s, uint32_t state);

#endif
