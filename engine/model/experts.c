/* experts.c - the best of a few logits, and their softmax. */
#include "engine/model/experts.h"

#include "engine/kern/kern.h"

/* Is expert e among the first n of out? */
static int is_taken(const expert_share *out, size_t n, size_t e)
{
    for (size_t i = 0; i < n; i++)
        if (out[i].expert == e) return 1;
    return 0;
}

/* Put e among out [n], which is in ascending order. */
static void insert(expert_share *out, size_t n, size_t e)
{
    for (; n && out[n - 1].expert > e; n--) out[n] = out[n - 1];
    out[n].expert = e;
}

void experts_choose(const float *logits, size_t X, size_t used, expert_share *out)
{
    float top = 0, sum = 0;

    for (size_t n = 0; n < used; n++) {
        size_t best = X;

        for (size_t e = 0; e < X; e++)
            if (!is_taken(out, n, e) && (best == X || logits[e] > logits[best])) best = e;
        if (n == 0) top = logits[best];
        insert(out, n, best);
    }
    for (size_t i = 0; i < used; i++) {
        out[i].weight = kern_exp(logits[out[i].expert] - top);
        sum += out[i].weight;
    }
    for (size_t i = 0; i < used; i++) out[i].weight /= sum;
}
