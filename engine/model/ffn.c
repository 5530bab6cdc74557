/* ffn.c - networks of a layer: x Wgate and x Wup, bent, through Wdown.
 *
 *   dense     one network for all rows
 *   experts   the router's logits choose some for each row; rows that chose the same one are
 *             gathered, so that its weights are read once, and computed in ascending order of
 *             experts: a row's sum has one order whatever rows share the step (row purity)
 *   shared    one more for every row, after the experts, weighed by its own gate if any */
#include "engine/model/ffn.h"

#include <string.h>

#include "engine/model/step.h"

typedef struct forward forward;

static int inputs_of(const forward *f, const model_ffn *ffn, product *list)
{
    list[0] = (product){&ffn->gate, f->gate};
    list[1] = (product){&ffn->up, f->up};
    return ffn->up.data ? 2 : 1;
}

/* y [T,D] = Wdown (silu(Wgate x) * Wup x), or another activation's. arXiv:2002.05202 */
static void run_network(forward *f, const model_ffn *ffn, product_source x, float *y)
{
    const product down = {&ffn->down, y};
    const bool codes = product_wants_codes(&down, 1);
    product in[2];
    const int n = inputs_of(f, ffn, in);

    product_run(f, x, in, n);
    product_do_rows(
        f, &(product_rows){
               .T = x.T, .width = ffn->gate.rows, .x = f->gate, .bend = ffn, .codes = codes});
    product_run(f, (product_source){f->gate, x.T, codes}, &down, 1);
}

/* --- experts --- */

/* The rows of x that expert e computes, to picked; returns how many. */
static size_t pick_rows(forward *f, size_t e)
{
    const size_t D = f->m->D, used = f->m->rule.used;
    const bool weighed = f->m->arch->has & ARCH_WEIGHED_IN;
    size_t n = 0;

    for (size_t t = 0; t < f->rows; t++)
        for (size_t i = 0; i < used; i++) {
            const expert_share *s = &f->shares[t * used + i];
            float *row = f->picked + n * D;

            if (s->expert != e) continue;
            memcpy(row, f->x + t * D, D * sizeof *f->x);
            for (size_t d = 0; weighed && d < D; d++) row[d] *= s->weight;
            f->picks[n++] = (step_pick){t, weighed ? 1 : s->weight};
        }
    return n;
}

/* mixed += weight * (y + bias), row by row. */
static void mix_row(const forward *f, const model_ffn *ffn, size_t row, float weight,
                    const float *y)
{
    float *mixed = f->mixed + row * f->m->D;
    const float *bias = ffn->down_bias;

    for (size_t d = 0; d < f->m->D; d++) mixed[d] += weight * (bias ? y[d] + bias[d] : y[d]);
}

static void choose(forward *f, const model_layer *layer)
{
    const model *m = f->m;
    experts_rule rule = m->rule;

    rule.bias = layer->choice_bias;
    for (size_t t = 0; t < f->rows; t++) {
        float *logits = f->route + t * m->X;

        for (size_t e = 0; layer->router_bias && e < m->X; e++)
            logits[e] += layer->router_bias[e];
        experts_choose(&rule, logits, m->X, f->shares + t * rule.used);
    }
}

static void run_experts(forward *f, const model_layer *layer)
{
    const size_t D = f->m->D;

    choose(f, layer);
    memset(f->mixed, 0, f->rows * D * sizeof *f->mixed);
    for (size_t e = 0; e < f->m->X; e++) {
        const model_ffn *ffn = &layer->experts[e];
        const product_source picked = {f->picked, pick_rows(f, e), false};

        if (picked.T) run_network(f, ffn, picked, f->picked);
        for (size_t i = 0; i < picked.T; i++)
            mix_row(f, ffn, f->picks[i].row, f->picks[i].weight, f->picked + i * D);
    }
}

/* x is still in f->x: the experts read copies of its rows. */
static void run_shared(forward *f, const model_layer *layer)
{
    const product gate = {&layer->shared_gate, f->route};
    const bool weighed = layer->shared_gate.data != NULL;
    const product_source x = {f->x, f->rows, false};

    if (!layer->shared.down.data) return;
    if (weighed) product_run(f, x, &gate, 1);
    run_network(f, &layer->shared, x, f->picked);
    for (size_t t = 0; t < f->rows; t++)
        mix_row(f, &layer->shared, t, weighed ? 1 / (1 + kern_exp(-f->route[t])) : 1,
                f->picked + t * f->m->D);
}

/* --- a layer --- */

static product router_of(const forward *f, const model_layer *layer)
{
    return (product){&layer->router, f->route};
}

int ffn_inputs(const forward *f, size_t l, product *list)
{
    const model_layer *layer = &f->m->layers[l];

    if (!layer->experts) return inputs_of(f, &layer->ffn, list);
    list[0] = router_of(f, layer);
    return 1;
}

void ffn_run(forward *f, size_t l, product_source x)
{
    const model_layer *layer = &f->m->layers[l];
    const product router = router_of(f, layer);

    if (!layer->experts) {
        run_network(f, &layer->ffn, x, f->x);
        product_defer(
            f, (step_residual){f->x, layer->ffn.down_bias, layer->ffn_post, &layer->ffn_sum});
        return;
    }
    product_run(f, x, &router, 1);
    run_experts(f, layer);
    run_shared(f, layer);
    product_defer(f, (step_residual){f->mixed, NULL, layer->ffn_post, &layer->ffn_sum});
}
