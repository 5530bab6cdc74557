/* candidates.h - tokens that may come next, and the rules that leave some of them out.
 *
 * A list of candidates is made from logits, ordered where a rule needs it (best first, equal
 * logits by id), given weights p = exp((logit - best) / temperature), and then cut by one rule
 * after the other. Weights are never scaled to a sum of 1: `mass` is their sum, and a rule's
 * share is a share of it. Every rule leaves at least one. Nothing here allocates. */
#ifndef ENGINE_MODEL_CANDIDATES_H
#define ENGINE_MODEL_CANDIDATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct candidate {
    float logit;
    float p;
    int32_t id;
} candidate;

typedef struct candidates {
    candidate *list; /* [V] borrowed */
    size_t n;
    float best;  /* logit */
    double mass; /* of the n */
} candidates;

/* All of logits [V] that reach `floor` and are not banned (-INFINITY). */
void candidates_list(candidates *c, const float *logits, size_t V, float best, float floor);

/* Put the best first. */
void candidates_order(candidates *c);

/* Weights at a temperature > 0. */
void candidates_weigh(candidates *c, float temperature);

/* Of an ordered list: the k best; the best that have a share of the mass together (top_p); the
 * ones whose surprise is nearest to what is expected, that have such a share (typical_p,
 * arXiv:2202.00666); the ones whose surprise in bits is `most` at most (mirostat 2,
 * arXiv:2007.14966). All stay ordered. */
void candidates_keep_best(candidates *c, size_t k);
void candidates_keep_mass(candidates *c, double share);
void candidates_keep_typical(candidates *c, double share);
void candidates_keep_expected(candidates *c, double most);

/* XTC: of those that have a share of `threshold`, all but the least go. */
void candidates_drop_top(candidates *c, double threshold);

/* What mirostat 1 keeps so that the surprise is near `bits`, by the slope of an ordered list. V
 * is the vocabulary's size. */
size_t candidates_count_for(const candidates *c, double bits, size_t V);

/* Entropy of the weights, in nats. */
double candidates_entropy(const candidates *c);

/* Where a point of [0, 1) falls when the list is laid out by weight. */
const candidate *candidates_at(const candidates *c, double point);

#endif
