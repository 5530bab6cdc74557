/* walk.c - which tokens lead to a state from which a text can still be closed.
 *
 *   at[0]   the answer's state
 *   at[d]   behind d bytes of the token that is looked at
 *
 * A walk is one pass over the tree's nodes. When the states' room is full in the middle of it,
 * all but the answers' states are forgotten and at[] is made again: the walk goes on where it
 * was. So it does after it was cut: at[] belongs to the program, and another answer may have
 * used it meanwhile; the bytes that lead to a node are the walk's own. */
#include "engine/grammar/walk.h"

#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/grammar/trigger.h"

/* A walk ends early where it has gone through so many configurations: a grammar that is in
 * hundreds at once may not keep its answer, and a place among those who run, for ever. What is
 * left out then depends on the grammar and the text alone, not on what was known before. */
#define MOST_WORK (UINT64_C(1) << 24)

/* Steps that are no look-ups between two looks at the clock: each is some microseconds, and 40
 * at the worst. */
enum { ASKED_AT_ONCE = 16 };

err walk_open(walk *w, program *p)
{
    *w = (walk){.program = p, .part = WALK_OVER};
    w->mask = malloc((p->tree->words + 1) * sizeof *w->mask);
    w->bytes = malloc(p->tree->longest + 1);
    return w->mask && w->bytes ? ERR_OK : ERR_NOMEM;
}

void walk_close(walk *w)
{
    free(w->mask);
    free(w->bytes);
    *w = (walk){0};
}

void walk_begin(walk *w, size_t left, bool padded)
{
    memset(w->mask, 0, w->program->tree->words * sizeof *w->mask);
    w->part = WALK_SINGLES;
    w->next = 0;
    w->left = left;
    w->padded = padded;
    w->work = 0;
    w->worst = 0;
    w->failed = false;
}

/* --- steps --- */

static uint32_t step_from(walk *w, size_t depth)
{
    program *p = w->program;
    const uint8_t byte = w->bytes[depth - 1];

    return walk_is_hidden(w->padded, depth, byte)
               ? p->at[depth - 1]
               : states_step(p->states, p->at[depth - 1], byte);
}

/* at[0 .. depth] once more; false: there is no room for them. */
static bool retrace(walk *w, const states_root *root, size_t depth)
{
    w->program->at[0] = root->state;
    for (size_t d = 1; d <= depth; d++) {
        const uint32_t state = step_from(w, d);

        if (state == STATES_UNKNOWN) return false;
        w->program->at[d] = state;
    }
    return true;
}

/* The same, and other states are forgotten for it where they must. */
static void retrace_with_room(walk *w, const states_root *root, size_t depth)
{
    if (retrace(w, root, depth)) return;
    if (!states_forget(w->program->states) || !retrace(w, root, depth)) w->failed = true;
}

static void look_at_clock(walk *w, uint64_t until_ns)
{
    if (++w->asked % ASKED_AT_ONCE == 0 && until_ns != UINT64_MAX)
        w->late = clock_ns() >= until_ns;
}

/* at[depth], behind one more byte. */
static uint32_t step(walk *w, const states_root *root, size_t depth, uint64_t until_ns)
{
    uint32_t state = step_from(w, depth);

    look_at_clock(w, until_ns);
    if (state == STATES_UNKNOWN) {
        retrace_with_room(w, root, depth);
        state = w->failed ? STATES_DEAD : w->program->at[depth];
    }
    return w->program->at[depth] = state;
}

/* Allow a token that leads to a state, if what is left is enough from there. */
static void allow(walk *w, int32_t token, uint32_t cost)
{
    if (cost > w->left) return;
    if (cost > w->worst) w->worst = cost;
    w->mask[token / 64] |= UINT64_C(1) << token % 64;
}

/* --- the parts --- */

/* Tokens of one byte, whose nodes are those at the top: with them a text can always be closed,
 * so they come first, whatever the bound of work leaves out. */
static bool walk_singles(walk *w, const states_root *root, uint64_t until_ns)
{
    const program *p = w->program;
    const token_tree_node *nodes = p->tree->nodes;

    for (; w->next < p->tree->n_nodes && !w->failed; w->next = nodes[w->next].skip) {
        const token_tree_node x = nodes[w->next];
        uint32_t state;

        if (w->late) return false;
        w->bytes[0] = x.byte;
        state = step(w, root, 1, until_ns);
        if (state != STATES_DEAD && x.token >= 0 && !walk_is_hidden(w->padded, 1, x.byte))
            allow(w, x.token, states_cost(p->states, state));
    }
    return true;
}

/* Nearly every step is a look-up here; what is not known yet is asked for, which may move the
 * states. A space that is not shown is no progress: the token that is nothing else is left out.
 */
static bool walk_tree(walk *w, const states_root *root, uint64_t until_ns)
{
    program *p = w->program;
    const token_tree_node *nodes = p->tree->nodes;
    const size_t n = p->tree->n_nodes;
    size_t i = w->next;
    uint64_t work = w->work;
    states_view view = states_look(p->states);

    while (i < n && work < MOST_WORK && !w->late) {
        const token_tree_node x = nodes[i];
        uint32_t state = p->at[x.depth];

        if (!x.again) {
            w->bytes[x.depth - 1] = x.byte;
            work += view.sizes[p->at[x.depth - 1]];
            state = view.rows[p->at[x.depth - 1] * view.n_classes + view.byte_class[x.byte]];
            if (state == STATES_UNKNOWN || (x.depth == 1 && w->padded)) {
                state = step(w, root, x.depth, until_ns);
                view = states_look(p->states);
                if (w->failed) return true;
            }
            p->at[x.depth] = state;
        }
        if (state != STATES_DEAD && x.token >= 0 && !walk_is_hidden(w->padded, x.depth, x.byte))
            allow(w, x.token, view.costs[state]);
        i = state == STATES_DEAD ? x.skip : i + 1;
    }
    w->next = i;
    w->work = work;
    return i >= n || work >= MOST_WORK;
}

/* The state behind a control token's name. */
static uint32_t state_behind(walk *w, const states_root *root, gguf_text name)
{
    states *s = w->program->states;
    uint32_t state = root->state;
    bool forgot = false;

    for (size_t k = 0; k < name.n && state != STATES_DEAD;) {
        const uint32_t next = states_step(s, state, (uint8_t)name.at[k++]);

        if (next != STATES_UNKNOWN) {
            state = next;
        } else if (!forgot && states_forget(s)) { /* once more from the beginning, with room */
            forgot = true;
            state = root->state;
            k = 0;
        } else {
            w->failed = true;
            return STATES_DEAD;
        }
    }
    return state;
}

/* Where a trigger is waited for, control tokens may come, too: by their names. */
static bool walk_controls(walk *w, const states_root *root, uint64_t until_ns)
{
    const token_tree *tree = w->program->tree;

    for (; w->next < tree->n_controls && !w->failed; w->next++) {
        const int32_t id = tree->controls[w->next];
        uint32_t state;

        if (w->late) return false;
        state = state_behind(w, root, tree->pieces[id]);
        look_at_clock(w, until_ns);
        if (state != STATES_DEAD) allow(w, id, states_cost(w->program->states, state));
    }
    return true;
}

/* Of the node where the tree goes on, what lies above it, and it itself where the next one has
 * no byte of its own. */
static void find_place(walk *w, const states_root *root)
{
    const token_tree *tree = w->program->tree;
    size_t depth = 0;

    if (w->part == WALK_TREE && w->next < tree->n_nodes) {
        const token_tree_node x = tree->nodes[w->next];

        depth = x.again ? x.depth : x.depth - 1u;
    }
    retrace_with_room(w, root, depth);
}

static void enter(walk *w, walk_part part)
{
    w->part = part;
    w->next = 0;
}

bool walk_go_on(walk *w, const states_root *root, uint64_t until_ns)
{
    const program *p = w->program;

    w->late = false;
    find_place(w, root);
    if (w->part == WALK_SINGLES && !w->failed) {
        if (!walk_singles(w, root, until_ns)) return false;
        enter(w, WALK_TREE);
    }
    if (w->part == WALK_TREE && !w->failed) {
        if (!walk_tree(w, root, until_ns)) return false;
        enter(w, WALK_CONTROLS);
    }
    if (w->part == WALK_CONTROLS && !w->failed &&
        trigger_is_awaited(p->grammar, p->states, root->state) &&
        !walk_controls(w, root, until_ns))
        return false;
    if (!w->failed && states_may_end(p->states, root->state))
        for (size_t i = 0; i < p->tree->words; i++) w->mask[i] |= p->tree->ends[i];
    w->part = WALK_OVER;
    return true;
}
