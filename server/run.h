/* run.h - a generation at work: its context, its sampler, and how far it has read.
 *
 * One step is one piece of the prompt, inside one block, or one row of decode. The
 * scheduler steps it between others; `complete` steps it alone. */
#ifndef SERVER_RUN_H
#define SERVER_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/sample.h"
#include "server/generation.h"
#include "server/runtime.h"

typedef struct run {
    runtime *runtime;
    generation *generation;
    context *context;
    sampler *sampler;
    float *logits; /* [2,V]: as computed, and what the sampler may change */
    size_t read;   /* tokens of the prompt that are in the context */
    double sample_seconds;
} run;

/* Could it ever run? ERR_EMPTY, ERR_TOOLONG (against the context's length), ERR_NOROOM
 * (against the whole pool). Any thread. */
err run_check(const runtime *r, size_t prompt_tokens, size_t max_tokens);

/* Begin: reserve the worst case. Errors of cache_begin, and NOMEM. The caller closes. */
err run_open(run *x, runtime *r, generation *g);

/* One step. True when the generation has ended; a canceled one ends at once. */
bool run_step(run *x);

/* End the context (its sealed blocks stay) and fill in what it leaves: cache_bytes. */
void run_close(run *x);

#endif
