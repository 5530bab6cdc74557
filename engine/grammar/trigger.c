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
 * Triggers that only lead have a tree of their own, which is where all begins. Each of its
 * nodes knows the node of the other tree that its text ends in, and goes on from there with a
 * byte that none of its children has. */
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

/* Where what is free leads: nodes of the grammar for those of both trees, and for the calls of
 * the triggers' rules. */
typedef struct places {
    const tree *any, *lead;
    uint32_t first, called;           /* of `any` */
    uint32_t first_lead, called_lead; /* of `lead`; its root is where all begins */
    uint32_t *beside; /* [lead->n] the node of `any` that the text so far ends in */
} places;

/* Where a byte leads from node `at` of the tree of all places. */
static uint32_t step_any(const places *x, uint32_t at, int byte)
{
    const uint32_t to = x->any->next[at][byte];

    return x->any->ends[to] ? x->called + x->any->ends[to] - 1 : x->first + to;
}

static bool is_blank(int byte)
{
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

static uint32_t step_lead(const places *x, uint32_t at, int byte)
{
    const uint32_t to = x->lead->next[at][byte];

    if (to && x->lead->ends[to]) return x->called_lead + x->lead->ends[to] - 1;
    if (to) return x->first_lead + to;
    if (!at && is_blank(byte) && !x->any->next[0][byte]) return x->first_lead;
    return step_any(x, x->beside[at], byte);
}

/* Edges of one node, neighbours that lead to one place as one. */
static void add_edges(nfa *a, const places *x, uint32_t at, bool leads)
{
    const uint32_t from = (leads ? x->first_lead : x->first) + at;

    for (int lo = 0, hi; lo < 256; lo = hi + 1) {
        const uint32_t to = leads ? step_lead(x, at, lo) : step_any(x, at, lo);

        for (hi = lo; hi < 255; hi++)
            if ((leads ? step_lead(x, at, hi + 1) : step_any(x, at, hi + 1)) != to) break;
        nfa_add_bytes(a, from, (uint8_t)lo, (uint8_t)hi, to);
    }
}

/* The node behind a text that holds no trigger. */
static uint32_t walk(const tree *t, const char *text)
{
    uint32_t at = 0;

    for (; text && *text; text++) at = t->next[at][(uint8_t)*text];
    return at;
}

/* Nodes are numbered as they are made, a parent before its children. */
static void find_beside(const places *x)
{
    for (uint32_t at = 0; at < x->lead->n; at++)
        for (int b = 0; b < 256; b++)
            if (x->lead->next[at][b])
                x->beside[x->lead->next[at][b]] = x->any->next[x->beside[at]][b];
}

static uint32_t add_nodes(nfa *a, size_t n)
{
    const uint32_t first = (uint32_t)a->n_nodes;

    for (size_t i = 0; i < n; i++) nfa_add_node(a);
    return first;
}

static void add_calls(nfa *a, uint32_t first, const trigger_rule *list, size_t n, uint32_t to)
{
    for (size_t i = 0; i < n; i++) nfa_add_call(a, first + (uint32_t)i, list[i].rule, to);
}

static void add_all(nfa *a, places *x, const trigger_use *use)
{
    uint32_t back, begin;

    x->called = add_nodes(a, use->n);
    x->called_lead = add_nodes(a, use->n_leading);
    x->first = add_nodes(a, x->any->n);
    x->first_lead = add_nodes(a, x->lead->n);
    if (nfa_failure(a) != ERR_OK) return;
    begin = use->n_leading ? x->first_lead : x->first + walk(x->any, use->behind);
    back = !use->again ? use->to : use->n_leading ? x->first_lead : x->first;
    nfa_add_skip(a, use->from, begin);
    add_calls(a, x->called, use->at, use->n, back);
    add_calls(a, x->called_lead, use->leading, use->n_leading,
              use->leads_once ? use->to : back);
    for (uint32_t i = 0; i < x->any->n; i++) add_edges(a, x, i, false);
    for (uint32_t i = 0; i < x->lead->n && use->n_leading; i++) add_edges(a, x, i, true);
    if (nfa_failure(a) != ERR_OK) return;
    for (uint32_t at = x->first; at < x->first_lead + x->lead->n; at++) {
        a->waits[at] = 1;
        if (!use->must) nfa_add_skip(a, at, use->to);
    }
}

static err open_list(tree *t, const trigger_rule *list, size_t n)
{
    size_t bytes = 0;

    *t = (tree){0};
    if (n > TRIGGER_MOST) return ERR_INVALID;
    for (size_t i = 0; i < n; i++) {
        if (!*list[i].text || strlen(list[i].text) > TRIGGER_MOST_BYTES) return ERR_INVALID;
        bytes += strlen(list[i].text);
    }
    if (bytes > TRIGGER_MOST_BYTES) return ERR_INVALID;
    TRY(open_tree(t, bytes + 1));
    for (size_t i = 0; i < n; i++) add_trigger(t, list[i].text, (uint32_t)i);
    return ERR_OK;
}

err trigger_add_text(nfa *a, const trigger_use *use)
{
    tree any = {0}, lead = {0};
    places x = {.any = &any, .lead = &lead};
    err e = use->n || use->n_leading ? open_list(&any, use->at, use->n) : ERR_INVALID;

    if (e == ERR_OK) e = open_list(&lead, use->leading, use->n_leading);
    if (e == ERR_OK) {
        complete_tree(&any);
        x.beside = calloc(lead.n, sizeof *x.beside);
        e = x.beside ? ERR_OK : ERR_NOMEM;
    }
    if (e == ERR_OK) {
        find_beside(&x);
        add_all(a, &x, use);
        e = nfa_failure(a);
    }
    free(x.beside);
    close_tree(&any);
    close_tree(&lead);
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
    enum { MOST = 64 };
    trigger_rule list[MOST];
    uint32_t rule;

    if (n > MOST) return ERR_INVALID;
    rule = trigger_push_down(a);
    for (size_t i = 0; i < n; i++) list[i] = (trigger_rule){triggers[i], rule};
    return trigger_add_text(
        a,
        &(trigger_use){
            .from = nfa_start(a, 0), .to = nfa_end(a, 0), .at = list, .n = n, .again = true});
}

bool trigger_is_awaited(const grammar *g, const states *s, uint32_t state)
{
    return states_is_at(s, state, g->nfa->waits);
}
