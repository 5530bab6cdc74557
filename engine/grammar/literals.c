/* literals.c - the tree is looked for in the edges themselves: each has one byte and is new. */
#include "engine/grammar/literals.h"

literals literals_begin(nfa *a, uint32_t from, uint32_t to)
{
    const literals l = {.root = nfa_add_node(a), .to = to};

    nfa_add_skip(a, from, l.root);
    return l;
}

static uint32_t find_child(const nfa *a, uint32_t node, uint8_t byte)
{
    for (uint32_t i = a->first[node]; i != NFA_NONE; i = a->edges[i].next)
        if (a->edges[i].kind == NFA_BYTES && a->edges[i].lo == byte) return a->edges[i].to;
    return NFA_NONE;
}

void literals_add(nfa *a, const literals *l, const char *text, size_t n)
{
    uint32_t at = l->root;

    for (size_t i = 0; i < n && nfa_failure(a) == ERR_OK; i++) {
        uint32_t child = find_child(a, at, (uint8_t)text[i]);

        if (child == NFA_NONE) {
            child = nfa_add_node(a);
            nfa_add_bytes(a, at, (uint8_t)text[i], (uint8_t)text[i], child);
        }
        at = child;
    }
    nfa_add_skip(a, at, l->to);
}
