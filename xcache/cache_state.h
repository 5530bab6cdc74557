/* cache_state.h - what the sources of the cache share: cache.c opens it, lifecycle.c begins
 * and ends contexts, seal.c fills blocks and pages, pin.c keeps blocks of idle ones, degrade.c
 * makes them smaller. */
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

/* A block that is being degraded: its layers before `layer` are written anew in `bytes`. */
typedef struct fading {
    pool_block block; /* PREFIX_NONE: none */
    int layer;
    uint8_t *bytes;   /* [half a block] */
    float *from, *to; /* [B,D] what its decoder and its new encoder carry */
    double seconds;
} fading;

/* What degrades blocks: as many at once as there are workers. */
typedef struct degrader {
    codec_state codec; /* of twice the ratio; codec.codec NULL: nothing is degraded */
    lru able;          /* resting blocks that can be degraded, in the order of resting */
    fading *list;      /* [slots] */
    char *memory;      /* what they point to */
    size_t bytes;      /* of it */
    size_t wanted;     /* blocks to be kept free ahead of need */
    uint64_t count;    /* of blocks degraded */
    double seconds;
} degrader;

struct cache {
    context_shared shared;
    degrader degrader;
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

/* --- room, in degrade.c --- */

/* Blocks of the second plan beside those that c stores, if there is one: opens codec and format
 * before the pool, the rest after it. What that would take: of->m is measured, not opened;
 * memory besides the codec's. */
err degrade_open_format(cache *c, const struct plan *denser);
err degrade_measure(codec_state *out, const codec_state *of, const struct plan *denser);
size_t degrade_bytes(const codec_state *of, size_t half_bytes, int slots);
err degrade_open(cache *c);
void degrade_close(cache *c);

/* A block rests, the newest of them, and may be degraded; it rests no more. */
void degrade_allow(cache *c, pool_block b);
void degrade_stop(cache *c, pool_block b);

/* --- contents, in seal.c --- */

/* The open page of x is full: its block is found, or begins to be sealed. */
void cache_begin_seal(xcontext *x);

/* Pages that are not whole are no pages. */
void cache_stop_warming(cache *c);

#endif
