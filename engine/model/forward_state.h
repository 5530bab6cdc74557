/* forward_state.h - what forward.c and attention.c share; for nobody else. */
#ifndef ENGINE_MODEL_FORWARD_STATE_H
#define ENGINE_MODEL_FORWARD_STATE_H

#include "engine/model/experts.h"
#include "engine/model/forward.h"

/* A piece in its step. */
typedef struct part {
    const forward_piece *piece;
    size_t row; /* its first, in the step */
    bool alone; /* one row, whose attention is one task */
} part;

/* Some rows of one part. */
typedef struct strip {
    const part *part;
    size_t first, T; /* first: in the part */
} strip;

/* One block of one part: attention's unit of work. */
typedef struct unit {
    const part *part;
    size_t block;
    size_t row; /* of its first row in the partial results */
} unit;

/* A row that an expert computes, and how much it counts there. */
typedef struct pick {
    size_t row;
    float weight;
} pick;

typedef struct slot {
    double seconds[FORWARD_PHASES];
    char pad[64]; /* slots never share a cache line */
} slot;

struct forward {
    const model *m;
    const kern *kern;
    team *team;
    size_t max_rows, block_tokens, wave_rows, bytes;
    char *memory;             /* all of the below, one allocation */
    float *h, *x, *q, *k, *v; /* [R,D] [R,widest] [R,H*C] [R,E] [R,E] */
    float *heads, *gate, *up; /* [R,H*C] [R,F] [R,F] */
    float *top, *sum;         /* [R,H] running maximum and sum of attention */
    float *part_m, *part_l;   /* [wave_rows+slots,H] partial results, a row for each slot */
    float *part_o;            /* [wave_rows+slots,H,C] */
    float *logits;            /* [LOGIT_ROWS,V] */
    float *route;             /* [R,X] scores of experts */
    expert_share *shares;     /* [R,used] */
    pick *picks;              /* [R] rows of the expert at hand... */
    float *picked, *mixed;    /* [R,D] these rows; [R,D] what all experts make */
    int8_t *q8;               /* [R,widest] */
    float *q8_scale;
    kern_sums *q8_sum; /* [R,widest/32] */
    part *parts;       /* [R] of the step that runs */
    strip *strips;     /* [R] of its parts, those alone first */
    unit *units;       /* [wave_rows] */
    slot *slots;
    size_t n_parts, n_strips, n_alone, rows;
    float *made;       /* [R,D] by half a layer, not yet in h; NULL: nothing */
    const float *post; /* gain of its norm, or NULL */
};

/* Seconds of a clock that only goes forward. */
double forward_now(void);

/* attention.c: cut the step's parts into strips, and see which rows are tasks of their own. */
void attention_plan(forward *f);

/* heads [R,H,C] = softmax(q K^T scale) V, every row over its own context, or the window that
 * slides over it. q [R,H,C] and k [R,G,C] before rotary positions, which are applied in place;
 * x, k and v become part of the contexts. True: `codes` were wanted, and q8 is heads, which
 * costs nothing more where each row is a task. */
bool attention_run(forward *f, int layer, bool codes);

/* Row t of q8 [R,D] = x [D] in eight bits. */
void forward_code_row(const forward *f, const float *x, size_t t, size_t D);

#endif
