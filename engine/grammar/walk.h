/* walk.h - a pass over the tree of tokens with an automaton, in pieces.
 *
 * Most walks take some hundred microseconds. But a grammar may be in hundreds of configurations
 * at once and meet a new state at every byte: its walk takes seconds, and who steps others
 * meanwhile takes it in pieces. Where it is cut changes nothing in what it finds. */
#ifndef ENGINE_GRAMMAR_WALK_H
#define ENGINE_GRAMMAR_WALK_H

#include "engine/grammar/program.h"

typedef enum walk_part {
    WALK_SINGLES, /* tokens of one byte */
    WALK_TREE,
    WALK_CONTROLS,
    WALK_OVER
} walk_part;

typedef struct walk {
    program *program; /* held by who holds the walk */
    walk_part part;
    size_t next;    /* node, or control token, where the part goes on */
    size_t left;    /* tokens that may follow the one that is chosen */
    uint64_t *mask; /* [words] what it has found */
    uint8_t *bytes; /* [longest] from the top to `next` */
    uint64_t work;  /* configurations gone through in the tree */
    uint32_t worst; /* the highest cost of what is allowed */
    uint32_t asked; /* steps that were no look-ups */
    bool padded;    /* a space that a first token begins with is not shown */
    bool failed;    /* the states have no room, whatever is forgotten */
    bool late;      /* `until_ns` has come */
} walk;

/* Of p, which outlives it. The caller closes, in either case. ERR_NOMEM. */
err walk_open(walk *w, program *p);
void walk_close(walk *w);

/* Begin anew, for answers of which so many tokens are left behind the next one. */
void walk_begin(walk *w, size_t left, bool padded);

/* Go on from the state of an answer until it is over, or until a moment of clock_ns, at least
 * by a few steps. False: it is not over. Does not allocate. The state must be the one it began
 * with, whatever its number is by now. */
bool walk_go_on(walk *w, const states_root *root, uint64_t until_ns);

/* Is a byte of a first token, at this depth, not shown? */
static inline bool walk_is_hidden(bool padded, size_t depth, uint8_t byte)
{
    return padded && depth == 1 && byte == ' ';
}

#endif
