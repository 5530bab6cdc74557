/* run.h - a generation at work: its context, its sampler, and how far its prefill is.
 *
 * A run takes part in steps: before one it gives the chunk of rows to compute, after it commits
 * what came out. `batch` steps many together. A copy has no context until its leader, which has
 * the same prompt, has prefilled it; then it goes on from there as if it had done so itself. */
#ifndef SERVER_SCHED_RUN_H
#define SERVER_SCHED_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/grammar/matcher.h"
#include "engine/model/forward.h"
#include "engine/model/sample.h"
#include "server/runtime.h"
#include "server/sched/generation.h"

typedef struct run {
    runtime *runtime;
    generation *generation;
    context *context;
    sampler *sampler;
    matcher *matcher;               /* where its form allows tokens; NULL: everywhere */
    float *logits;                  /* [2,V]: as computed, and what the sampler may change */
    size_t prefilled;               /* tokens of the prompt that are in the context */
    bool over;                      /* the generation has ended */
    bool masking;                   /* its next token waits for its form's mask */
    bool behind;                    /* its tenant has had more than others: precedence.h */
    struct run *leader;             /* whose prompt it waits for; NULL: nobody's */
    size_t copies;                  /* runs that wait for its prefill */
    size_t texts_taken, texts_done; /* of those that become vectors */
    double sample_seconds;
} run;

/* Could so many answers to such a prompt ever run together? ERR_EMPTY, ERR_TOOLONG (against the
 * context's length), ERR_NOROOM (against the whole pool). Any thread. */
err run_check(const runtime *r, size_t prompt_tokens, size_t max_tokens, size_t answers);

/* Could texts that end there in their ids become vectors? ERR_EMPTY, ERR_TOOLONG. Any thread.
 */
err run_check_texts(const runtime *r, const size_t *ends, size_t n);

/* Begin: reserve the worst case, for so many copies of g too; `modest`: and leave room for
 * somebody else's. Errors of cache_begin, and NOMEM. The caller closes. */
err run_open(run *x, runtime *r, generation *g, size_t copies, bool modest);

/* Of a generation whose texts become vectors: it has no context, and embed gives them to it. */
void run_open_texts(run *x, runtime *r, generation *g);

/* A copy of a leader that has computed nothing yet. ERR_NOMEM. */
err run_open_copy(run *x, run *leader, generation *g);

/* Fork the leader's context once its prefill is done and sealed, and sample the first token.
 * False: not yet. A copy whose leader will never get there is over. */
bool run_fork(run *x);

/* Rebuild some of the pages that the context lacks. False while it lacks more: until then it
 * takes part in no step. */
bool run_rebuild(run *x);

/* The same, but so many layers of a few pages only. */
bool run_rebuild_layers(run *x, int layers);

/* Is its newest block being sealed? Then, when it is over, and while it waits for a leader or
 * its copies for it, it is not ready for a step. */
bool run_is_sealing(const run *x);
bool run_is_ready(const run *x);

/* Is it over, what it has computed sealed (what was canceled need not be), and nobody waiting
 * for it? */
bool run_is_finished(const run *x);

/* Is its prefill done, so that it computes one row a step? */
bool run_is_decoding(const run *x);

/* Its rows of the next step: the last token, or up to max_rows of the prompt inside one block.
 * It then takes part in that step. */
forward_chunk run_next_chunk(run *x, size_t max_rows);

/* After the step: keep what was computed, and sample a token if the prefill is done; of an
 * answer that is held to a form, once its mask is made. */
void run_commit(run *x, const forward_chunk *c);

/* While it is `masking`: make the mask, until a moment of clock_ns, and sample with it. False:
 * it is not made yet. */
bool run_make_mask(run *x, uint64_t until_ns);

/* The step was given up: the chunk is still to be computed. */
void run_take_back(run *x);

/* End it early. */
void run_cancel(run *x);

/* End the context (its sealed blocks stay) and fill in what it leaves: cache_bytes. */
void run_close(run *x);

#endif
