/* pattern.c - a tree becomes edges, in two steps.
 *
 *   tree --lay out--> steps: an automaton over characters, with calls and places
 *        --multiply--> steps x phase x count, as nodes of the grammar, those that are reached
 *
 * phase  bit 0: something was taken; bit 1: the end was met, so nothing may be taken any more
 * count  characters taken, where their number matters; up to the lower bound without an upper
 *
 * Without places and bounds there is one phase and one count, and a node for each step. */
#include "engine/grammar/pattern.h"

#include <stdlib.h>
#include <string.h>

/* --- the tree --- */

void pattern_free(pattern *p)
{
    for (size_t i = 0; i < p->n_sets; i++) charset_free(&p->sets[i]);
    free(p->sets);
    free(p->nodes);
    *p = (pattern){0};
}

static bool grow(err *failure, void **at, size_t n, size_t *room, size_t bytes, size_t most)
{
    const size_t more = *room ? 2 * *room : 32;
    void *bigger;

    if (*failure != ERR_OK) return false;
    if (n < *room) return true;
    if (n >= most) {
        *failure = ERR_TOOMANY;
        return false;
    }
    bigger = realloc(*at, more * bytes);
    if (!bigger) {
        *failure = ERR_NOMEM;
        return false;
    }
    *at = bigger;
    *room = more;
    return true;
}

uint32_t pattern_add(pattern *p, pattern_kind kind, uint32_t a, uint32_t b)
{
    void *at = p->nodes;
    const bool good = grow(&p->failure, &at, p->n_nodes, &p->room_nodes, sizeof *p->nodes,
                           PATTERN_MAX_NODES);

    p->nodes = at;
    if (!good) return 0;
    p->nodes[p->n_nodes] = (pattern_node){kind, a, b, NFA_NONE, NFA_NONE, NFA_NONE};
    return (uint32_t)p->n_nodes++;
}

uint32_t pattern_add_set(pattern *p, charset *s)
{
    void *at = p->sets;
    const bool good = grow(&p->failure, &at, p->n_sets, &p->room_sets, sizeof *p->sets,
                           PATTERN_MAX_SETS);

    p->sets = at;
    if (!good) {
        charset_free(s);
        return 0;
    }
    charset_normalize(s);
    p->sets[p->n_sets++] = *s;
    *s = (charset){0};
    return pattern_add(p, PATTERN_SET, (uint32_t)p->n_sets - 1, 0);
}

void pattern_append(pattern *p, uint32_t parent, uint32_t child)
{
    pattern_node *x;

    if (p->failure != ERR_OK) return;
    x = &p->nodes[parent];
    if (x->first == NFA_NONE)
        x->first = child;
    else
        p->nodes[x->last].next = child;
    x->last = child;
}

/* --- steps --- */

typedef struct layout_edge {
    uint32_t from, to, next; /* of the same node */
    uint32_t leaf;           /* node of the tree, or NFA_NONE: nothing is taken */
} layout_edge;

typedef struct layout {
    const pattern *p;
    layout_edge *edges;
    uint32_t *first; /* [n_nodes] */
    size_t n_nodes, room_nodes, n_edges, room_edges;
    bool has_places;
    err failure;
} layout;

static uint32_t add_step(layout *w)
{
    void *at = w->first;
    const bool good = grow(&w->failure, &at, w->n_nodes, &w->room_nodes, sizeof *w->first,
                           PATTERN_MAX_NODES);

    w->first = at;
    if (!good) return 0;
    w->first[w->n_nodes] = NFA_NONE;
    return (uint32_t)w->n_nodes++;
}

static void add_edge(layout *w, uint32_t from, uint32_t leaf, uint32_t to)
{
    void *at = w->edges;
    const bool good = grow(&w->failure, &at, w->n_edges, &w->room_edges, sizeof *w->edges,
                           2 * PATTERN_MAX_NODES);

    w->edges = at;
    if (!good) return;
    w->edges[w->n_edges] = (layout_edge){from, to, w->first[from], leaf};
    w->first[from] = (uint32_t)w->n_edges++;
}

static void lay_out(layout *w, uint32_t node, uint32_t from, uint32_t to);

static void lay_out_chain(layout *w, const pattern_node *x, uint32_t from, uint32_t to)
{
    for (uint32_t c = x->first; c != NFA_NONE && w->failure == ERR_OK;) {
        const uint32_t following = w->p->nodes[c].next;
        const uint32_t next = following == NFA_NONE ? to : add_step(w);

        lay_out(w, c, from, next);
        from = next;
        c = following;
    }
    if (x->first == NFA_NONE) add_edge(w, from, NFA_NONE, to);
}

/* What may be left out leads straight to the end: so few steps are open at a time, however many
 * repetitions there are. */
static void lay_out_repeat(layout *w, const pattern_node *x, uint32_t from, uint32_t to)
{
    const uint32_t copies = x->b == PATTERN_UNBOUNDED ? x->a : x->b;

    for (uint32_t i = 0; i < copies && w->failure == ERR_OK; i++) {
        const uint32_t next = add_step(w);

        if (i >= x->a) add_edge(w, from, NFA_NONE, to);
        lay_out(w, x->first, from, next);
        from = next;
    }
    if (x->b == PATTERN_UNBOUNDED) {
        const uint32_t loop = add_step(w), back = add_step(w);

        add_edge(w, from, NFA_NONE, loop);
        lay_out(w, x->first, loop, back);
        add_edge(w, back, NFA_NONE, loop);
        from = loop;
    }
    add_edge(w, from, NFA_NONE, to);
}

/* As deep as groups are nested, which whoever makes a tree bounds. */
static void lay_out(layout *w, uint32_t node, uint32_t from, uint32_t to)
{
    const pattern_node *x = &w->p->nodes[node];

    if (w->failure != ERR_OK) return;
    w->has_places |= x->kind == PATTERN_BEGIN || x->kind == PATTERN_END;
    if (x->kind == PATTERN_CHAIN)
        lay_out_chain(w, x, from, to);
    else if (x->kind == PATTERN_REPEAT)
        lay_out_repeat(w, x, from, to);
    else if (x->kind == PATTERN_CHOICE)
        for (uint32_t c = x->first; c != NFA_NONE; c = w->p->nodes[c].next)
            lay_out(w, c, from, to);
    else
        add_edge(w, from, node, to);
}

/* --- nodes of the grammar --- */

enum { MOVED = 1, ENDED = 2, PHASES = 4, MAX_PLACES = 1 << 21 };

/* Any character, before and behind what is looked for. */
#define LEAF_ANY (NFA_NONE - 1)

typedef struct product {
    nfa *a;
    const layout *w;
    const pattern_use *use;
    uint32_t start, end; /* steps */
    uint32_t counts;     /* 0 .. counts - 1 */
    uint32_t phases;
    uint32_t *node;  /* [steps][counts][phases] or NFA_NONE */
    uint32_t *todo;  /* places that were reached */
    uint32_t *rules; /* [n_sets + 1] of their longer characters; the last: any */
    bool *has_rule;
    size_t n_todo;
    charset any;
} product;

static uint32_t reach(product *x, uint32_t step, uint32_t count, uint32_t phase)
{
    const uint32_t place = (step * x->counts + count) * x->phases + phase;

    if (x->node[place] == NFA_NONE) {
        x->node[place] = nfa_add_node(x->a);
        x->todo[x->n_todo++] = place;
    }
    return x->node[place];
}

static void add_set_edge(product *x, uint32_t leaf, uint32_t from, uint32_t to)
{
    const pattern *p = x->w->p;
    const size_t i = leaf == LEAF_ANY ? p->n_sets : p->nodes[leaf].a;
    const charset *s = leaf == LEAF_ANY ? &x->any : &p->sets[i];

    if (!x->has_rule[i]) x->rules[i] = charset_add_rule(x->a, s, x->use->form);
    x->has_rule[i] = true;
    charset_add_edge(x->a, s, x->use->form, x->rules[i], from, to);
}

static void add_leaf(product *x, uint32_t leaf, uint32_t from, uint32_t to)
{
    const pattern_node *n = leaf == LEAF_ANY ? NULL : &x->w->p->nodes[leaf];
    char out[CHARSET_SPELLED];

    if (!n || n->kind == PATTERN_SET)
        add_set_edge(x, leaf, from, to);
    else if (n->kind == PATTERN_CALL)
        nfa_add_call(x->a, from, n->a, to);
    else
        nfa_add_text(x->a, from, out, charset_spell(n->a, x->use->form, out), to);
}

/* One edge from a place: where it leads, if it may be taken there. */
static void follow(product *x, const layout_edge *edge, uint32_t from, uint32_t count,
                   uint32_t phase)
{
    const pattern *p = x->w->p;
    const pattern_kind kind = edge->leaf < LEAF_ANY ? p->nodes[edge->leaf].kind : PATTERN_SET;
    const bool bounded = x->use->max != PATTERN_UNBOUNDED;

    if (edge->leaf == NFA_NONE || kind == PATTERN_BEGIN || kind == PATTERN_END) {
        if (kind == PATTERN_BEGIN && edge->leaf != NFA_NONE && (phase & MOVED)) return;
        if (kind == PATTERN_END && edge->leaf != NFA_NONE) phase |= ENDED;
        nfa_add_skip(x->a, from, reach(x, edge->to, count, phase));
        return;
    }
    if ((phase & ENDED) || (bounded && count + 1 == x->counts)) return;
    if (count + 1 < x->counts) count++;
    if (x->phases > 1) phase |= MOVED;
    add_leaf(x, edge->leaf, from, reach(x, edge->to, count, phase));
}

static void visit(product *x, uint32_t place, uint32_t to)
{
    const uint32_t phase = place % x->phases, count = place / x->phases % x->counts;
    const uint32_t step = place / x->phases / x->counts, from = x->node[place];

    for (uint32_t i = x->w->first[step]; i != NFA_NONE; i = x->w->edges[i].next)
        follow(x, &x->w->edges[i], from, count, phase);
    if (step == x->end && count >= x->use->min) nfa_add_skip(x->a, from, to);
}

static err multiply(product *x, uint32_t from, uint32_t to)
{
    nfa_add_skip(x->a, from, reach(x, x->start, 0, 0));
    while (x->n_todo && nfa_failure(x->a) == ERR_OK) visit(x, x->todo[--x->n_todo], to);
    return nfa_failure(x->a);
}

/* As many counts as tell apart what may follow. */
static uint64_t count_counts(const pattern_use *use)
{
    return (uint64_t)(use->max == PATTERN_UNBOUNDED ? use->min : use->max) + 1;
}

static err open_product(product *x)
{
    const uint64_t counts = count_counts(x->use);
    const size_t n = x->w->n_nodes;
    size_t places;

    x->phases = x->w->has_places ? PHASES : 1;
    if (counts > MAX_PLACES || counts * x->phases * n > MAX_PLACES) return ERR_TOOMANY;
    x->counts = (uint32_t)counts;
    places = n * x->counts * x->phases;
    x->node = malloc(places * sizeof *x->node);
    x->todo = malloc(places * sizeof *x->todo);
    x->rules = calloc(x->w->p->n_sets + 1, sizeof *x->rules);
    x->has_rule = calloc(x->w->p->n_sets + 1, sizeof *x->has_rule);
    if (!x->node || !x->todo || !x->rules || !x->has_rule) return ERR_NOMEM;
    memset(x->node, 0xff, places * sizeof *x->node);
    return charset_add(&x->any, 0, CHARSET_LAST);
}

static void close_product(product *x)
{
    free(x->node);
    free(x->todo);
    free(x->rules);
    free(x->has_rule);
    charset_free(&x->any);
}

/* Steps 0 and 1 are its start and end. Looked for anywhere, any characters may stand there. */
static err lay_out_all(layout *w, uint32_t root, bool anywhere)
{
    const uint32_t start = add_step(w), end = add_step(w);

    if (anywhere) {
        const uint32_t first = add_step(w), last = add_step(w);

        add_edge(w, start, LEAF_ANY, start);
        add_edge(w, start, NFA_NONE, first);
        add_edge(w, last, NFA_NONE, end);
        add_edge(w, end, LEAF_ANY, end);
        lay_out(w, root, first, last);
    } else {
        lay_out(w, root, start, end);
    }
    return w->failure;
}

err pattern_emit(nfa *a, const pattern *p, uint32_t root, const pattern_use *use, uint32_t from,
                 uint32_t to)
{
    layout w = {.p = p};
    product x = {.a = a, .w = &w, .use = use, .start = 0, .end = 1};
    err e = p->failure;

    if (e == ERR_OK) e = lay_out_all(&w, root, use->anywhere);
    if (e == ERR_OK) e = open_product(&x);
    if (e == ERR_OK) e = multiply(&x, from, to);
    close_product(&x);
    free(w.edges);
    free(w.first);
    return e;
}
