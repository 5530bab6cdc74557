/* cache_state.h - what the sources of the cache share: cache.c opens it, lifecycle.c begins
 * and ends contexts, seal.c fills blocks and pages, pin.c keeps blocks of idle ones. */
#ifndef XCACHE_CACHE_STATE_H
#define XCACHE_CACHE_STATE_H

#include "xcache/cache.h"
#include "xcache/context.h"
#include "xcache/lru.h"
#include "xcache/prefix.h"
#include "xcache/scratch.h"

enum { REBUILDS_AT_ONCE = 64 };

/* Blocks of one context whose pages are being rebuilt layer by layer: their pages are there,
 * but tell the layers before `layer` only. */
typedef struct warming {
    xcontext *x;                      /* NULL: none */
    size_t list[REBUILDS_AT_ONCE], n; /* places in x->blocks */
    int layer;
} warming;

struct cache {
    context_shared shared;
    warming warming;
    team *team;
    scratch scratch;
    prefix_table *prefixes;
    lru resting;        /* blocks that nobody holds, and nobody has pinned */
    uint32_t *pins;     /* [blocks] how often each is pinned */
    size_t pinned;      /* blocks that are */
    size_t kept;        /* of these, held by nobody */
    size_t limit;       /* blocks that may be held or promised: of the pool and the workspace */
    size_t longest;     /* blocks of a context of full length */
    size_t outstanding; /* blocks promised to running contexts and to copies, not yet taken */
    size_t copies;      /* forks promised: each takes an open page */
    prefix_key root;
    uint64_t queried_tokens, hit_tokens, evicted, sealed;
    double seal_seconds, rebuild_seconds;
    atomic_ullong rebuilt;
};

/* --- blocks, in lifecycle.c --- */

/* A block to write, held once: a free one, or the one that rested longest. Reserved, so it
 * cannot fail. */
pool_block cache_take_block(cache *c);

/* Hold a block of the pool once more, and let go of it: then it rests, or is free if no prefix
 * leads to it. */
void cache_hold_block(cache *c, pool_block b);
void cache_drop_block(cache *c, pool_block b);

/* A block that nobody holds is no more. */
void cache_free_block(cache *c, pool_block b);

/* The block that follows the context's sealed ones with these ids, or PREFIX_NONE; *key: its
 * key. */
pool_block cache_find_block(const cache *c, prefix_key before, pool_block parent,
                            const int32_t *ids, prefix_key *key);

/* The key that the chains of a scope begin with. */
prefix_key cache_scope_root(const cache *c, const cache_request *r);

/* --- contents, in seal.c --- */

/* The open page of x is full: its block is found, or begins to be sealed. */
void cache_begin_seal(xcontext *x);

/* Pages that are not whole are no pages. */
void cache_stop_warming(cache *c);

#endif
