/* experts.c - what logits of the router become, and the best of them.
 *
 * A softmax of all experts whose weights are made to sum to 1 afterwards is the softmax of
 * those chosen, and the choice is that of the logits: what the others would have had cancels.
 * So both are computed as the latter, unless a bias decides between probabilities. */
#include "engine/model/experts.h"

#include "engine/kern/kern.h"

/* Is expert e among the first n of out? */
static bool is_taken(const expert_share *out, size_t n, size_t e)
{
    for (size_t i = 0; i < n; i++)
        if (out[i].expert == e) return true;
    return false;
}

/* Put e among out [n], which is in ascending order. */
static void insert(expert_share *out, size_t n, size_t e)
{
    for (; n && out[n - 1].expert > e; n--) out[n] = out[n - 1];
    out[n].expert = e;
}

static float largest(const float *x, size_t n)
{
    float top = x[0];

    for (size_t i = 1; i < n; i++)
        if (x[i] > top) top = x[i];
    return top;
}

/* Probabilities of all, in place. */
static void weigh_all(experts_gate gate, float *x, size_t X)
{
    const float top = gate == EXPERTS_SOFTMAX ? largest(x, X) : 0;
    float sum = 0;

    for (size_t e = 0; e < X; e++) {
        x[e] = gate == EXPERTS_SOFTMAX ? kern_exp(x[e] - top) : 1 / (1 + kern_exp(-x[e]));
        sum += x[e];
    }
    for (size_t e = 0; gate == EXPERTS_SOFTMAX && e < X; e++) x[e] /= sum;
}

static void choose(const experts_rule *r, const float *x, size_t X, expert_share *out)
{
    for (size_t n = 0; n < r->used; n++) {
        size_t best = X;
        float most = 0;

        for (size_t e = 0; e < X; e++) {
            const float score = x[e] + (r->bias ? r->bias[e] : 0);

            if (is_taken(out, n, e) || (best < X && !(score > most))) continue;
            best = e;
            most = score;
        }
        insert(out, n, best);
    }
}

void experts_choose(const experts_rule *r, float *logits, size_t X, expert_share *out)
{
    const bool among = r->gate == EXPERTS_CHOSEN ||
                       (r->gate == EXPERTS_SOFTMAX && r->sum && !r->bias);
    const float top = among ? largest(logits, X) : 0;
    float sum = 0;

    if (!among) weigh_all(r->gate, logits, X);
    choose(r, logits, X, out);
    for (size_t i = 0; i < r->used; i++) {
        const float x = logits[out[i].expert];

        out[i].weight = among ? kern_exp(x - top) : x;
        sum += out[i].weight;
    }
    for (size_t i = 0; i < r->used; i++) {
        if (among || (r->sum && sum > 0)) out[i].weight /= sum;
        out[i].weight *= r->scale;
    }
}
