/* sample.c - the rules in their order, then one draw.
 *
 *   logits -> penalties, bias -> greedy: the best id
 *                             -> min_p, top_k -> softmax at a temperature -> top_p -> draw
 *
 * Nothing is sorted that need not be: without top_k and top_p all candidates stay in the order
 * of their ids and the draw walks them. Sums of probabilities are double, in that same order,
 * so that a seed gives the same token wherever logits and expf have the same bits. */
#include "engine/model/sample.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

const sample_params sample_greedy = {.top_p = 1, .repetition_penalty = 1};

typedef struct candidate {
    float logit;
    float p;
    int32_t id;
} candidate;

struct sampler {
    sample_params p;
    size_t V;
    uint64_t state;
    candidate *list;    /* [V] */
    uint32_t *answered; /* [V] times in the answer */
    bool *seen;         /* [V] in prompt or answer */
    int32_t *tokens;    /* ids seen, each once; [V] */
    size_t n_tokens;
};

/* All memory is taken here, some 20 bytes a token of the vocabulary: picking allocates nothing.
 */
err sampler_new(sampler **out, size_t V, const sample_params *p)
{
    sampler *s = calloc(1, sizeof *s);

    if (!s) return ERR_NOMEM;
    *s = (sampler){.p = *p, .V = V, .state = p->seed};
    s->list = malloc(V * sizeof *s->list);
    s->answered = calloc(V, sizeof *s->answered);
    s->seen = calloc(V, sizeof *s->seen);
    s->tokens = malloc(V * sizeof *s->tokens);
    if (!s->list || !s->answered || !s->seen || !s->tokens) {
        sampler_free(s);
        return ERR_NOMEM;
    }
    *out = s;
    return ERR_OK;
}

void sampler_free(sampler *s)
{
    if (!s) return;
    free(s->list);
    free(s->answered);
    free(s->seen);
    free(s->tokens);
    free(s);
}

/* Ids seen are kept as a list too: a penalty then touches as many logits as there are
 * different tokens, not V. */
void sampler_see_prompt(sampler *s, int32_t id)
{
    assert(id >= 0 && (size_t)id < s->V);
    if (!s->seen[id]) s->tokens[s->n_tokens++] = id;
    s->seen[id] = true;
}

void sampler_see_answer(sampler *s, int32_t id)
{
    sampler_see_prompt(s, id);
    s->answered[id]++;
}

/* The next of 2^53 values in [0, 1). splitmix64: Steele, Lea, Flood, OOPSLA 2014. 53 bits
 * are what a double holds between 0 and 1 in equal steps. */
static double draw(sampler *s)
{
    uint64_t z = s->state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* As OpenAI and llama.cpp have it: repetition multiplies, so its sense depends on the sign;
 * presence and frequency subtract. Bias comes last, so that -100 bans whatever the penalties
 * did. */
static void penalize(const sampler *s, float *logits)
{
    const sample_params *p = &s->p;

    for (size_t i = 0; i < s->n_tokens; i++) {
        const int32_t id = s->tokens[i];
        float *x = &logits[id];

        *x = *x > 0 ? *x / p->repetition_penalty : *x * p->repetition_penalty;
        if (s->answered[id])
            *x -= p->presence_penalty + (float)s->answered[id] * p->frequency_penalty;
    }
    for (size_t i = 0; i < p->n_bias; i++) {
        if (p->bias[i].id < 0 || (size_t)p->bias[i].id >= s->V) continue;
        if (p->bias[i].add <= -100)
            logits[p->bias[i].id] = -INFINITY;
        else
            logits[p->bias[i].id] += p->bias[i].add;
    }
}

/* Strictly greater: of equal logits the lower id wins, here as in every sort below. */
int32_t sample_best_id(const float *logits, size_t V)
{
    size_t best = 0;

    for (size_t i = 1; i < V; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

/* Best first; equal logits by id. */
static int by_logit(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* All that temperature, top_k and min_p leave, best first where an order is needed. min_p is
 * a bound on the probability relative to the best one, which is one on the logit: no softmax
 * is needed for it. Logits are divided by the temperature in expf alone, after the best was
 * taken off, so nothing overflows. */
static size_t list_candidates(sampler *s, const float *logits)
{
    const sample_params *p = &s->p;
    const float best = logits[sample_best_id(logits, s->V)];
    const float floor = p->min_p > 0 ? best + logf(p->min_p) * p->temperature : -INFINITY;
    const bool ordered = p->top_p < 1 || (p->top_k > 0 && (size_t)p->top_k < s->V);
    size_t n = 0;

    for (size_t i = 0; i < s->V; i++)
        if (logits[i] >= floor && logits[i] > -INFINITY)
            s->list[n++] = (candidate){.logit = logits[i], .id = (int32_t)i};
    if (ordered) qsort(s->list, n, sizeof *s->list, by_logit);
    if (p->top_k > 0 && n > (size_t)p->top_k) n = (size_t)p->top_k;
    for (size_t i = 0; i < n; i++)
        s->list[i].p = expf((s->list[i].logit - best) / p->temperature);
    return n;
}

static double mass(const sampler *s, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) sum += s->list[i].p;
    return sum;
}

/* The last candidate takes what rounding left of the draw. */
int32_t sampler_pick(sampler *s, float *logits)
{
    double total, at;
    size_t n;

    penalize(s, logits);
    if (!(s->p.temperature > 0)) return sample_best_id(logits, s->V);
    n = list_candidates(s, logits);
    at = draw(s); /* one draw a token, whatever the rules left */
    if (!n) return sample_best_id(logits, s->V);
    total = mass(s, n);
    if (s->p.top_p < 1) {
        double kept = 0;
        size_t k = 0;

        while (k < n && (k == 0 || kept < s->p.top_p * total)) kept += s->list[k++].p;
        n = k;
        total = kept;
    }
    at *= total;
    for (size_t i = 0; i < n; i++) {
        at -= s->list[i].p;
        if (at < 0) return s->list[i].id;
    }
    return s->list[n - 1].id;
}

/* In double: a float sum of 100,000 terms would be rounded 100,000 times. */
double sample_log_sum(const float *logits, size_t V)
{
    const double best = logits[sample_best_id(logits, V)]; /* so that no exp overflows */
    double sum = 0;

    for (size_t i = 0; i < V; i++) sum += exp(logits[i] - best);
    return best + log(sum);
}

/* Insertion into a short list: nearly every logit is below its last. */
void sample_best(const float *logits, size_t V, size_t k, sample_top *best)
{
    const double all = k ? sample_log_sum(logits, V) : 0;
    size_t n = 0;

    for (size_t i = 0; i < V && k; i++) {
        size_t at = n;

        if (n == k && logits[i] <= best[n - 1].logprob) continue;
        while (at > 0 && logits[i] > best[at - 1].logprob) at--;
        if (n < k) n++;
        for (size_t j = n - 1; j > at; j--) best[j] = best[j - 1];
        best[at] = (sample_top){(int32_t)i, logits[i]};
    }
    for (size_t i = 0; i < n; i++) best[i].logprob = (float)(best[i].logprob - all);
}

float sample_logprob(const float *logits, size_t V, int32_t id)
{
    assert(id >= 0 && (size_t)id < V);
    return (float)(logits[id] - sample_log_sum(logits, V));
}
