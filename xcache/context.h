/* context.h - one context's cache: its sealed blocks and its open page. Implements
 * engine/context.h. cache.c alone makes and ends contexts. */
#ifndef XCACHE_CONTEXT_H
#define XCACHE_CONTEXT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/context.h"
#include "xcache/codec.h"
#include "xcache/pool.h"

/* What contexts share. Sealed blocks: per layer codes then scales, 64-byte aligned; the
 * token ids at the end. */
typedef struct context_shared {
    codec_state codec;
    pool *pool;
    size_t *codes_at, *scales_at; /* [L] offsets in a block */
    size_t ids_at;
    size_t codes_bytes, scales_bytes, block_bytes;
    codec_scratch *scratch; /* [slots]; NULL members where nothing is rebuilt */
    float *seal_state;      /* [B,D] of the block that is being sealed */
    float *turned;          /* [B,E] keys on their way into an open page; appends never meet */
    atomic_ullong *rebuilt; /* token-layers rebuilt */
} context_shared;

/* Room for the newest block_tokens tokens of one context. */
typedef struct open_page {
    float *k;     /* [L,G,C,B] with rotary positions applied */
    float *v;     /* [L,B,E] */
    float *x;     /* [L,B,D]; NULL where the codec keeps none */
    float *raw_k; /* [L,B,E] before rotary positions; NULL where the codec keeps none */
    float *state; /* [blocks,B,D] what a codec that carries hands from layer to layer, for
                     every sealed block of the context; NULL where it does not */
    int32_t *ids; /* [B] */
} open_page;

typedef struct xcontext {
    context base;
    struct xcontext *next; /* the cache's list of ended ones, oldest first */
    struct cache *cache;
    const context_shared *shared;
    open_page *page;    /* NULL once ended */
    pool_block *blocks; /* [reserved] */
    size_t n_blocks, reserved;
    size_t n_tokens; /* settled: sealed and open */
    size_t pushed;   /* of the step that runs */
} xcontext;

extern const context_ops xcontext_ops;

/* Encode the full open page into block b of the pool. */
void xcontext_seal(const xcontext *x, pool_block b);

#endif
