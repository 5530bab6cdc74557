/* calibrate.c - finds theta, and makes the plan of what the loop found at it.
 *
 *    bits
 *     |  *            a smaller theta buys more bits; one pass of the loop says how many
 *     |    *
 *    budget ---*----------- the smallest theta that bisection met within it, in 9 halvings
 *     |            *        of 10^-6 .. 10
 *     '---------------> theta
 *
 * 85 % of the time are passes, the rest is reading the held-out text with the plan. */
#include "xcache/calibrate/calibrate.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "xcache/calibrate/comparison.h"
#include "xcache/calibrate/draft.h"
#include "xcache/calibrate/loop.h"

enum { BISECTIONS = 9, THETAS = 1 << BISECTIONS };
enum { RATIOS = 2 * (PLAN_RATIO_MAX - PLAN_RATIO_MIN) + 1, SEARCHES = 7 };

static const double theta_least = -6, theta_most = 1; /* powers of ten */

struct calibration {
    reader_model r;
    reader_text held;
    plan_hash hash;
    loop *loop;
};

/* --- bisection --- */

/* The thetas that bisection can visit are the nodes of a binary tree: 1, then 2n below and
 * 2n + 1 above. What a pass spent is the same whatever budget it was made for, so searches
 * for several ratios share what they learn. */
typedef struct known_passes {
    struct {
        size_t code_bits; /* 0: not known */
        bool at_least;    /* the pass ended early */
    } of[THETAS];
    bool used;
} known_passes;

/* Does it say whether the node fits the budget? Then *fits. */
static bool lookup(const known_passes *known, size_t node, size_t budget, bool *fits)
{
    const size_t bits = known->of[node].code_bits;

    /* a pass that ended early says nothing of a larger budget than its own */
    *fits = bits <= budget;
    return bits && !(known->of[node].at_least && *fits);
}

static void note(known_passes *known, size_t node, const draft *d)
{
    known->of[node].code_bits = d->code_bits;
    known->of[node].at_least = !draft_fits(d);
    known->used = true;
}

/* Is the draft of this node within the budget? By what is known, or by a pass, which becomes
 * *best if it is. */
static err try_node(calibration *c, known_passes *known, size_t node, double theta, draft *best,
                    draft *next, const stage *p, bool *fits)
{
    if (lookup(known, node, next->budget, fits)) return ERR_OK;
    TRY(loop_run(c->loop, next, theta, p));
    note(known, node, next);
    *fits = draft_fits(next);
    if (*fits) draft_swap(best, next);
    return ERR_OK;
}

/* The last draft within the budget becomes *best; its code_bits are 0 if there was none. */
static err bisect(calibration *c, known_passes *known, draft *best, draft *next, const stage *p)
{
    /* one pass more where the last one may have to be run again */
    const double share = 1.0 / (BISECTIONS + known->used);
    double low = theta_least, high = theta_most, theta = 0;
    size_t node = 1;

    for (int i = 0; i < BISECTIONS; i++) {
        const double middle = 0.5 * (low + high), here = pow(10, middle);
        const stage part = stage_part(p, i * share, share);
        bool fits;

        TRY(try_node(c, known, node, here, best, next, &part, &fits));
        node = 2 * node + !fits;
        if (fits)
            high = middle, theta = here;
        else
            low = middle;
    }
    if (best->theta != theta) { /* that it fits was known from a pass before */
        const stage part = stage_part(p, 1 - share, share);

        TRY(loop_run(c->loop, best, theta, &part));
    }
    return ERR_OK;
}

/* --- plans --- */

/* How far the mode is from exact on the held-out text, as the plan records it. */
static err measure(calibration *c, plan *made, const stage *p)
{
    const size_t tokens = c->held.rows * (c->held.row_tokens - 1);
    const reader_room room = {.tokens = c->held.row_tokens, .page_format = KV_FLOAT};
    comparison *beside = NULL;
    char name[16];
    const char *at;
    err e;

    if (!tokens) return ERR_OK;
    snprintf(name, sizeof name, "klt%g", plan_read_about(made).ratio);
    TRY(comparison_open(&beside, &c->r, &(reader_mode){name, made}, 1, &room, &at));
    e = comparison_read(beside, &c->held, p);
    if (e == ERR_OK) plan_set_kl(made, comparison_mean(beside, 1).kl, tokens);
    comparison_close(beside);
    return e;
}

static err make_plan(calibration *c, const draft *best, plan_about about, const stage *p,
                     plan **out)
{
    plan *made = NULL;
    err e;

    /* even the largest theta spends more: the ratio is out of reach for this model */
    if (!best->code_bits) return ERR_MODEMODEL;
    about.code_bits = best->code_bits;
    TRY(plan_make(&made, &about, best->n, best->layers));
    e = measure(c, made, p);
    if (e != ERR_OK) {
        plan_close(made);
        return e;
    }
    *out = made;
    return ERR_OK;
}

static err make(calibration *c, known_passes *known, double ratio, plan_predictor r,
                const stage *p, plan **out)
{
    const model *m = c->r.m;
    const plan_about about = {.model = c->hash,
                              .D = m->D,
                              .L = m->L,
                              .E = m->E,
                              .ratio = ratio,
                              .predictor = r,
                              .kl = -1};
    const stage passes = stage_part(p, 0, 0.85), rest = stage_part(p, 0.85, 0.15);
    draft best = {0}, next = {0};
    err e = draft_open(&best, &about);

    if (e == ERR_OK) e = draft_open(&next, &about);
    if (e == ERR_OK) e = bisect(c, known, &best, &next, &passes);
    if (e == ERR_OK) e = make_plan(c, &best, about, &rest, out);
    draft_close(&best);
    draft_close(&next);
    return e;
}

err calibrate_make(calibration *c, double ratio, plan_predictor r, const stage *p, plan **out)
{
    known_passes known = {0};

    TRY(loop_choose_predictor(c->loop, r));
    return make(c, &known, ratio, r, p, out);
}

/* Among ratios as many halves above the least as their number says. */
static err search(calibration *c, double max_kl, plan_predictor r, const stage *p, plan **best)
{
    int low = -1, high = RATIOS; /* the divergence of `low` is within max_kl, of `high` not */
    known_passes known = {0};

    /* 121 ratios are halved seven times, and the last plan that was close enough is kept */
    for (int i = 0; high - low > 1; i++) {
        const int middle = (low + high) / 2;
        const stage part = stage_part(p, (double)i / SEARCHES, 1.0 / SEARCHES);
        plan *made = NULL;
        const err e = make(c, &known, PLAN_RATIO_MIN + 0.5 * middle, r, &part, &made);

        /* no plan at that ratio counts as one that is too far */
        if (e != ERR_OK && e != ERR_MODEMODEL) return e;
        if (made && plan_read_about(made).kl <= max_kl) {
            plan_close(*best);
            *best = made;
            low = middle;
        } else {
            plan_close(made);
            high = middle;
        }
    }
    return *best ? ERR_OK : ERR_RANGE;
}

err calibrate_search(calibration *c, double max_kl, plan_predictor r, const stage *p,
                     plan **out)
{
    plan *best = NULL;
    err e;

    assert(c->held.rows);
    TRY(loop_choose_predictor(c->loop, r));
    e = search(c, max_kl, r, p, &best);
    if (e != ERR_OK) {
        plan_close(best);
        return e;
    }
    *out = best;
    return ERR_OK;
}

/* --- opening --- */

err calibrate_open(calibration **out, const gguf *g, const reader_model *r,
                   const reader_text *learn, const reader_text *held, const stage *p)
{
    calibration *c;
    err e;

    /* layer 0 is free, so there would be nothing to make a plan of */
    if (r->m->L < 2) return ERR_MODEMODEL;
    c = calloc(1, sizeof *c);
    if (!c) return ERR_NOMEM;
    c->r = *r;
    c->held = *held;
    e = plan_hash_model(g, &c->hash);
    if (e == ERR_OK) e = loop_open(&c->loop, r, learn, p);
    if (e != ERR_OK) {
        calibrate_close(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void calibrate_close(calibration *c)
{
    if (!c) return;
    loop_close(c->loop);
    free(c);
}

size_t calibrate_bytes(const calibration *c)
{
    return loop_bytes(c->loop);
}
