/* matcher.c - walks the tree of tokens with an automaton.
 *
 *   at[0]   the answer's state
 *   at[d]   behind d bytes of the token that is looked at
 *
 * A walk is one pass over the tree's nodes. A mask is first made as if any number of tokens
 * were left, and kept with the state, with the highest cost of what it allows. Only where fewer
 * tokens are left than that, a mask is made for this one time. When the states' room is full in
 * the middle of a walk, all but the answers' states are forgotten and at[] is made again: the
 * walk goes on where it was. */
#include "engine/grammar/matcher.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/trigger.h"

struct matcher {
    program *program;
    states_root root;
    bool padded; /* and nothing was taken yet */
};

err matcher_new(matcher **out, program *p, bool padded)
{
    matcher *m = calloc(1, sizeof *m);

    if (!m) return ERR_NOMEM;
    m->program = p;
    m->padded = padded && p->tree->pads;
    if (!states_begin(p->states, &m->root)) {
        matcher_free(m);
        return ERR_NOMEM;
    }
    *out = m;
    return ERR_OK;
}

void matcher_free(matcher *m)
{
    if (!m) return;
    states_drop(m->program->states, &m->root);
    free(m);
}

/* --- walks --- */

/* Who walks, what for, and what comes out. */
typedef struct walk {
    matcher *m;
    size_t left; /* tokens that may follow the one that is chosen */
    uint32_t worst;
    bool failed; /* the states have no room, whatever is forgotten */
} walk;

/* The first byte of a padded text is not shown if it is a space. */
static bool is_hidden(const matcher *m, size_t depth, uint8_t byte)
{
    return m->padded && depth == 1 && byte == ' ';
}

/* at[0 .. depth] once more, after states were forgotten. */
static bool retrace(walk *w, size_t depth)
{
    program *p = w->m->program;

    p->at[0] = w->m->root.state;
    for (size_t d = 1; d <= depth; d++) {
        p->at[d] = is_hidden(w->m, d, p->bytes[d - 1])
                       ? p->at[d - 1]
                       : states_step(p->states, p->at[d - 1], p->bytes[d - 1]);
        if (p->at[d] == STATES_UNKNOWN) return false;
    }
    return true;
}

/* at[depth], behind one more byte. */
static uint32_t step(walk *w, size_t depth, uint8_t byte)
{
    program *p = w->m->program;

    p->bytes[depth - 1] = byte;
    p->at[depth] = is_hidden(w->m, depth, byte)
                       ? p->at[depth - 1]
                       : states_step(p->states, p->at[depth - 1], byte);
    if (p->at[depth] != STATES_UNKNOWN) return p->at[depth];
    if (!states_forget(p->states) || !retrace(w, depth)) {
        w->failed = true;
        return STATES_DEAD;
    }
    return p->at[depth];
}

/* Allow a token that leads to a state, if what is left is enough from there. */
static void allow(walk *w, int32_t token, uint32_t cost)
{
    if (cost > w->left) return;
    if (cost > w->worst) w->worst = cost;
    w->m->program->scratch[token / 64] |= UINT64_C(1) << token % 64;
}

/* A walk ends early where it has gone through so many configurations, some tenths of a second:
 * a grammar that is in hundreds at once may not stop everybody's answers. What is left out then
 * depends on the grammar and the text alone, not on what was known before. */
#define MOST_WORK (UINT64_C(1) << 24)

/* Tokens of one byte, whose nodes are those at the top: with them a text can always be closed.
 */
static void walk_bytes(walk *w)
{
    const program *p = w->m->program;
    const token_tree_node *nodes = p->tree->nodes;

    for (size_t i = 0; i < p->tree->n_nodes && !w->failed; i = nodes[i].skip) {
        const uint32_t state = step(w, 1, nodes[i].byte);

        if (state != STATES_DEAD && nodes[i].token >= 0 && !is_hidden(w->m, 1, nodes[i].byte))
            allow(w, nodes[i].token, states_cost(p->states, state));
    }
}

/* A space that is not shown is no progress: the token that is nothing else is left out. Nearly
 * every step is a look-up here; what is not known yet is asked for, which may move the states.
 */
static void walk_tree(walk *w)
{
    uint64_t work = 0;
    program *p = w->m->program;
    const token_tree_node *nodes = p->tree->nodes;
    const size_t n = p->tree->n_nodes;
    states_view view = states_look(p->states);

    for (size_t i = 0; i < n && work < MOST_WORK;) {
        const token_tree_node x = nodes[i];
        uint32_t state = p->at[x.depth];

        if (!x.again) {
            p->bytes[x.depth - 1] = x.byte;
            work += view.sizes[p->at[x.depth - 1]];
            state = view.rows[p->at[x.depth - 1] * view.n_classes + view.byte_class[x.byte]];
            if (state == STATES_UNKNOWN || (x.depth == 1 && w->m->padded)) {
                state = step(w, x.depth, x.byte);
                view = states_look(p->states);
                if (w->failed) return;
            }
            p->at[x.depth] = state;
        }
        if (state == STATES_DEAD) {
            i = x.skip;
            continue;
        }
        if (x.token >= 0 && !is_hidden(w->m, x.depth, x.byte))
            allow(w, x.token, view.costs[state]);
        i++;
    }
}

/* Where a trigger is waited for, control tokens may come, too: by their names. */
static void walk_controls(walk *w)
{
    program *p = w->m->program;

    for (size_t i = 0; i < p->tree->n_controls && !w->failed; i++) {
        const gguf_text name = p->tree->pieces[p->tree->controls[i]];
        uint32_t state = p->at[0] = w->m->root.state;

        for (size_t k = 0; k < name.n && state != STATES_DEAD; k++) {
            state = states_step(p->states, state, (uint8_t)name.at[k]);
            if (state == STATES_UNKNOWN) w->failed = !states_forget(p->states);
            if (state == STATES_UNKNOWN) break;
        }
        if (state == STATES_UNKNOWN)
            i -= !w->failed; /* once more, with room */
        else if (state != STATES_DEAD)
            allow(w, p->tree->controls[i], states_cost(p->states, state));
    }
}

/* Into scratch; false: there is no mask. */
static bool make_mask(walk *w)
{
    program *p = w->m->program;

    memset(p->scratch, 0, p->tree->words * sizeof *p->scratch);
    w->worst = 0;
    p->at[0] = w->m->root.state;
    walk_bytes(w);
    walk_tree(w);
    if (trigger_is_awaited(p->grammar, p->states, w->m->root.state)) walk_controls(w);
    if (states_may_end(p->states, w->m->root.state))
        for (size_t i = 0; i < p->tree->words; i++) p->scratch[i] |= p->tree->ends[i];
    return !w->failed;
}

static bool is_empty(const uint64_t *mask, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (mask[i]) return false;
    return true;
}

/* What the first token of a padded text may be is another question than what follows: it is not
 * kept. */
static const uint64_t *whole_mask(matcher *m, uint32_t *worst)
{
    program *p = m->program;
    const uint64_t *kept = m->padded ? NULL : states_mask(p->states, m->root.state, worst);
    walk w = {.m = m, .left = GRAMMAR_NEVER};
    uint64_t *mask;

    if (kept) return kept;
    if (!make_mask(&w)) return NULL;
    *worst = w.worst;
    if (m->padded) return p->scratch;
    mask = states_keep_mask(p->states, m->root.state, w.worst);
    memcpy(mask, p->scratch, p->tree->words * sizeof *mask);
    return mask;
}

const uint64_t *matcher_mask(matcher *m, size_t left)
{
    walk w = {.m = m, .left = left};
    uint32_t worst;
    const uint64_t *mask = whole_mask(m, &worst);

    if (mask && worst > left) mask = make_mask(&w) ? m->program->scratch : NULL;
    return mask && !is_empty(mask, m->program->tree->words) ? mask : NULL;
}

/* --- taking tokens --- */

/* The state goes along byte for byte, so that it is kept if others are forgotten. */
static bool take_byte(matcher *m, uint8_t byte)
{
    states *s = m->program->states;
    uint32_t next = states_step(s, m->root.state, byte);

    if (next == STATES_UNKNOWN && states_forget(s)) next = states_step(s, m->root.state, byte);
    if (next == STATES_UNKNOWN) next = STATES_DEAD;
    m->root.state = next;
    return next != STATES_DEAD;
}

bool matcher_accept(matcher *m, int32_t id)
{
    const token_tree *v = m->program->tree;
    gguf_text piece;

    if (id < 0 || (size_t)id >= v->V) return false;
    piece = v->pieces[id];
    if (v->use[id] == TOKEN_TREE_END) return matcher_may_end(m);
    if (v->use[id] == TOKEN_TREE_CONTROL &&
        !trigger_is_awaited(m->program->grammar, m->program->states, m->root.state))
        return false;
    for (size_t i = 0; i < piece.n; i++)
        if (!is_hidden(m, i + 1, (uint8_t)piece.at[i]) && !take_byte(m, (uint8_t)piece.at[i]))
            return false;
    m->padded = false;
    return true;
}

uint32_t matcher_state(const matcher *m)
{
    return m->root.state;
}

bool matcher_may_end(const matcher *m)
{
    return states_may_end(m->program->states, m->root.state);
}

bool matcher_is_complete(const matcher *m)
{
    return matcher_may_end(m) && !states_goes_on(m->program->states, m->root.state);
}

/* 64 tokens at a time where all are allowed, or none. */
void matcher_apply(const uint64_t *mask, float *logits, size_t V)
{
    for (size_t i = 0; i < V; i += 64) {
        const uint64_t bits = mask[i / 64];
        const size_t n = V - i < 64 ? V - i : 64;

        if (bits == UINT64_MAX) continue;
        for (size_t k = 0; k < n; k++)
            if (!(bits >> k & 1)) logits[i + k] = -INFINITY;
    }
}

int32_t matcher_first(const uint64_t *mask, size_t V)
{
    size_t id = 0;

    while (id + 1 < V && !matcher_allows(mask, (int32_t)id)) id++;
    return (int32_t)id;
}
