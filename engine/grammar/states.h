/* states.h - runs a grammar: from state to state by bytes, each state made when it is first
 * met.
 *
 * A state is the set of configurations (grammar.h) that the bytes so far may have led to. Sets
 * that are equal are one state, and where a byte leads from a state is worked out once; then a
 * step is a look-up. A mask, a bit for each token, can be kept with a state.
 *
 *   frames   (node to go on from, frame below), equal ones once: a stack is its top frame
 *   items    (node with byte edges, stack), the sets one after the other
 *   states   first item, count, cost; a row of next states, one for each class of bytes
 *
 * All of it has a fixed room, which is taken when it is opened. When it is full, what the roots
 * (the states of running answers) need is copied into a second room of the same size and the
 * rest is forgotten: numbers of states change, what they mean does not. One thread. */
#ifndef ENGINE_GRAMMAR_STATES_H
#define ENGINE_GRAMMAR_STATES_H

#include <stdbool.h>

#include "engine/grammar/grammar.h"

typedef struct states states;

/* A state that is kept when others are forgotten. Zeroed, it is in no list. */
typedef struct states_root {
    struct states_root *next, **link;
    uint32_t state;
} states_root;

enum { STATES_DEAD = 0 }; /* no text begins so */
#define STATES_UNKNOWN UINT32_MAX

/* For g, which must outlive it, with room for masks of so many 64-bit words each. ERR_NOMEM. */
err states_open(states **out, const grammar *g, size_t mask_words);
void states_close(states *s);

/* Bytes that it may come to take. */
size_t states_bytes(const states *s);

/* Keep a root, at the beginning of a text; let it go. False: no room is left, whatever is
 * forgotten. */
bool states_begin(states *s, states_root *r);
void states_drop(states *s, states_root *r);

/* The state behind a byte; STATES_UNKNOWN: there is no room, and states_forget is to be called.
 * Does not allocate. */
uint32_t states_step(states *s, uint32_t state, uint8_t byte);

/* For a walk's own loop: where a byte of a class leads from a state, [state][class], and the
 * states' costs and configurations, [state]. UNKNOWN: ask states_step. Valid until
 * states_forget. */
typedef struct states_view {
    const uint32_t *rows, *costs;
    const uint16_t *sizes;
    const uint8_t *byte_class;
    size_t n_classes;
} states_view;
states_view states_look(const states *s);

/* Forget all but the roots, whose states get new numbers. False: they alone fill the room. */
bool states_forget(states *s);

/* Tokens that are enough from here to an end; may the text end here; can it go on? */
uint32_t states_cost(const states *s, uint32_t state);
bool states_may_end(const states *s, uint32_t state);
bool states_goes_on(const states *s, uint32_t state);

/* Has it a configuration at a node with a flag, of flags [n_nodes]? */
bool states_is_at(const states *s, uint32_t state, const uint8_t *flags);

/* The mask that is kept with a state, or NULL; room for one to be kept with it, which may take
 * that of another. `worst`: a number that is kept with it. Valid until the next of these calls
 * that makes room. */
const uint64_t *states_mask(const states *s, uint32_t state, uint32_t *worst);
uint64_t *states_keep_mask(states *s, uint32_t state, uint32_t worst);

/* For tests: how often it has forgotten, and states that are known. */
size_t states_forgotten(const states *s);
size_t states_known(const states *s);

#endif
