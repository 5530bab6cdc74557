/* attention.h - the rows of a step meet their contexts. Internal to forward. */
#ifndef ENGINE_MODEL_ATTENTION_H
#define ENGINE_MODEL_ATTENTION_H

#include <stdbool.h>

struct forward;

/* Cut the step's chunks into strips, and see which rows are tasks of their own. Once a step:
 * the plan is the same for every layer. */
void attention_plan(struct forward *f);

/* heads [R,H,C] = softmax(q K^T scale) V, every row over its own context, or the window that
 * slides over it. q [R,H,C] and k [R,G,C] before rotary positions, which are applied in place;
 * x, k and v become part of the contexts. True: `codes` were wanted, and q8 is heads, which
 * costs nothing more where each row is a task. */
bool attention_run(struct forward *f, int layer, bool codes);

#endif
