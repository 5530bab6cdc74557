/* nfa.h - a grammar while it is built: rules over bytes that call each other.
 *
 * A rule is a small automaton with one start and one end. Its edges take a byte of a range,
 * take nothing, or call a rule and go on where that ends. Schemas, regular expressions, GBNF
 * and lists of choices all become this, and nothing behind it knows which of them it was.
 *
 * Building cannot fail half way: what goes wrong (NOMEM, TOOMANY) is kept and told by
 * nfa_failure, and calls after it do nothing. So a compiler checks once. */
#ifndef ENGINE_GRAMMAR_NFA_H
#define ENGINE_GRAMMAR_NFA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"

/* What a grammar may have at most: some 20 MB while it is built. */
enum { NFA_MAX_NODES = 1 << 18, NFA_MAX_EDGES = 1 << 19, NFA_MAX_RULES = 1 << 16 };

typedef enum nfa_kind { NFA_BYTES, NFA_SKIP, NFA_CALL } nfa_kind;

typedef struct nfa_edge {
    uint32_t to;
    uint32_t next; /* of the same node, or NFA_NONE */
    uint32_t rule; /* CALL */
    uint8_t kind;
    uint8_t lo, hi; /* BYTES */
} nfa_edge;

#define NFA_NONE UINT32_MAX

typedef struct nfa_rule {
    uint32_t start, end; /* nodes; no edge leaves the end */
} nfa_rule;

typedef struct nfa {
    uint32_t *first; /* [n_nodes] edge, or NFA_NONE; in the order they were added, reversed */
    nfa_edge *edges;
    nfa_rule *rules; /* number 0 is where a text begins */
    size_t n_nodes, n_edges, n_rules;
    size_t room_nodes, room_waits, room_edges, room_rules;
    uint8_t *waits; /* [n_nodes] 1: control tokens may come here, spelled by their names */
    err failure;
} nfa;

/* With a rule 0 that has no edges yet. ERR_NOMEM. */
err nfa_new(nfa **out);
void nfa_free(nfa *a);

/* What went wrong until now. */
err nfa_failure(const nfa *a);

/* A new rule's number, its nodes, and another node. 0 after a failure. */
uint32_t nfa_add_rule(nfa *a);
uint32_t nfa_start(const nfa *a, uint32_t rule);
uint32_t nfa_end(const nfa *a, uint32_t rule);
uint32_t nfa_add_node(nfa *a);

/* An edge `from` -> `to`: for one byte of lo .. hi, for nothing, or for what the rule is. */
void nfa_add_bytes(nfa *a, uint32_t from, uint8_t lo, uint8_t hi, uint32_t to);
void nfa_add_skip(nfa *a, uint32_t from, uint32_t to);
void nfa_add_call(nfa *a, uint32_t from, uint32_t rule, uint32_t to);

/* A path `from` -> `to` that spells n bytes. */
void nfa_add_text(nfa *a, uint32_t from, const char *text, size_t n, uint32_t to);

/* The same of a mark: a control token that is called like a part of it may stand for that. */
void nfa_add_mark(nfa *a, uint32_t from, const char *text, uint32_t to);

#endif
