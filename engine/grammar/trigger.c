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
 *
 * A trigger that only leads is the same tree without the way back to its nodes: a byte that
 * goes on with none of them leads to text that is free for good. */
#include "engine/grammar/trigger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef struct tree {
    uint32_t (*next)[256]; /* [n] */
    uint32_t *shorter;     /* [n] the node of the longest proper ending */
    uint32_t *queue;       /* [n] */
    uint32_t *ends;        /* [n] 1 + the trigger that ends here; 0: none */
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

static void add_trigger(tree *t, const char *text, uint32_t number)
{
    uint32_t at = 0;

    for (; *text; text++) {
        uint32_t *next = &t->next[at][(uint8_t)*text];

        if (!*next) *next = (uint32_t)t->n++;
        at = *next;
    }
    if (!t->ends[at]) t->ends[at] = number + 1;
}

/* In the order of length: what a node lacks, its longest ending has. */
static void complete_tree(tree *t)
{
    size_t n = 0;

    for (int b = 0; b < 256; b++)
        if (t->next[0][b]) t->queue[n++] = t->next[0][b];
    for (size_t i = 0; i < n; i++) {
        const uint32_t at = t->queue[i], shorter = t->shorter[at];

        if (!t->ends[at]) t->ends[at] = t->ends[shorter];
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

/* Nodes of the grammar for those of the tree, and for the calls of triggers' rules. */
typedef struct places {
    uint32_t first, called, free;
} places;

/* Edges of one node, neighbours that lead to one place as one. Node 0 of a tree that only leads
 * is where all begins, so that none leads there. */
static void add_edges(nfa *a, const tree *t, const places *x, uint32_t node)
{
    for (int lo = 0, hi; lo < 256; lo = hi + 1) {
        const uint32_t to = t->next[node][lo];
        uint32_t at = to ? x->first + to : x->free;

        if (t->ends[to]) at = x->called + t->ends[to] - 1;
        for (hi = lo; hi < 255 && t->next[node][hi + 1] == to;) hi++;
        nfa_add_bytes(a, x->first + node, (uint8_t)lo, (uint8_t)hi, at);
    }
}

static void wait_at(nfa *a, uint32_t node)
{
    if (nfa_failure(a) == ERR_OK) a->waits[node] = 1;
}

/* Free text until a trigger, or with `leads` behind none that it begins with. */
static void add_nodes(nfa *a, const tree *t, const trigger *list, size_t n,
                      const trigger_use *use)
{
    places x = {.called = (uint32_t)a->n_nodes};

    for (size_t i = 0; i < n; i++) nfa_add_node(a);
    x.first = (uint32_t)a->n_nodes;
    for (size_t i = 0; i < t->n; i++) nfa_add_node(a);
    x.free = use->leads ? nfa_add_node(a) : x.first;
    if (nfa_failure(a) != ERR_OK) return;
    nfa_add_skip(a, use->from, x.first);
    for (size_t i = 0; i < n; i++)
        nfa_add_call(a, x.called + (uint32_t)i, list[i].rule,
                     use->again && !use->leads ? x.first : use->to);
    for (uint32_t i = 0; i < t->n; i++) {
        add_edges(a, t, &x, i);
        wait_at(a, x.first + i);
        if (!use->must) nfa_add_skip(a, x.first + i, use->to);
    }
    if (!use->leads) return;
    nfa_add_bytes(a, x.free, 0, 255, x.free);
    wait_at(a, x.free);
    nfa_add_skip(a, x.free, use->to);
}

err trigger_add_text(nfa *a, const trigger *list, size_t n, const trigger_use *use)
{
    size_t bytes = 0;
    tree t;
    err e;

    if (!n || n > TRIGGER_MOST) return ERR_INVALID;
    for (size_t i = 0; i < n; i++) {
        if (!*list[i].text || strlen(list[i].text) > TRIGGER_MOST_BYTES) return ERR_INVALID;
        bytes += strlen(list[i].text);
    }
    if (bytes > TRIGGER_MOST_BYTES) return ERR_INVALID;
    e = open_tree(&t, bytes + 1);
    if (e == ERR_OK) {
        for (size_t i = 0; i < n; i++) add_trigger(&t, list[i].text, (uint32_t)i);
        if (!use->leads) complete_tree(&t);
        add_nodes(a, &t, list, n, use);
        e = nfa_failure(a);
    }
    close_tree(&t);
    return e;
}

uint32_t trigger_push_down(nfa *a)
{
    const uint32_t rule = nfa_add_rule(a);
    nfa_rule outer;

    if (nfa_failure(a) != ERR_OK) return 0;
    for (size_t i = 0; i < a->n_edges; i++)
        if (a->edges[i].kind == NFA_CALL && a->edges[i].rule == 0) a->edges[i].rule = rule;
    outer = a->rules[rule];
    a->rules[rule] = a->rules[0];
    a->rules[0] = outer;
    return rule;
}

err trigger_add(nfa *a, const char *const *triggers, size_t n)
{
    trigger list[TRIGGER_MOST];
    uint32_t rule;

    if (n > TRIGGER_MOST) return ERR_INVALID;
    rule = trigger_push_down(a);
    for (size_t i = 0; i < n; i++) list[i] = (trigger){triggers[i], rule};
    return trigger_add_text(
        a, list, n,
        &(trigger_use){.from = nfa_start(a, 0), .to = nfa_end(a, 0), .again = true});
}

bool trigger_is_awaited(const grammar *g, const states *s, uint32_t state)
{
    return states_is_at(s, state, g->nfa->waits);
}
