/* grammar.c - shortest ways, left recursion, classes of bytes.
 *
 * The shortest way to the end of a rule depends on that of the rules it calls. Knuth's
 * generalization of Dijkstra ("A generalization of Dijkstra's algorithm", 1977) settles nodes
 * in ascending cost; a call is looked at when both the called rule's start and the node behind
 * the call are settled.
 *
 *   end of a rule: 0     skip: cost[to]     byte: 1 + cost[to]
 *   call: cost[start of rule] + cost[to], and a frame more deep than the rule's own */
#include "engine/grammar/grammar.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- shortest ways --- */

/* Who has to hear that a node is settled: lists of edges, by `to`, and of calls by rule. */
typedef struct walk {
    const nfa *a;
    grammar *g;
    const bool *available;
    uint32_t *from;      /* [n_edges] the node an edge leaves */
    uint32_t *by_to;     /* [n_nodes] first edge that leads here */
    uint32_t *next_to;   /* [n_edges] */
    uint32_t *by_rule;   /* [n_rules] first call */
    uint32_t *next_rule; /* [n_edges] */
    uint32_t *rule_of;   /* [n_nodes] whose start a node is, or NFA_NONE */
    uint8_t *settled;    /* [n_nodes] */
    struct heap_entry {
        uint32_t cost, node;
        uint16_t depth;
    } * heap; /* [n_edges + n_rules] */
    size_t n_heap;
} walk;

static void walk_close(walk *w)
{
    free(w->from);
    free(w->by_to);
    free(w->next_to);
    free(w->by_rule);
    free(w->next_rule);
    free(w->rule_of);
    free(w->settled);
    free(w->heap);
}

/* n numbers, all NFA_NONE; of none, one. */
static uint32_t *make_lists(size_t n)
{
    uint32_t *at = malloc((n + 1) * sizeof *at);

    if (at) memset(at, 0xff, (n + 1) * sizeof *at);
    return at;
}

static err walk_open(walk *w)
{
    const nfa *a = w->a;

    w->from = make_lists(a->n_edges);
    w->by_to = make_lists(a->n_nodes);
    w->next_to = make_lists(a->n_edges);
    w->by_rule = make_lists(a->n_rules);
    w->next_rule = make_lists(a->n_edges);
    w->rule_of = make_lists(a->n_nodes);
    w->settled = calloc(a->n_nodes, 1);
    w->heap = malloc((2 * a->n_edges + a->n_rules) * sizeof *w->heap);
    if (!w->from || !w->by_to || !w->next_to || !w->by_rule || !w->next_rule || !w->rule_of ||
        !w->settled || !w->heap)
        return ERR_NOMEM;
    for (uint32_t r = 0; r < a->n_rules; r++) w->rule_of[a->rules[r].start] = r;
    for (uint32_t n = 0; n < a->n_nodes; n++)
        for (uint32_t i = a->first[n]; i != NFA_NONE; i = a->edges[i].next) {
            const nfa_edge *edge = &a->edges[i];

            w->from[i] = n;
            w->next_to[i] = w->by_to[edge->to];
            w->by_to[edge->to] = i;
            if (edge->kind != NFA_CALL) continue;
            w->next_rule[i] = w->by_rule[edge->rule];
            w->by_rule[edge->rule] = i;
        }
    return ERR_OK;
}

static bool is_before(const struct heap_entry *x, const struct heap_entry *y)
{
    return x->cost != y->cost ? x->cost < y->cost : x->depth < y->depth;
}

static void push(walk *w, uint32_t node, uint64_t cost, uint32_t depth)
{
    const struct heap_entry new = {(uint32_t)(cost < GRAMMAR_NEVER ? cost : GRAMMAR_NEVER),
                                   node, (uint16_t)(depth < UINT16_MAX ? depth : UINT16_MAX)};
    size_t i = w->n_heap++;

    if (w->settled[node]) {
        w->n_heap--;
        return;
    }
    for (; i && is_before(&new, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = new;
}

static struct heap_entry pop(walk *w)
{
    const struct heap_entry top = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;

    for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && is_before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!is_before(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

/* Is a byte of the range a token? */
static bool is_available(const walk *w, const nfa_edge *edge)
{
    for (int b = edge->lo; b <= edge->hi; b++)
        if (w->available[b]) return true;
    return false;
}

/* Edge i has a way, if what it needs is settled. */
static void offer(walk *w, uint32_t i)
{
    const nfa_edge *edge = &w->a->edges[i];
    const grammar *g = w->g;
    const uint32_t from = w->from[i];
    uint32_t start, deep;

    if (!w->settled[edge->to] || from == NFA_NONE) return;
    if (edge->kind == NFA_SKIP) push(w, from, g->cost[edge->to], g->depth[edge->to]);
    if (edge->kind == NFA_BYTES && is_available(w, edge))
        push(w, from, (uint64_t)g->cost[edge->to] + 1, g->depth[edge->to]);
    if (edge->kind != NFA_CALL) return;
    start = w->a->rules[edge->rule].start;
    if (!w->settled[start]) return;
    deep = g->depth[start] + 1u;
    push(w, from, (uint64_t)g->cost[edge->to] + g->cost[start],
         deep > g->depth[edge->to] ? deep : g->depth[edge->to]);
}

static void settle(walk *w)
{
    for (uint32_t r = 0; r < w->a->n_rules; r++) push(w, w->a->rules[r].end, 0, 0);
    while (w->n_heap) {
        const struct heap_entry top = pop(w);
        const uint32_t rule = w->rule_of[top.node];

        if (w->settled[top.node]) continue;
        w->settled[top.node] = 1;
        w->g->cost[top.node] = top.cost;
        w->g->depth[top.node] = top.depth;
        for (uint32_t i = w->by_to[top.node]; i != NFA_NONE; i = w->next_to[i]) offer(w, i);
        if (rule == NFA_NONE) continue;
        for (uint32_t i = w->by_rule[rule]; i != NFA_NONE; i = w->next_rule[i]) offer(w, i);
    }
}

static err find_shortest(grammar *g, const bool *available)
{
    walk w = {.a = g->nfa, .g = g, .available = available};
    const err e = walk_open(&w);

    if (e == ERR_OK) settle(&w);
    walk_close(&w);
    return e;
}

/* --- left recursion --- */

/* Nodes that are reached from a start before any byte; rules on the way are colored. */
typedef struct search {
    const grammar *g;
    uint32_t *stack; /* [n_nodes + n_edges] nodes to look at; a rule that is left as ~rule */
    size_t n;
    uint8_t *color; /* [n_rules] 0 new, 1 on the way, 2 done */
    uint8_t *seen;  /* [n_nodes] */
} search;

/* False: it calls a rule that is on the way. */
static bool look_at(search *s, uint32_t node)
{
    const nfa *a = s->g->nfa;

    for (uint32_t i = a->first[node]; i != NFA_NONE; i = a->edges[i].next) {
        const nfa_edge *edge = &a->edges[i];
        const uint32_t start = edge->kind == NFA_CALL ? a->rules[edge->rule].start : 0;

        if (edge->kind == NFA_CALL && s->color[edge->rule] == 1) return false;
        if (edge->kind == NFA_SKIP || (edge->kind == NFA_CALL && s->g->cost[start] == 0))
            if (!s->seen[edge->to]) s->stack[s->n++] = edge->to;
        if (edge->kind != NFA_CALL || s->color[edge->rule]) continue;
        s->stack[s->n++] = ~edge->rule;
    }
    return true;
}

/* A rule found in the walk of another is walked at once, so that `color` 1 is the way here:
 * what stands above its mark on the stack belongs to it. */
static bool is_left_recursive(search *s, uint32_t rule)
{
    const nfa *a = s->g->nfa;

    s->stack[s->n++] = ~rule;
    while (s->n) {
        const uint32_t top = s->stack[s->n - 1];
        const uint32_t r = ~top;

        if (top < a->n_nodes) {
            s->n--;
            if (s->seen[top]) continue;
            s->seen[top] = 1;
            if (!look_at(s, top)) return true;
        } else if (s->color[r] == 0) {
            s->color[r] = 1;
            s->stack[s->n++] = a->rules[r].start;
        } else {
            s->color[r] = 2;
            s->n--;
        }
    }
    return false;
}

static err check_left_recursion(const grammar *g, fault *why)
{
    const nfa *a = g->nfa;
    search s = {.g = g};
    bool found = false;

    s.stack = malloc((a->n_nodes + 2 * a->n_edges + a->n_rules + 1) * sizeof *s.stack);
    s.color = calloc(a->n_rules, 1);
    s.seen = calloc(a->n_nodes, 1);
    if (!s.stack || !s.color || !s.seen) {
        free(s.stack), free(s.color), free(s.seen);
        return ERR_NOMEM;
    }
    for (uint32_t r = 0; r < a->n_rules && !found; r++)
        if (!s.color[r]) found = is_left_recursive(&s, r);
    free(s.stack), free(s.color), free(s.seen);
    if (!found) return ERR_OK;
    return err_blame(why, ERR_INVALID, "a rule calls itself before it takes a character");
}

/* --- what running needs besides --- */

/* A frame whose node has nothing but skips to the end need not be kept: so a rule that ends in
 * a call of itself runs in a stack that does not grow. */
static void mark_ends(grammar *g)
{
    const nfa *a = g->nfa;

    for (uint32_t r = 0; r < a->n_rules; r++) g->ends[a->rules[r].end] = 1;
    for (uint32_t n = 0; n < a->n_nodes; n++) {
        uint32_t at = n;

        for (int hops = 0; hops < 8 && g->ends[at] != 1; hops++) {
            const uint32_t i = a->first[at];

            if (i == NFA_NONE || a->edges[i].kind != NFA_SKIP || a->edges[i].next != NFA_NONE)
                break;
            at = a->edges[i].to;
        }
        if (g->ends[at] == 1 && at != n) g->ends[n] = 2;
    }
}

static void find_classes(grammar *g)
{
    const nfa *a = g->nfa;
    bool cut[257] = {true};

    for (size_t i = 0; i < a->n_edges; i++) {
        if (a->edges[i].kind != NFA_BYTES) continue;
        cut[a->edges[i].lo] = cut[a->edges[i].hi + 1] = true;
    }
    for (int b = 0; b < 256; b++) {
        if (cut[b]) g->first_of[g->n_classes++] = (uint8_t)b;
        g->byte_class[b] = (uint8_t)(g->n_classes - 1);
    }
}

/* The text as a whole has an end, that is found in the depth there is? */
static err check_end(const grammar *g, fault *why)
{
    const uint32_t start = g->nfa->rules[0].start;

    if (g->cost[start] >= GRAMMAR_NEVER)
        return err_blame(why, ERR_INVALID, "no text ever ends");
    if (g->depth[start] > GRAMMAR_MAX_DEPTH)
        return err_blame(why, ERR_INVALID, "every text is nested too deep");
    return ERR_OK;
}

static err finish(grammar *g, const bool *available, fault *why)
{
    const size_t n = g->nfa->n_nodes;

    TRY(nfa_failure(g->nfa));
    g->cost = malloc(n * sizeof *g->cost);
    g->depth = calloc(n, sizeof *g->depth);
    g->ends = calloc(n, 1);
    if (!g->cost || !g->depth || !g->ends) return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) g->cost[i] = GRAMMAR_NEVER;
    mark_ends(g);
    find_classes(g);
    TRY(find_shortest(g, available));
    TRY(check_left_recursion(g, why));
    return check_end(g, why);
}

err grammar_new(grammar **out, nfa *a, const bool *available, fault *why)
{
    grammar *g = calloc(1, sizeof *g);
    err e = ERR_NOMEM;

    if (!g) {
        nfa_free(a);
        return e;
    }
    g->nfa = a;
    e = finish(g, available, why);
    if (e == ERR_OK)
        *out = g;
    else
        grammar_free(g);
    return e;
}

void grammar_free(grammar *g)
{
    if (!g) return;
    nfa_free(g->nfa);
    free(g->cost);
    free(g->depth);
    free(g->ends);
    free(g);
}

size_t grammar_shortest(const grammar *g)
{
    return g->cost[g->nfa->rules[0].start];
}
