/* experts.h - which experts compute a token, and how much each counts.
 *
 *   gate       a logit becomes                  sources
 *   SOFTMAX    its share of all experts'        arXiv:2401.04088, 2505.09388
 *   SIGMOID    1 / (1 + exp(-logit))            arXiv:2508.06471
 *   CHOSEN     its share of those chosen        arXiv:2508.10925
 *
 * The `used` largest are chosen, after adding the bias; they count without it. `sum` makes what
 * they count sum to 1, and all are multiplied by `scale`. */
#ifndef ENGINE_MODEL_EXPERTS_H
#define ENGINE_MODEL_EXPERTS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum experts_gate { EXPERTS_SOFTMAX, EXPERTS_SIGMOID, EXPERTS_CHOSEN } experts_gate;

typedef struct experts_rule {
    size_t used; /* experts of a token */
    experts_gate gate;
    bool sum;
    float scale;
    const float *bias; /* [X] of the choice, or NULL */
} experts_rule;

typedef struct expert_share {
    size_t expert;
    float weight;
} expert_share;

/* The best of X experts by logits [X], which are overwritten, in ascending order of their
 * numbers; of equal ones the first. out [used]. O(X * used). Row-pure. */
void experts_choose(const experts_rule *r, float *logits, size_t X, expert_share *out);

#endif
