/* batch.h - the generations that run, and the steps they share.
 *
 * A step reads the weights once for everybody: a row of each that decodes, and chunks of
 * prefills. How its time is shared out is in batch.c. Nobody's tokens depend on the company
 * (row purity). The scheduler's thread only, or the only one. */
#ifndef SERVER_SCHED_BATCH_H
#define SERVER_SCHED_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "server/sched/embed.h"
#include "server/sched/precedence.h"
#include "server/sched/run.h"

enum { BATCH_SIZES = 12 }; /* steps of 1, 2, up to 4, 8 .. 2048 rows, and of more */

/* What the steps since the start have done. */
typedef struct batch_stats {
    uint64_t prompt_tokens;          /* computed */
    uint64_t new_tokens;             /* sampled */
    uint64_t rows;                   /* of all steps */
    uint64_t sizes[BATCH_SIZES + 1]; /* steps of so many rows: up to 2^i, the last: more */
    uint64_t embedded_texts, embedded_tokens;
    double sample_seconds;
} batch_stats;

typedef struct batch {
    runtime *runtime;
    run **runs; /* [n] in the order they were added */
    size_t n, most;
    forward_chunk *chunks; /* [most] of the last step, n_chunks of them */
    run **owners;          /* [most] whose chunk it is */
    generation **news;     /* [most] who got a token in the last step, n_news of them */
    size_t n_news, n_chunks;
    context **sealing;      /* [most] */
    double decode_seconds;  /* of a step of decoding alone, lately; 0: not known */
    double row_seconds;     /* of a row of prefill in a step */
    double layer_seconds;   /* of sealing one layer of a few contexts at once */
    double rebuild_seconds; /* of rebuilding one layer of a few blocks at once */
    double degrade_seconds; /* of degrading one layer of a few blocks at once */
    embed embed;            /* texts that become vectors */
    precedence precedence;
    bool (*is_wanted)(void *user); /* the step, by somebody who goes first; NULL: never asked */
    void *user;
    bool given_up; /* this step */
    batch_stats stats;
} batch;

/* Room for `most` generations. ERR_NOMEM. The caller closes, when it is empty. */
err batch_open(batch *b, runtime *r, size_t most);
void batch_close(batch *b);

/* Does the tenant have anything running? One that has leaves a place, and room for a context,
 * to one that has not. */
bool batch_has(const batch *b, uint64_t tenant);

/* Let all members of a group run. Errors of run_open; ERR_BUSY: not now. */
err batch_add(batch *b, const generation_group *w);

/* Is the step that is being computed to be given up for a tenant that has nothing running? For
 * `is_wanted`, which is asked between its layers. */
bool batch_gives_way(const batch *b, uint64_t tenant);

/* One step of all that run. Canceled ones end before it. */
void batch_step(batch *b);

/* Take the first generation that is over out of the batch; NULL: none is. */
generation *batch_take(batch *b);

#endif
