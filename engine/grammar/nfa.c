/* nfa.c - nodes, edges and rules, in arrays that grow while a grammar is built. */
#include "engine/grammar/nfa.h"

#include <assert.h>
#include <stdlib.h>

/* One more of *at is wanted: room for it, or a failure. Doubling, up to the bound. */
static bool grow(nfa *a, void **at, size_t n, size_t *room, size_t bytes, size_t most)
{
    size_t more = *room ? 2 * *room : 64;
    void *bigger;

    if (a->failure != ERR_OK) return false;
    if (n < *room) return true;
    if (n >= most) {
        a->failure = ERR_TOOMANY;
        return false;
    }
    if (more > most) more = most;
    bigger = realloc(*at, more * bytes);
    if (!bigger) {
        a->failure = ERR_NOMEM;
        return false;
    }
    *at = bigger;
    *room = more;
    return true;
}

err nfa_new(nfa **out)
{
    nfa *a = calloc(1, sizeof *a);
    err e;

    if (!a) return ERR_NOMEM;
    nfa_add_rule(a);
    e = a->failure;
    if (e == ERR_OK)
        *out = a;
    else
        nfa_free(a);
    return e;
}

void nfa_free(nfa *a)
{
    if (!a) return;
    free(a->first);
    free(a->waits);
    free(a->edges);
    free(a->rules);
    free(a);
}

err nfa_failure(const nfa *a)
{
    return a->failure;
}

uint32_t nfa_add_node(nfa *a)
{
    void *at = a->first, *flags = a->waits;
    bool good = grow(a, &at, a->n_nodes, &a->room_nodes, sizeof *a->first, NFA_MAX_NODES);

    a->first = at;
    good = good && grow(a, &flags, a->n_nodes, &a->room_waits, 1, NFA_MAX_NODES);
    a->waits = flags;
    if (!good) return 0;
    a->first[a->n_nodes] = NFA_NONE;
    a->waits[a->n_nodes] = 0;
    return (uint32_t)a->n_nodes++;
}

uint32_t nfa_add_rule(nfa *a)
{
    const uint32_t start = nfa_add_node(a), end = nfa_add_node(a);
    void *at = a->rules;
    const bool good = grow(a, &at, a->n_rules, &a->room_rules, sizeof *a->rules, NFA_MAX_RULES);

    a->rules = at;
    if (!good) return 0;
    a->rules[a->n_rules] = (nfa_rule){start, end};
    return (uint32_t)a->n_rules++;
}

/* After a failure numbers are 0, which may be no rule at all. */
uint32_t nfa_start(const nfa *a, uint32_t rule)
{
    return rule < a->n_rules ? a->rules[rule].start : 0;
}

uint32_t nfa_end(const nfa *a, uint32_t rule)
{
    return rule < a->n_rules ? a->rules[rule].end : 0;
}

static void add_edge(nfa *a, uint32_t from, nfa_edge edge)
{
    void *at = a->edges;
    const bool good = grow(a, &at, a->n_edges, &a->room_edges, sizeof *a->edges, NFA_MAX_EDGES);

    a->edges = at;
    if (!good) return;
    assert(from < a->n_nodes && edge.to < a->n_nodes);
    edge.next = a->first[from];
    a->edges[a->n_edges] = edge;
    a->first[from] = (uint32_t)a->n_edges++;
}

void nfa_add_bytes(nfa *a, uint32_t from, uint8_t lo, uint8_t hi, uint32_t to)
{
    add_edge(a, from, (nfa_edge){.to = to, .kind = NFA_BYTES, .lo = lo, .hi = hi});
}

void nfa_add_skip(nfa *a, uint32_t from, uint32_t to)
{
    add_edge(a, from, (nfa_edge){.to = to, .kind = NFA_SKIP});
}

void nfa_add_call(nfa *a, uint32_t from, uint32_t rule, uint32_t to)
{
    add_edge(a, from, (nfa_edge){.to = to, .kind = NFA_CALL, .rule = rule});
}

void nfa_add_text(nfa *a, uint32_t from, const char *text, size_t n, uint32_t to)
{
    if (!n) nfa_add_skip(a, from, to);
    for (size_t i = 0; i < n; i++) {
        const uint32_t next = i + 1 < n ? nfa_add_node(a) : to;

        nfa_add_bytes(a, from, (uint8_t)text[i], (uint8_t)text[i], next);
        from = next;
    }
}

/* A node of its own for each byte: only those of the mark are waited at. */
void nfa_add_mark(nfa *a, uint32_t from, const char *text, uint32_t to)
{
    uint32_t at = nfa_add_node(a);

    nfa_add_skip(a, from, at);
    for (; *text && nfa_failure(a) == ERR_OK; text++) {
        const uint32_t next = nfa_add_node(a);

        if (nfa_failure(a) != ERR_OK) return;
        a->waits[at] = 1;
        nfa_add_bytes(a, at, (uint8_t)*text, (uint8_t)*text, next);
        at = next;
    }
    nfa_add_skip(a, at, to);
}
