/* states.c - sets of configurations, found by their content.
 *
 *   step      items of a state --byte edges--> nodes --close--> items of the next one
 *   close     skips are followed, calls push a frame, the end of a rule pops one; only nodes
 *             with byte edges are items, and an empty stack at an end is `may_end`
 *
 * Order is part of a set's content and follows from the grammar and the bytes alone, never from
 * what was met before: so what is allowed does not depend on what else was generated. A set
 * that would be too large loses its most expensive items: fewer texts, but each is still one of
 * the grammar's, and can be closed. */
#include "engine/grammar/states.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_ITEMS = 256,    /* of a set */
    MAX_VISITED = 4096, /* configurations looked at for one step */
    ROOM_STATES = 4096, /* of one half */
    ROOM_ITEMS = 1 << 16,
    ROOM_FRAMES = 1 << 15,
    ROOM_MASKS = 1 << 20, /* bytes */
    MOST_MASKS = 512,
    LEAST_MASKS = 8
};

#define NO_FRAME 0 /* the empty stack */

typedef struct frame {
    uint32_t node, below, cost; /* of the whole stack */
    uint16_t depth;
} frame;

typedef struct item {
    uint32_t node, stack;
} item;

typedef struct state {
    uint32_t first, mask; /* mask: slot + 1, or 0 */
    uint16_t n;
    bool may_end;
} state;

/* Everything that is forgotten together. */
typedef struct half {
    frame *frames; /* [ROOM_FRAMES] number 0 is the empty stack */
    item *items;
    state *states;                       /* [ROOM_STATES] number 0 is STATES_DEAD */
    uint32_t *rows;                      /* [ROOM_STATES][n_classes] */
    uint32_t *costs;                     /* [ROOM_STATES] */
    uint16_t *sizes;                     /* [ROOM_STATES] items */
    uint32_t *frame_table, *state_table; /* open addressing, 0: empty; twice the room */
    size_t n_frames, n_items, n_states;
} half;

typedef struct visited {
    uint32_t node, stack, stamp;
} visited;

struct states {
    const grammar *g;
    half now, other;
    states_root *roots;
    uint64_t *masks;      /* [n_masks][mask_words] */
    uint32_t *mask_owner; /* [n_masks] state, or 0 */
    uint32_t *mask_worst;
    size_t mask_words, n_masks, next_mask, forgotten;
    /* of the step that is being worked out */
    visited seen[2 * MAX_VISITED];
    uint32_t stamp;
    item todo[MAX_VISITED];
    item set[MAX_ITEMS];
    uint32_t costs[MAX_ITEMS];
    size_t n_todo, n_set, n_seen;
    bool may_end, full;
};

/* --- opening --- */

static bool open_half(half *h, size_t classes)
{
    h->frames = malloc(ROOM_FRAMES * sizeof *h->frames);
    h->items = malloc(ROOM_ITEMS * sizeof *h->items);
    h->states = malloc(ROOM_STATES * sizeof *h->states);
    h->rows = malloc(ROOM_STATES * classes * sizeof *h->rows);
    h->costs = malloc(ROOM_STATES * sizeof *h->costs);
    h->sizes = malloc(ROOM_STATES * sizeof *h->sizes);
    h->frame_table = calloc(2 * ROOM_FRAMES, sizeof *h->frame_table);
    h->state_table = calloc(2 * ROOM_STATES, sizeof *h->state_table);
    return h->frames && h->items && h->states && h->rows && h->costs && h->sizes &&
           h->frame_table && h->state_table;
}

static void close_half(half *h)
{
    free(h->frames);
    free(h->items);
    free(h->states);
    free(h->rows);
    free(h->costs);
    free(h->sizes);
    free(h->frame_table);
    free(h->state_table);
}

/* The empty stack, and the state that nothing leads out of. */
static void reset_half(half *h, size_t classes)
{
    memset(h->frame_table, 0, 2 * ROOM_FRAMES * sizeof *h->frame_table);
    memset(h->state_table, 0, 2 * ROOM_STATES * sizeof *h->state_table);
    h->frames[NO_FRAME] = (frame){0};
    h->states[STATES_DEAD] = (state){0};
    h->costs[STATES_DEAD] = GRAMMAR_NEVER;
    h->sizes[STATES_DEAD] = 0;
    memset(h->rows, 0, classes * sizeof *h->rows);
    h->n_frames = h->n_states = 1;
    h->n_items = 0;
}

err states_open(states **out, const grammar *g, size_t mask_words)
{
    states *s = calloc(1, sizeof *s);
    size_t fit;

    if (!s) return ERR_NOMEM;
    s->g = g;
    s->mask_words = mask_words;
    fit = ROOM_MASKS / (mask_words * sizeof(uint64_t) + 1);
    s->n_masks = fit < LEAST_MASKS ? LEAST_MASKS : fit > MOST_MASKS ? MOST_MASKS : fit;
    s->masks = malloc(s->n_masks * mask_words * sizeof *s->masks + 1);
    s->mask_owner = calloc(s->n_masks, sizeof *s->mask_owner);
    s->mask_worst = calloc(s->n_masks, sizeof *s->mask_worst);
    if (!open_half(&s->now, g->n_classes) || !open_half(&s->other, g->n_classes) || !s->masks ||
        !s->mask_owner || !s->mask_worst) {
        states_close(s);
        return ERR_NOMEM;
    }
    reset_half(&s->now, g->n_classes);
    *out = s;
    return ERR_OK;
}

void states_close(states *s)
{
    if (!s) return;
    close_half(&s->now);
    close_half(&s->other);
    free(s->masks);
    free(s->mask_owner);
    free(s->mask_worst);
    free(s);
}

size_t states_bytes(const states *s)
{
    const size_t row = s->g->n_classes * sizeof(uint32_t);
    const size_t each = ROOM_FRAMES * (sizeof(frame) + 2 * sizeof(uint32_t)) +
                        ROOM_ITEMS * sizeof(item) +
                        ROOM_STATES * (sizeof(state) + row + 2 * sizeof(uint32_t));

    return sizeof *s + 2 * each + s->n_masks * (s->mask_words * sizeof(uint64_t) + 8);
}

/* --- frames and sets, each once --- */

static uint32_t mix(uint32_t h, uint32_t x)
{
    h = (h ^ x) * 0x9e3779b1u;
    return h ^ (h >> 15);
}

/* The frame of a stack with one more; NO_FRAME: no room (a frame is never the empty stack). */
static uint32_t push_frame(states *s, uint32_t node, uint32_t below)
{
    half *h = &s->now;
    uint32_t at = mix(mix(1, node), below) % (2 * ROOM_FRAMES);

    for (; h->frame_table[at]; at = (at + 1) % (2 * ROOM_FRAMES)) {
        const frame *f = &h->frames[h->frame_table[at]];

        if (f->node == node && f->below == below) return h->frame_table[at];
    }
    if (h->n_frames == ROOM_FRAMES) return NO_FRAME;
    h->frames[h->n_frames] = (frame){.node = node,
                                     .below = below,
                                     .cost = s->g->cost[node] + h->frames[below].cost,
                                     .depth = (uint16_t)(h->frames[below].depth + 1)};
    h->frame_table[at] = (uint32_t)h->n_frames;
    return (uint32_t)h->n_frames++;
}

static bool is_same_set(const states *s, const state *x)
{
    return x->n == s->n_set && x->may_end == s->may_end &&
           memcmp(s->now.items + x->first, s->set, s->n_set * sizeof(item)) == 0;
}

static uint32_t set_cost(const states *s)
{
    uint32_t least = s->may_end ? 0 : GRAMMAR_NEVER;

    for (size_t i = 0; i < s->n_set; i++)
        if (s->costs[i] < least) least = s->costs[i];
    return least;
}

/* The state of the set that was worked out; STATES_UNKNOWN: no room. */
static uint32_t intern_set(states *s)
{
    half *h = &s->now;
    uint32_t hash = s->may_end, at;

    if (!s->n_set && !s->may_end) return STATES_DEAD;
    for (size_t i = 0; i < s->n_set; i++)
        hash = mix(mix(hash, s->set[i].node), s->set[i].stack);
    for (at = hash % (2 * ROOM_STATES); h->state_table[at]; at = (at + 1) % (2 * ROOM_STATES))
        if (is_same_set(s, &h->states[h->state_table[at]])) return h->state_table[at];
    if (h->n_states == ROOM_STATES || h->n_items + s->n_set > ROOM_ITEMS) return STATES_UNKNOWN;
    h->states[h->n_states] = (state){
        .first = (uint32_t)h->n_items, .n = (uint16_t)s->n_set, .may_end = s->may_end};
    h->costs[h->n_states] = set_cost(s);
    h->sizes[h->n_states] = (uint16_t)s->n_set;
    memcpy(h->items + h->n_items, s->set, s->n_set * sizeof(item));
    memset(h->rows + h->n_states * s->g->n_classes, 0xff, s->g->n_classes * sizeof *h->rows);
    h->n_items += s->n_set;
    h->state_table[at] = (uint32_t)h->n_states;
    return (uint32_t)h->n_states++;
}

/* --- closing a set --- */

static void begin_set(states *s)
{
    s->n_set = s->n_todo = s->n_seen = 0;
    s->may_end = s->full = false;
    if (++s->stamp == 0) { /* once in 2^32 steps: no stamp of an earlier round may count */
        memset(s->seen, 0, sizeof s->seen);
        s->stamp = 1;
    }
}

/* Is there a way to the end from here, within the depth that is left? */
static bool is_open(const states *s, uint32_t node, uint32_t stack)
{
    return s->g->cost[node] < GRAMMAR_NEVER &&
           s->now.frames[stack].depth + s->g->depth[node] <= GRAMMAR_MAX_DEPTH;
}

/* A configuration to look at, if it is new. */
static void visit(states *s, uint32_t node, uint32_t stack)
{
    uint32_t at = mix(mix(2, node), stack) % (2 * MAX_VISITED);

    if (!is_open(s, node, stack)) return;
    for (; s->seen[at].stamp == s->stamp; at = (at + 1) % (2 * MAX_VISITED))
        if (s->seen[at].node == node && s->seen[at].stack == stack) return;
    if (s->n_seen == MAX_VISITED) return;
    s->n_seen++;
    s->seen[at] = (visited){node, stack, s->stamp};
    s->todo[s->n_todo++] = (item){node, stack};
}

/* One more of the set; where it is full, in the place of the most expensive. */
static void keep(states *s, uint32_t node, uint32_t stack)
{
    const uint32_t cost = s->g->cost[node] + s->now.frames[stack].cost;
    size_t at = s->n_set, worst = 0;

    if (s->n_set == MAX_ITEMS) {
        for (size_t i = 1; i < MAX_ITEMS; i++)
            if (s->costs[i] > s->costs[worst]) worst = i;
        if (s->costs[worst] <= cost) return;
        at = worst;
    } else {
        s->n_set++;
    }
    s->set[at] = (item){node, stack};
    s->costs[at] = cost;
}

/* A call whose rule ends what called it needs no frame. */
static void enter(states *s, const nfa_edge *edge, uint32_t stack)
{
    const uint32_t start = s->g->nfa->rules[edge->rule].start;
    uint32_t top = stack;

    if (!s->g->ends[edge->to]) {
        if (!is_open(s, edge->to, stack)) return;
        if (s->now.frames[stack].depth >= GRAMMAR_MAX_DEPTH) return;
        top = push_frame(s, edge->to, stack);
        if (top == NO_FRAME) s->full = true;
        if (top == NO_FRAME) return;
    }
    visit(s, start, top);
}

static void leave(states *s, uint32_t stack)
{
    const frame f = s->now.frames[stack];

    if (stack == NO_FRAME)
        s->may_end = true;
    else
        visit(s, f.node, f.below);
}

/* What is to do is taken from its end: the set is in the order of a walk in depth. */
static void close_set(states *s)
{
    const nfa *a = s->g->nfa;

    while (s->n_todo) {
        const item x = s->todo[--s->n_todo];
        bool takes_bytes = false;

        if (s->g->ends[x.node] == 1) leave(s, x.stack);
        for (uint32_t i = a->first[x.node]; i != NFA_NONE; i = a->edges[i].next) {
            const nfa_edge *edge = &a->edges[i];

            takes_bytes |= edge->kind == NFA_BYTES;
            if (edge->kind == NFA_SKIP) visit(s, edge->to, x.stack);
            if (edge->kind == NFA_CALL) enter(s, edge, x.stack);
        }
        if (takes_bytes) keep(s, x.node, x.stack);
    }
}

static uint32_t finish_set(states *s)
{
    close_set(s);
    return s->full ? STATES_UNKNOWN : intern_set(s);
}

/* --- steps --- */

uint32_t states_step(states *s, uint32_t from, uint8_t byte)
{
    const nfa *a = s->g->nfa;
    uint32_t *next = &s->now.rows[from * s->g->n_classes + s->g->byte_class[byte]];
    state x;

    if (*next != STATES_UNKNOWN) return *next;
    x = s->now.states[from];
    begin_set(s);
    for (uint32_t k = 0; k < x.n; k++) {
        const item it = s->now.items[x.first + k];

        for (uint32_t i = a->first[it.node]; i != NFA_NONE; i = a->edges[i].next) {
            const nfa_edge *edge = &a->edges[i];

            if (edge->kind != NFA_BYTES || byte < edge->lo || byte > edge->hi) continue;
            visit(s, edge->to, it.stack);
            close_set(s); /* here, so that n_todo never holds more than one walk */
        }
    }
    return *next = finish_set(s);
}

/* --- roots --- */

bool states_begin(states *s, states_root *r)
{
    for (int tries = 0; tries < 2; tries++) {
        begin_set(s);
        visit(s, s->g->nfa->rules[0].start, NO_FRAME);
        r->state = finish_set(s);
        if (r->state == STATES_UNKNOWN && !states_forget(s)) return false;
        if (r->state != STATES_UNKNOWN) break;
    }
    if (r->state == STATES_UNKNOWN) return false;
    r->next = s->roots;
    r->link = &s->roots;
    if (r->next) r->next->link = &r->next;
    s->roots = r;
    return true;
}

void states_drop(states *s, states_root *r)
{
    (void)s;
    if (!r->link) return;
    *r->link = r->next;
    if (r->next) r->next->link = r->link;
    *r = (states_root){0};
}

/* A stack of `from` in the half that is now: its frames anew, the lowest first. */
static uint32_t copy_stack(states *s, const half *from, uint32_t stack)
{
    uint32_t nodes[GRAMMAR_MAX_DEPTH + 1], copied = NO_FRAME;
    size_t n = 0;

    for (; stack != NO_FRAME; stack = from->frames[stack].below)
        nodes[n++] = from->frames[stack].node;
    while (n) {
        copied = push_frame(s, nodes[--n], copied);
        if (copied == NO_FRAME) s->full = true;
        if (copied == NO_FRAME) return NO_FRAME;
    }
    return copied;
}

/* The same set, in the half that is now. */
static uint32_t copy_state(states *s, const half *from, uint32_t number)
{
    const state x = from->states[number];

    begin_set(s);
    s->may_end = x.may_end;
    for (uint32_t i = 0; i < x.n && !s->full; i++) {
        const item it = from->items[x.first + i];

        keep(s, it.node, copy_stack(s, from, it.stack));
    }
    return s->full ? STATES_UNKNOWN : intern_set(s);
}

bool states_forget(states *s)
{
    const half old = s->now;
    bool fits = true;

    s->now = s->other;
    s->other = old;
    reset_half(&s->now, s->g->n_classes);
    memset(s->mask_owner, 0, s->n_masks * sizeof *s->mask_owner);
    s->forgotten++;
    for (states_root *r = s->roots; r; r = r->next) {
        r->state = copy_state(s, &old, r->state);
        if (r->state == STATES_UNKNOWN) r->state = STATES_DEAD, fits = false;
    }
    return fits;
}

/* --- what is known of a state --- */

states_view states_look(const states *s)
{
    return (states_view){s->now.rows, s->now.costs, s->now.sizes, s->g->byte_class,
                         s->g->n_classes};
}

uint32_t states_cost(const states *s, uint32_t number)
{
    return s->now.costs[number];
}

bool states_may_end(const states *s, uint32_t number)
{
    return s->now.states[number].may_end;
}

bool states_goes_on(const states *s, uint32_t number)
{
    return s->now.states[number].n > 0;
}

bool states_is_at(const states *s, uint32_t number, const uint8_t *flags)
{
    const state x = s->now.states[number];

    for (uint32_t i = 0; i < x.n; i++)
        if (flags[s->now.items[x.first + i].node]) return true;
    return false;
}

const uint64_t *states_mask(const states *s, uint32_t number, uint32_t *worst)
{
    const uint32_t slot = s->now.states[number].mask;

    if (!slot || s->mask_owner[slot - 1] != number) return NULL;
    *worst = s->mask_worst[slot - 1];
    return s->masks + (slot - 1) * s->mask_words;
}

/* In turn: a mask that is asked for again and again comes back at the price of one walk. */
uint64_t *states_keep_mask(states *s, uint32_t number, uint32_t worst)
{
    const size_t slot = s->next_mask;

    s->next_mask = (slot + 1) % s->n_masks;
    s->mask_owner[slot] = number;
    s->mask_worst[slot] = worst;
    s->now.states[number].mask = (uint32_t)slot + 1;
    return s->masks + slot * s->mask_words;
}

size_t states_forgotten(const states *s)
{
    return s->forgotten;
}

size_t states_known(const states *s)
{
    return s->now.n_states;
}
