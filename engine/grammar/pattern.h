/* pattern.h - what a regular expression or a rule of GBNF says, as a tree, and as edges.
 *
 * A tree because a part that is repeated is laid out as often as it may occur. Its leaves are
 * characters, sets of them, calls of rules, and the two places at which a text begins and ends.
 * As edges it can be held to a number of characters, and be looked for anywhere in a text,
 * which is what `pattern` of a JSON schema means.
 *
 * Like nfa.h it keeps its first failure. */
#ifndef ENGINE_GRAMMAR_PATTERN_H
#define ENGINE_GRAMMAR_PATTERN_H

#include "engine/grammar/charset.h"
#include "engine/grammar/nfa.h"

typedef enum pattern_kind {
    PATTERN_CHAR,   /* a: code point */
    PATTERN_SET,    /* a: number of a set */
    PATTERN_CALL,   /* a: rule */
    PATTERN_BEGIN,  /* nothing was taken before */
    PATTERN_END,    /* nothing is taken behind */
    PATTERN_CHAIN,  /* its children, one behind the other; none: the empty text */
    PATTERN_CHOICE, /* one of its children */
    PATTERN_REPEAT  /* its child, a to b times; b PATTERN_UNBOUNDED */
} pattern_kind;

#define PATTERN_UNBOUNDED UINT32_MAX
enum { PATTERN_MAX_NODES = 1 << 17, PATTERN_MAX_SETS = 1 << 12 };

typedef struct pattern_node {
    pattern_kind kind;
    uint32_t a, b;
    uint32_t first, last, next; /* children, and the next one of the parent; or NFA_NONE */
} pattern_node;

typedef struct pattern {
    pattern_node *nodes;
    charset *sets; /* normalized */
    size_t n_nodes, room_nodes, n_sets, room_sets;
    err failure;
} pattern;

/* Zeroed, it is empty. */
void pattern_free(pattern *p);

/* A node's number; 0 after a failure. A set's contents are taken, also then. */
uint32_t pattern_add(pattern *p, pattern_kind kind, uint32_t a, uint32_t b);
uint32_t pattern_add_set(pattern *p, charset *s);
void pattern_append(pattern *p, uint32_t parent, uint32_t child);

/* What a text must be besides. */
typedef struct pattern_use {
    charset_form form;
    bool anywhere;     /* it is found somewhere in the text, which else it is as a whole */
    uint32_t min, max; /* characters of the text; 0 and PATTERN_UNBOUNDED: any number */
} pattern_use;

/* Edges `from` -> `to` for the texts of node `root`. Errors: NOMEM, TOOMANY. */
err pattern_emit(nfa *a, const pattern *p, uint32_t root, const pattern_use *use, uint32_t from,
                 uint32_t to);

#endif
