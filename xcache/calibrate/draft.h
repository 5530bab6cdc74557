/* draft.h - a plan in the making: layers laid out as a plan has them, before it is known how
 * large each will be. */
#ifndef XCACHE_CALIBRATE_DRAFT_H
#define XCACHE_CALIBRATE_DRAFT_H

#include <stddef.h>

#include "xcache/codec/plan.h"

typedef struct draft {
    plan_about about; /* of which D, L, E, C and predictor count */
    size_t *n;        /* [L] components */
    void **layers;    /* [L], 0 NULL */
} draft;

/* ERR_NOMEM. The caller closes, also then. */
err draft_open(draft *d, const plan_about *about);
void draft_close(draft *d);

/* Lay out layer l with n components, anew if it was there: c, salience, form and predictor of
 * `base` (n 0), the rest zeros. ERR_NOMEM. */
err draft_add(draft *d, size_t l, const plan_layer *base, size_t n, plan_layer *out);

/* Layer l, which was added. */
plan_layer draft_layer(const draft *d, size_t l);

#endif
