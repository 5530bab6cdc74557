/* context.h - one context's cache: its sealed blocks and its open page. Implements
 * engine/context.h. cache.c alone makes and ends contexts. */
#ifndef XCACHE_CONTEXT_H
#define XCACHE_CONTEXT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/context.h"
#include "xcache/codec/codec.h"
#include "xcache/codec/format.h"
#include "xcache/pool.h"
#include "xcache/prefix.h"
#include "xcache/scratch.h"
#include "xcache/sink_table.h"
#include "xcache/workspace.h"

/* What contexts share. */
typedef struct context_shared {
    codec_state codec;
    block_format whole, half; /* half.codec NULL: nothing is degraded, and small blocks are
                                 whole ones without their windowed layers */
    pool *pool;
    workspace *workspace; /* NULL: tiles are read in place, or rebuilt when read */
    const codec_scratch *slots;
    const sink_table *sinks; /* NULL: nothing is rebuilt */
    atomic_ullong *rebuilt;  /* token-layers rebuilt */
} context_shared;

typedef struct xcontext {
    context base;
    struct cache *cache;
    const context_shared *shared;
    open_page *page;
    pool_block *blocks; /* [most_blocks] sealed ones, held */
    size_t n_blocks, most_blocks;
    size_t n_tokens;    /* committed: sealed and open */
    size_t pushed;      /* of the step that runs */
    pool_block sealing; /* the block that its full page is written into, or PREFIX_NONE */
    int sealed_layers;  /* of it, encoded */
    int rebuilt_layers; /* of these, in its page of the workspace */
    uint32_t sink;      /* its exact first tokens, from when it seals its first block on */
    prefix_key root;    /* of its scope */
    size_t prompt;      /* tokens of it */
    size_t copies;      /* forks that are promised still, once the prompt is in */
    size_t copy_blocks; /* promised to each */
    size_t rewound; /* tokens of it that were cached, but not so that it could go on there */
} xcontext;

extern const context_ops xcontext_ops;

static inline xcontext *context_of(context *c)
{
    return (xcontext *)(void *)c;
}

static inline const xcontext *context_of_const(const context *c)
{
    return (const xcontext *)(const void *)c;
}

/* A context that computes `tokens` at most; nothing is held yet, and it has no page. NULL: out
 * of memory. The caller frees. */
xcontext *context_new(struct cache *c, const context_shared *s, size_t tokens);
void context_free(xcontext *x);

/* How a block is written. */
const block_format *context_format(const context_shared *s, pool_block b);

/* Is it small, for it was degraded; or for windows have passed it? */
bool context_is_degraded(const context_shared *s, pool_block b);
bool context_is_narrow(const context_shared *s, pool_block b);

/* Does it hold that layer? */
bool context_has_layer(const context_shared *s, int layer, pool_block b);

/* Where layer `layer` of block b lies, `first` the position of its first token. */
codec_place context_place(const context_shared *s, int layer, pool_block b, size_t first);

/* Rebuild a tile of block b, which lies at `place`, in that place's scratch: from its codes, or
 * from what the encoder has left in place.state. The first tokens of the context are exact. */
void context_decode(const xcontext *x, int layer, pool_block b, const codec_place *place,
                    kv_tile *out);
void context_expand(const xcontext *x, int layer, const codec_place *place, kv_tile *out);

/* The ids of a block. */
int32_t *context_ids(const context_shared *s, pool_block b);

#endif
