/* sample.c - the rules in their order, then one draw.
 *
 *   logits -> penalties, bias -> greedy: the best id
 *                             -> candidates (candidates.h), cut by rule after rule -> draw
 *
 * Nothing is sorted that need not be: where no rule asks for an order all candidates stay in
 * that of their ids and the draw walks them. */
#include "engine/model/sample.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "engine/model/candidates.h"

const sample_params sample_greedy = {.top_p = 1, .repetition_penalty = 1};

const sample_params sample_usual = {.temperature = 1,
                                    .top_p = 1,
                                    .typical_p = 1,
                                    .xtc_threshold = 0.1f,
                                    .dynatemp_exponent = 1,
                                    .mirostat_tau = 5,
                                    .mirostat_eta = 0.1f,
                                    .repetition_penalty = 1};

void sample_look_back(sample_params *p, int tokens)
{
    p->repeat_last_n = tokens > 0 ? tokens : 0;
    if (tokens) return;
    p->repetition_penalty = 1;
    p->presence_penalty = p->frequency_penalty = 0;
}

struct sampler {
    sample_params p;
    size_t V;
    uint64_t state;
    candidate *list;    /* [V] */
    uint32_t *answered; /* [V] times in the answer */
    uint32_t *seen;     /* [V] times in prompt and answer */
    int32_t *tokens;    /* ids seen, each once; [V] */
    size_t n_tokens;
    /* of a limited look back: the last ids, and whether each was of the answer */
    int32_t *last; /* [repeat_last_n] a ring; ~id of the answer's */
    size_t n_last;
    double mu; /* mirostat's bound, bits */
};

/* All memory is taken here, some 20 bytes a token of the vocabulary: picking allocates nothing.
 */
err sampler_new(sampler **out, size_t V, const sample_params *p)
{
    sampler *s = calloc(1, sizeof *s);

    if (!s) return ERR_NOMEM;
    *s = (sampler){.p = *p, .V = V, .state = p->seed, .mu = 2 * (double)p->mirostat_tau};
    s->list = malloc(V * sizeof *s->list);
    s->answered = calloc(V, sizeof *s->answered);
    s->seen = calloc(V, sizeof *s->seen);
    s->tokens = malloc(V * sizeof *s->tokens);
    if (p->repeat_last_n > 0) s->last = malloc((size_t)p->repeat_last_n * sizeof *s->last);
    if (!s->list || !s->answered || !s->seen || !s->tokens ||
        (p->repeat_last_n > 0 && !s->last)) {
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
    free(s->last);
    free(s);
}

/* One that penalties no longer look back at. Linear in the different ids, at most as many as
 * are looked back at. */
static void forget(sampler *s, int32_t kept)
{
    const int32_t id = kept < 0 ? ~kept : kept;
    size_t i = 0;

    if (kept < 0) s->answered[id]--;
    if (--s->seen[id]) return;
    while (s->tokens[i] != id) i++;
    s->tokens[i] = s->tokens[--s->n_tokens];
}

/* Ids seen are kept as a list too: a penalty then touches as many logits as there are
 * different tokens, not V. */
static void see(sampler *s, int32_t id, bool answer)
{
    assert(id >= 0 && (size_t)id < s->V);
    if (s->last) {
        int32_t *place = &s->last[s->n_last % (size_t)s->p.repeat_last_n];

        if (s->n_last++ >= (size_t)s->p.repeat_last_n) forget(s, *place);
        *place = answer ? ~id : id;
    }
    if (!s->seen[id]++) s->tokens[s->n_tokens++] = id;
    s->answered[id] += answer;
}

void sampler_see_prompt(sampler *s, int32_t id)
{
    see(s, id, false);
}

void sampler_see_answer(sampler *s, int32_t id)
{
    see(s, id, true);
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

/* Standard deviation of what is not banned. */
static double deviation(const float *logits, size_t V)
{
    double sum = 0, square = 0, n = 0;

    for (size_t i = 0; i < V; i++) {
        if (!(logits[i] > -INFINITY)) continue;
        sum += logits[i];
        square += (double)logits[i] * logits[i];
        n++;
    }
    return n > 0 ? sqrt(fmax(0, square / n - sum / n * (sum / n))) : 0;
}

/* min_p is a bound on the probability relative to the best one, which is one on the logit: no
 * softmax is needed for it. */
static float floor_of(const sampler *s, const float *logits, float best, float temperature)
{
    const sample_params *p = &s->p;
    const float by_share = p->min_p > 0 ? best + logf(p->min_p) * temperature : -INFINITY;
    const float by_sigma = p->top_n_sigma > 0
                               ? best - p->top_n_sigma * (float)deviation(logits, s->V)
                               : -INFINITY;

    return fmaxf(by_share, by_sigma);
}

/* Between temperature - range and + range by how much of the largest entropy there is:
 * llama.cpp's dynamic temperature. Of all tokens, at a temperature of 1. */
static float temperature_of(const sampler *s, candidates *c, const float *logits, float best)
{
    const sample_params *p = &s->p;
    const float low = fmaxf(0.01f, p->temperature - p->dynatemp_range);
    const float high = p->temperature + p->dynatemp_range;
    double part;

    if (!(p->dynatemp_range > 0)) return p->temperature;
    candidates_list(c, logits, s->V, best, -INFINITY);
    if (c->n < 2) return p->temperature;
    candidates_weigh(c, 1);
    part = candidates_entropy(c) / log((double)c->n);
    return low + (high - low) * (float)pow(fmax(part, 0), (double)p->dynatemp_exponent);
}

static void cut_mirostat(const sampler *s, candidates *c)
{
    if (s->p.mirostat == 2)
        candidates_keep_expected(c, s->mu);
    else
        candidates_keep_best(c, candidates_count_for(c, s->mu, s->V));
}

static void cut(const sampler *s, candidates *c)
{
    const sample_params *p = &s->p;

    if (p->top_k > 0) candidates_keep_best(c, (size_t)p->top_k);
    if (p->typical_p > 0 && p->typical_p < 1) candidates_keep_typical(c, (double)p->typical_p);
    if (p->top_p < 1) candidates_keep_mass(c, (double)p->top_p);
}

/* Does a rule need the best first? */
static bool is_ordered(const sampler *s)
{
    const sample_params *p = &s->p;

    return p->top_p < 1 || (p->top_k > 0 && (size_t)p->top_k < s->V) ||
           (p->typical_p > 0 && p->typical_p < 1) || p->xtc_probability > 0 || p->mirostat;
}

/* What the rules leave. XTC's draw is taken where it is asked for, whatever comes of it. */
static void find_candidates(sampler *s, const float *logits, candidates *c)
{
    const sample_params *p = &s->p;
    const float best = logits[sample_best_id(logits, s->V)];
    const float temperature = temperature_of(s, c, logits, best);

    candidates_list(c, logits, s->V, best,
                    p->mirostat ? -INFINITY : floor_of(s, logits, best, temperature));
    if (is_ordered(s)) candidates_order(c);
    candidates_weigh(c, temperature);
    if (p->mirostat)
        cut_mirostat(s, c);
    else
        cut(s, c);
    if (!p->mirostat && p->xtc_probability > 0 && draw(s) < (double)p->xtc_probability)
        candidates_drop_top(c, (double)p->xtc_threshold);
}

int32_t sampler_pick(sampler *s, float *logits)
{
    candidates c = {.list = s->list};
    const candidate *picked;
    double point;

    penalize(s, logits);
    if (!(s->p.temperature > 0)) return sample_best_id(logits, s->V);
    point = draw(s); /* one draw a token, whatever the rules leave */
    find_candidates(s, logits, &c);
    if (!c.n) return sample_best_id(logits, s->V);
    picked = candidates_at(&c, point);
    if (s->p.mirostat) {
        const double surprise = log2(c.mass) - log2((double)picked->p);

        s->mu -= (double)s->p.mirostat_eta * (surprise - (double)s->p.mirostat_tau);
    }
    return picked->id;
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
