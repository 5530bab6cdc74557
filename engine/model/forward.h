/* forward.h - the network: one step over chunks of any contexts, in any cache mode.
 *
 * A step is a list of chunks, each some new tokens of one context that stay inside one
 * block. All rows go through the weights together; each row's result is a fixed
 * expression of that row and its context (row purity), so neither the company nor the
 * number of threads changes a bit of it. */
#ifndef ENGINE_MODEL_FORWARD_H
#define ENGINE_MODEL_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/kern/kern.h"
#include "engine/model/chunk.h"
#include "engine/model/model.h"
#include "engine/team.h"

typedef struct forward forward;

/* Buffers for steps of up to max_rows rows. m, k and team are borrowed for its life.
 * block_tokens: the longest block of any context. ERR_NOMEM. The caller closes. */
err forward_open(forward **out, const model *m, const kern *k, team *t, size_t max_rows,
                 size_t block_tokens);
void forward_close(forward *f);

/* Run one step; the rows of all chunks together are at most max_rows. Each context has
 * been told of its new tokens by its owner. Does not allocate. */
void forward_step(forward *f, const forward_chunk *chunks, size_t n);

/* The same, but before each layer `stop` is asked whether the step is to be given
 * up. False: it was, no logits were made, and what the contexts were told has to be taken back.
 */
typedef bool forward_stop(void *arg);
bool forward_step_unless(forward *f, const forward_chunk *chunks, size_t n, forward_stop *stop,
                         void *arg);

/* From now on, tell of what matrices are multiplied with. NULL: nobody. For calibration. */
void forward_hear(forward *f, forward_hearer *hearer, void *arg);

size_t forward_max_rows(const forward *f);
size_t forward_bytes(const forward *f); /* its buffers: scratch */

/* Seconds of thread time spent in each phase since the start. Between steps. */
double forward_seconds(const forward *f, forward_phase p);

#endif
