/* matcher.c - the mask of an answer's state: kept, or walked for (walk.h).
 *
 * A mask is first made as if any number of tokens were left, and kept with the state, with the
 * highest cost of what it allows. Only where fewer tokens are left than that, a mask is made
 * for this one time:
 *
 *   prepare -> kept with the state? --yes--> worst <= left? --yes--> that is it
 *                    | no                         | no
 *               walk, any left ---- keep it ------'--- walk, `left` ---> that is it */
#include "engine/grammar/matcher.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/trigger.h"
#include "engine/grammar/walk.h"

struct matcher {
    program *program;
    states_root root;
    walk walk;
    bool walking; /* and cut */
    bool padded;  /* and nothing was taken yet */
};

err matcher_new(matcher **out, program *p, bool padded)
{
    matcher *m = calloc(1, sizeof *m);

    if (!m) return ERR_NOMEM;
    m->program = p;
    m->padded = padded && p->tree->pads;
    if (walk_open(&m->walk, p) != ERR_OK || !states_begin(p->states, &m->root)) {
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
    walk_close(&m->walk);
    free(m);
}

/* --- masks --- */

static bool is_empty(const uint64_t *mask, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (mask[i]) return false;
    return true;
}

/* What the first token of a padded text may be is another question than what follows: it is not
 * kept. */
static void keep(matcher *m)
{
    const walk *w = &m->walk;
    const size_t words = m->program->tree->words;

    if (w->failed || m->padded || w->left != GRAMMAR_NEVER) return;
    memcpy(states_keep_mask(m->program->states, m->root.state, w->worst), w->mask,
           words * sizeof *w->mask);
}

/* The mask that is kept, where it holds for what is left; or a walk is begun. */
static const uint64_t *kept_mask(matcher *m, size_t left)
{
    uint32_t worst;
    const uint64_t *kept = m->padded ? NULL
                                     : states_mask(m->program->states, m->root.state, &worst);

    if (kept && worst <= left) return kept;
    walk_begin(&m->walk, kept ? left : GRAMMAR_NEVER, m->padded);
    m->walking = true;
    return NULL;
}

bool matcher_prepare(matcher *m, size_t left, uint64_t until_ns, const uint64_t **mask)
{
    walk *w = &m->walk;

    *mask = m->walking ? NULL : kept_mask(m, left);
    while (m->walking) {
        if (!walk_go_on(w, &m->root, until_ns)) return false;
        keep(m);
        if (w->failed || w->worst <= left)
            m->walking = false;
        else
            walk_begin(w, left, m->padded);
        *mask = w->failed ? NULL : w->mask;
    }
    if (*mask && is_empty(*mask, m->program->tree->words)) *mask = NULL;
    return true;
}

const uint64_t *matcher_mask(matcher *m, size_t left)
{
    const uint64_t *mask;

    matcher_prepare(m, left, UINT64_MAX, &mask);
    return mask;
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
        if (!walk_is_hidden(m->padded, i + 1, (uint8_t)piece.at[i]) &&
            !take_byte(m, (uint8_t)piece.at[i]))
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
