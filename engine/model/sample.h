/* sample.h - logits to the next token id.
 *
 * The rules run in this order: repetition, presence and frequency penalties, logit bias,
 * temperature, top_n_sigma, min_p, top_k, typical_p, top_p, XTC, draw; with mirostat only the
 * temperature and it stand between bias and draw. One draw a token from a generator seeded
 * once, two with XTC, so a seed gives the same tokens whatever else the process does. */
#ifndef ENGINE_MODEL_SAMPLE_H
#define ENGINE_MODEL_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"

typedef struct sample_bias {
    int32_t id;
    float add; /* to the logit; <= -100 bans the token */
} sample_bias;

typedef struct sample_params {
    float temperature;     /* 0: greedy */
    int top_k;             /* 0: all */
    float top_p;           /* 1: all */
    float min_p;           /* 0: all; share of the best token's probability */
    float top_n_sigma;     /* 0: all; within so many standard deviations of all logits */
    float typical_p;       /* 0, 1: all */
    float xtc_probability; /* 0: never; with it all but the least likely of those at or above
                              xtc_threshold go */
    float xtc_threshold;
    float dynatemp_range; /* 0: none; the temperature moves so far either way with entropy */
    float dynatemp_exponent;
    int mirostat;             /* 0: none; version 1 or 2 */
    float mirostat_tau;       /* bits of surprise that are aimed at */
    float mirostat_eta;       /* how fast */
    int repeat_last_n;        /* tokens that penalties look back at; 0: all */
    float repetition_penalty; /* 1: none; divides positive logits of tokens seen, multiplies
                                 negative ones; prompt and answer count */
    float presence_penalty;   /* 0: none; subtracted once for a token of the answer */
    float frequency_penalty;  /* 0: none; subtracted for each time it is in the answer */
    uint64_t seed;
    const sample_bias *bias; /* borrowed for the sampler's life */
    size_t n_bias;
} sample_params;

/* What does nothing: the best token, without penalties. */
extern const sample_params sample_greedy;

/* What is drawn from where nobody says how: the softmax as it is. */
extern const sample_params sample_usual;

/* Set repeat_last_n as clients spell it: -1: all; 0: none, so that no penalty is left. */
void sample_look_back(sample_params *p, int tokens);

typedef struct sampler sampler;

/* A sampler for V logits. The caller frees. ERR_NOMEM. */
err sampler_new(sampler **out, size_t V, const sample_params *p);
void sampler_free(sampler *s);

/* Count a token of the prompt, or of the answer. */
void sampler_see_prompt(sampler *s, int32_t id);
void sampler_see_answer(sampler *s, int32_t id);

/* Choose the next id. logits [V] is changed. Does not allocate. O(V), O(V log V) at
 * worst with top_p. Equal logits: the lower id wins. */
int32_t sampler_pick(sampler *s, float *logits);

typedef struct sample_top {
    int32_t id;
    float logprob; /* natural log of the softmax over all V */
} sample_top;

/* The k best of logits [V], best first, ties by lower id, before any rule; and the
 * logprob of one id. k <= V. Do not allocate. */
void sample_best(const float *logits, size_t V, size_t k, sample_top *best);
float sample_logprob(const float *logits, size_t V, int32_t id);

/* The best id, the lower of equals; and log(sum of exp(logits)), in double: what a log-softmax
 * takes away. */
int32_t sample_best_id(const float *logits, size_t V);
double sample_log_sum(const float *logits, size_t V);

#endif
