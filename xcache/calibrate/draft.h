/* draft.h - a plan that grows layer by layer, and stops where its budget of bits is spent. */
#ifndef XCACHE_CALIBRATE_DRAFT_H
#define XCACHE_CALIBRATE_DRAFT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "xcache/codec/plan.h"

typedef struct draft {
    size_t D, L;
    plan_predictor predictor;
    double theta;     /* the threshold it was made with; 0: none yet */
    size_t code_bits; /* of the layers so far */
    size_t budget;
    size_t *n;     /* [L] */
    void **layers; /* [L] owned */
} draft;

/* `about` gives D, L, E, the ratio and the predictor. ERR_NOMEM. The caller closes, also
 * after a failure. */
err draft_open(draft *d, const plan_about *about);
void draft_close(draft *d);

/* Drop all layers; a new theta. */
void draft_restart(draft *d, double theta);

/* Append layer l: a copy of the predictor in base, and n components for the caller to fill
 * in. *out is valid until the layers are dropped. ERR_NOMEM. */
err draft_add(draft *d, size_t l, const plan_layer *base, size_t n, plan_layer *out);

bool draft_fits(const draft *d);

void draft_swap(draft *a, draft *b);

#endif
