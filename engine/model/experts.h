/* experts.h - which experts compute a token, and how much each counts.
 *
 * The experts with the highest router logits, by the softmax of these. Sources:
 * arXiv:2401.04088, section 2.1; arXiv:2505.09388. */
#ifndef ENGINE_MODEL_EXPERTS_H
#define ENGINE_MODEL_EXPERTS_H

#include <stddef.h>

typedef struct expert_share {
    size_t expert;
    float weight;
} expert_share;

/* The `used` best of logits [X], in ascending order of their numbers; of equal ones the first.
 * out [used]; the weights' sum is 1. O(X * used). Row-pure. */
void experts_choose(const float *logits, size_t X, size_t used, expert_share *out);

#endif
