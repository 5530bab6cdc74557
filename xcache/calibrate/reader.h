/* reader.h - a text through the network, a row at a time, a block a step: what calibration
 * learns from, and how far a mode is from exact. One context in one cache mode. */
#ifndef XCACHE_CALIBRATE_READER_H
#define XCACHE_CALIBRATE_READER_H

#include <stddef.h>
#include <stdint.h>

#include "engine/model/forward.h"
#include "xcache/cache.h"
#include "xcache/stage.h"

/* What is needed to run a model; all borrowed. */
typedef struct reader_model {
    const model *m;
    const kern *kern;
    team *team;
} reader_model;

/* Rows of token ids, one after the other; each starts a context of its own. */
typedef struct reader_text {
    const int32_t *ids; /* [rows,row_tokens] */
    size_t rows, row_tokens;
} reader_text;

/* The exact layer inputs of every token: x [L,rows*row_tokens,D], out. ERR_NOMEM, ERR_SYSTEM.
 */
err reader_record(const reader_model *r, const reader_text *text, const stage *p, float *x);

/* Mean over the first row_tokens - 1 positions of every row of KL(kv32 || mode), in nats:
 * the block a query is in is exact. Errors of cache_open. */
err reader_divergence(const reader_model *r, const reader_text *text, const char *mode,
                      const struct plan *plan, const stage *p, double *kl);

#endif
