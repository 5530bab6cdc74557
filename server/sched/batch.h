/* batch.h - the generations that run, and the steps they share.
 *
 * One step reads the weights once for everybody: a row of each that decodes, and pieces of
 * prompts. While somebody decodes, pieces are sized by time: a step is to last at most 2.5
 * times what decoding alone lately took, yet brings prompts forward by at least 8 rows;
 * while nobody does, a step takes as many rows as it may. Sealing counts as step time, and is
 * cut by layers to fit it; a generation whose block is being sealed sits out until that is
 * done. Pages to be rebuilt and blocks to be degraded are cut by layers likewise. Nobody's
 * tokens depend on the company (row purity). */
#ifndef SERVER_SCHED_BATCH_H
#define SERVER_SCHED_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "server/sched/run.h"

enum { BATCH_SIZES = 12 }; /* steps of 1, 2, up to 4, 8 .. 2048 rows, and of more */

/* What the steps since the start have done. */
typedef struct batch_stats {
    uint64_t prompt_tokens;          /* computed */
    uint64_t new_tokens;             /* sampled */
    uint64_t rows;                   /* of all steps */
    uint64_t sizes[BATCH_SIZES + 1]; /* steps of so many rows: up to 2^i, the last: more */
    double sample_seconds;
} batch_stats;

typedef struct batch {
    runtime *runtime;
    run **runs; /* [n] in the order they were added */
    size_t n, most;
    forward_chunk *pieces; /* [most] */
    run **of;              /* [most] whose piece it is */
    generation **news;     /* [most] who got a token in the last step, n_news of them */
    size_t n_news;
    context **sealing;      /* [most] */
    double decode_seconds;  /* of a step of decoding alone, lately; 0: not known */
    double row_seconds;     /* of a prompt's row in a step */
    double layer_seconds;   /* of sealing one layer of a few contexts at once */
    double warm_seconds;    /* of rebuilding one layer of a few blocks at once */
    double degrade_seconds; /* of degrading one layer of a few blocks at once */
    size_t stepped;         /* pieces of the last step */
    batch_stats stats;
} batch;

/* Room for `most` generations. ERR_NOMEM. The caller closes, when it is empty. */
err batch_open(batch *b, runtime *r, size_t most);
void batch_close(batch *b);

/* Let all members of a group run. Errors of run_open; ERR_BUSY: not now. */
err batch_add(batch *b, const generation_group *w);

/* One step of all that run. Canceled ones end before it. */
void batch_step(batch *b);

/* Take the first generation that is over out of the batch; NULL: none is. */
generation *batch_take(batch *b);

#endif
