/* cache.h - all contexts of the process: one pool of sealed blocks, a few open pages, and
 * the contexts that hold them.
 *
 * A context is a row of sealed blocks plus one open block, its newest < 128 tokens, which
 * lives in an open page. A context that has ended keeps its sealed blocks; when room is
 * wanted the one that ended first is freed whole. What a running context may still need is
 * reserved when it begins, so no step can run out of room.
 * One thread calls everything here (the scheduler's, or the only one); workers call only
 * the operations of engine/context.h. */
#ifndef XCACHE_CACHE_H
#define XCACHE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/context.h"
#include "engine/err.h"
#include "engine/kern.h"
#include "engine/model.h"

enum { CACHE_BLOCK_TOKENS = 128 };

typedef struct cache cache;

typedef struct cache_options {
    const char *mode;        /* a mode of codec.def, or "auto" */
    const struct plan *plan; /* of a mode that needs one, borrowed; else NULL */
    uint64_t budget_bytes;   /* of the pool; never exceeded */
    int max_running;         /* open pages */
    int slots;               /* workers that may call tile at once */
    size_t ctx_tokens;       /* longest context */
} cache_options;

/* Open the pool and the pages. m and k are borrowed. Errors: MODE, MODEMODEL, NOPLAN,
 * PLANMODEL, NOROOM (the budget holds no block), NOMEM, SYSTEM. The caller closes, after the
 * last context ended. */
err cache_open(cache **out, const model *m, const kern *k, const cache_options *o);
void cache_close(cache *c);

/* Could a context that computes this many tokens run in an empty cache? ERR_NOROOM if not.
 * (The last sampled token of an answer is not computed.) Any thread. */
err cache_check(const cache *c, size_t tokens);

/* Begin a context that will compute at most `tokens`: reserve its blocks, freeing the oldest
 * ended contexts if it must, and take an open page. ERR_BUSY: not while others run;
 * ERR_NOROOM: never; ERR_NOMEM. The caller ends it. */
err cache_begin(cache *c, size_t tokens, context **out);

/* Tell the context which ids the next step computes; they fit into its open block. */
void cache_push(context *x, const int32_t *ids, size_t T);

/* After the step: the pushed tokens are in. Seals the open block if it is full: encodes it
 * layer after layer into a block of the pool. */
void cache_settle(context *x);

size_t cache_context_tokens(const context *x);
size_t cache_context_bytes(const context *x); /* its sealed blocks */

/* The context is over. It keeps its sealed blocks, gives back its page and what it reserved. */
void cache_end(context *x);

typedef struct cache_stats {
    const char *mode;
    size_t block_tokens, block_bytes;
    uint64_t capacity_bytes, codes_bytes, scales_bytes, index_bytes, free_bytes;
    size_t capacity_tokens;
    size_t active_tokens, ended_tokens; /* sealed */
    uint64_t fp16_bytes;                /* of the sealed tokens: 2 * E * L * 2 each */
    size_t scratch_bytes;               /* open pages and rebuilt tiles */
    size_t weight_bytes;                /* what rebuilding multiplies with */
    uint64_t evicted_blocks;
    uint64_t sealed_blocks;
    uint64_t remat_tokens; /* token-layers rebuilt */
    double seal_seconds;
    double bits_per_element; /* of K and V: block bits / (2 E L tokens) */
} cache_stats;

void cache_read_stats(const cache *c, cache_stats *out);

#endif
