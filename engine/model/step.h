/* step.h - the step that runs: its chunks and its buffers, which forward.c and attention.c
 * share. Internal to them; callers see forward.h.
 *
 * Rows of a step are those of all its chunks, one behind the other, R at most:
 *
 *   chunk 0 (decode)  chunk 1 (decode)  chunk 2 (prefill, T = 5)
 *   row 0             row 1             rows 2 .. 6
 *
 * Every buffer is carved from one allocation of forward_open, so that a step needs none. */
#ifndef ENGINE_MODEL_STEP_H
#define ENGINE_MODEL_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/kern/kern.h"
#include "engine/model/chunk.h"
#include "engine/model/experts.h"
#include "engine/model/model.h"
#include "engine/team.h"

enum {
    STEP_LOGIT_ROWS = 16, /* rows of the output product at a time, at most */
    STEP_DEFERRED = 2     /* halves of a layer beside each other */
};

/* A chunk in its step. */
typedef struct step_chunk {
    const forward_chunk *in; /* as the caller handed it over */
    size_t row;              /* its first, in the step */
    bool alone;              /* one row, whose attention is one task */
} step_chunk;

/* Some rows of one chunk, placed in their context by one task. */
typedef struct step_strip {
    const step_chunk *chunk;
    size_t first, T; /* first: in the chunk */
} step_strip;

/* One block of one chunk: what attention makes one partial result of. */
typedef struct step_unit {
    const step_chunk *chunk;
    size_t block;
    size_t row;  /* of its first row in the partial results */
    size_t skip; /* rows of the chunk that see none of it: the first so many */
} step_unit;

/* A row that an expert computes, and how much it counts there. */
typedef struct step_pick {
    size_t row;
    float weight;
} step_pick;

/* What half a layer made, [R,D], not yet added to h. */
typedef struct step_residual {
    float *made;
    const float *bias;     /* [D], or NULL */
    float *post;           /* [D] gain of its norm, or NULL */
    const model_norm *sum; /* of h once it is added; no gain: none */
} step_residual;

/* What one worker counts. */
typedef struct step_slot {
    double seconds[FORWARD_PHASES];
    char pad[64]; /* slots never share a cache line */
} step_slot;

struct forward {
    const model *m;
    const kern *kern;
    team *team;
    size_t max_rows, block_tokens, wave_rows, bytes;
    char *memory;                 /* all of the below, one allocation */
    float *h, *x, *q, *k, *v;     /* [R,D] [R,widest] [R,H*C] [R,E] [R,E] */
    float *heads, *gate, *up;     /* [R,H*C] [R,F] [R,F] of the widest network */
    float *beside;                /* [R,D] what attention makes where a network reads x too */
    float *ones;                  /* [F] what is multiplied where there is no gate */
    float *run_max, *run_sum;     /* [R,H] of the online softmax */
    float *partial_m, *partial_l; /* [wave_rows+slots,H] of one block; last a row a slot */
    float *partial_o;             /* [wave_rows+slots,H,C] */
    float *logits;                /* [STEP_LOGIT_ROWS,V], or max_rows if fewer */
    float *route;                 /* [R,X] logits of the router */
    expert_share *shares;         /* [R,used] */
    step_pick *picks;             /* [R] rows of the expert at hand... */
    float *picked, *mixed;        /* [R,D] these rows; [R,D] what all experts make */
    int8_t *q8;                   /* [R,widest] a product's input in eight bits */
    float *q8_scale;
    kern_sums *q8_sum;  /* [R,widest/32] */
    step_chunk *chunks; /* [R] of the step that runs */
    step_strip *strips; /* [R] of its chunks, those alone first */
    step_unit *units;   /* [wave_rows] */
    step_slot *slots;
    size_t n_chunks, n_strips, n_alone, rows;
    step_residual deferred[STEP_DEFERRED]; /* in the order they are added */
    size_t n_deferred;
    forward_hearer *hearer; /* of what matrices are multiplied with; or NULL */
    void *hearer_arg;
};

/* Allocate the buffers that f's model, team and sizes ask for. ERR_NOMEM. */
err step_open(struct forward *f);
void step_close(struct forward *f);

/* Row t of q8 [R,D] = x [D] in eight bits. */
void step_code_row(const struct forward *f, const float *x, size_t t, size_t D);

#endif
