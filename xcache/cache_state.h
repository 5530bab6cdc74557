/* cache_state.h - what a cache is made of, for the files that work on it. */
#ifndef XCACHE_CACHE_STATE_H
#define XCACHE_CACHE_STATE_H

#include "xcache/cache.h"
#include "xcache/context.h"
#include "xcache/degrade.h"
#include "xcache/lru.h"
#include "xcache/prefix.h"
#include "xcache/rebuild.h"
#include "xcache/scratch.h"
#include "xcache/seal.h"

struct cache {
    context_shared shared;
    degrader degrader;
    rebuild_state rebuilding;
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

/* There is a free block after it, for something rests: the oldest are degraded, or else one is
 * evicted. */
void cache_make_room(cache *c);

/* A block that nobody holds or pins is put with those that rest; it is held, pinned or freed.
 */
void cache_add_resting(cache *c, pool_block b);
void cache_remove_resting(cache *c, pool_block b);

/* A block that nobody holds is no more. */
void cache_free_block(cache *c, pool_block b);

/* A chain of blocks: where it begins, and how far it has been followed. */
typedef struct chain {
    prefix_key root;
    pool_block last; /* PREFIX_NONE: none */
} chain;

/* The block that follows with these ids, or PREFIX_NONE. A degraded one only if asked for. */
pool_block cache_find_block(const cache *c, chain after, const int32_t *ids, bool degraded);

/* The key of what is sealed after it. */
prefix_key cache_next_key(const cache *c, chain after, const int32_t *ids);

/* The key that the chains of a scope begin with. */
prefix_key cache_scope_root(const cache *c, const cache_request *r);

#endif
