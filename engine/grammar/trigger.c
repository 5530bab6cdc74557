/* trigger.c - free text, until one of some strings ends in it.
 *
 * The automaton of Aho and Corasick ("Efficient string matching", 1975): a node for each
 * beginning of a trigger, which is the longest that the text so far ends in. All of them take
 * any byte. The byte that completes a trigger leads into the grammar, and its end back to node
 * 0:
 *
 *        .--any byte--.            .-- the answer may end at each node
 *        v            |            |
 *   --> nodes --------+------------'
 *        ^    the last byte of a trigger --> call of the grammar --.
 *        '----------------------------------------------------------'
 */
#include "engine/grammar/trigger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef struct tree {
    uint32_t (*next)[256]; /* [n] */
    uint32_t *shorter;     /* [n] the node of the longest proper ending */
    uint32_t *queue;       /* [n] */
    bool *ends;            /* [n] a trigger ends here */
    size_t n;
} tree;

static void close_tree(tree *t)
{
    free(t->next);
    free(t->shorter);
    free(t->queue);
    free(t->ends);
}

static err open_tree(tree *t, size_t most)
{
    *t = (tree){.n = 1};
    t->next = calloc(most, sizeof *t->next);
    t->shorter = calloc(most, sizeof *t->shorter);
    t->queue = calloc(most, sizeof *t->queue);
    t->ends = calloc(most, sizeof *t->ends);
    return t->next && t->shorter && t->queue && t->ends ? ERR_OK : ERR_NOMEM;
}

static void add_trigger(tree *t, const char *text)
{
    uint32_t at = 0;

    for (; *text; text++) {
        uint32_t *next = &t->next[at][(uint8_t)*text];

        if (!*next) *next = (uint32_t)t->n++;
        at = *next;
    }
    t->ends[at] = true;
}

/* In the order of length: what a node lacks, its longest ending has. */
static void complete_tree(tree *t)
{
    size_t n = 0;

    for (int b = 0; b < 256; b++)
        if (t->next[0][b]) t->queue[n++] = t->next[0][b];
    for (size_t i = 0; i < n; i++) {
        const uint32_t at = t->queue[i], shorter = t->shorter[at];

        t->ends[at] |= t->ends[shorter];
        for (int b = 0; b < 256; b++) {
            const uint32_t child = t->next[at][b];

            if (child) t->shorter[child] = t->next[shorter][b];
            if (child)
                t->queue[n++] = child;
            else
                t->next[at][b] = t->next[shorter][b];
        }
    }
}

/* Edges of one node, neighbours that lead to one place as one. */
static void add_edges(nfa *a, const tree *t, uint32_t first, uint32_t node, uint32_t called)
{
    for (int lo = 0, hi; lo < 256; lo = hi + 1) {
        const uint32_t to = t->next[node][lo];

        for (hi = lo; hi < 255 && t->next[node][hi + 1] == to;) hi++;
        nfa_add_bytes(a, first + node, (uint8_t)lo, (uint8_t)hi,
                      t->ends[to] ? called : first + to);
    }
}

/* Rule 0 becomes the free text; what it was gets a number of its own, also where it is called.
 */
static void add_nodes(nfa *a, const tree *t)
{
    const uint32_t rule = nfa_add_rule(a), called = nfa_add_node(a);
    const uint32_t first = (uint32_t)a->n_nodes;
    nfa_rule free_text;

    for (size_t i = 0; i < t->n; i++) nfa_add_node(a);
    if (nfa_failure(a) != ERR_OK) return;
    for (size_t i = 0; i < a->n_edges; i++)
        if (a->edges[i].kind == NFA_CALL && a->edges[i].rule == 0) a->edges[i].rule = rule;
    free_text = a->rules[rule];
    a->rules[rule] = a->rules[0];
    a->rules[0] = free_text;
    nfa_add_skip(a, free_text.start, first);
    nfa_add_call(a, called, rule, first);
    for (uint32_t i = 0; i < t->n; i++) {
        add_edges(a, t, first, i, called);
        nfa_add_skip(a, first + i, free_text.end);
    }
    a->wait_from = first;
    a->wait_to = first + (uint32_t)t->n;
}

err trigger_add(nfa *a, const char *const *triggers, size_t n)
{
    size_t bytes = 0;
    tree t;
    err e;

    if (!n || n > TRIGGER_MOST) return ERR_INVALID;
    for (size_t i = 0; i < n; i++) {
        if (!*triggers[i] || strlen(triggers[i]) > TRIGGER_MOST_BYTES) return ERR_INVALID;
        bytes += strlen(triggers[i]);
    }
    if (bytes > TRIGGER_MOST_BYTES) return ERR_INVALID;
    e = open_tree(&t, bytes + 1);
    if (e == ERR_OK) {
        for (size_t i = 0; i < n; i++) add_trigger(&t, triggers[i]);
        complete_tree(&t);
        add_nodes(a, &t);
        e = nfa_failure(a);
    }
    close_tree(&t);
    return e;
}

bool trigger_is_awaited(const grammar *g, const states *s, uint32_t state)
{
    return g->nfa->wait_from < g->nfa->wait_to &&
           states_is_at(s, state, g->nfa->wait_from, g->nfa->wait_to);
}
