/* chain.h - the sealed blocks that follow one another in a context, found by their tokens.
 *
 * The first follows the root of a scope. Each next one has a key made of the key before it and
 * its own ids (prefix.h); what the key finds counts only if the ids are the same. */
#ifndef XCACHE_CHAIN_H
#define XCACHE_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xcache/cache.h"
#include "xcache/prefix.h"

/* Where a chain begins, and how far it has been followed. */
typedef struct chain {
    prefix_key root;
    pool_block last; /* PREFIX_NONE: none */
} chain;

/* The key that the chains of a scope begin with. */
prefix_key chain_root(const cache *c, const cache_request *r);

/* The key of what is sealed after it, with these ids. */
prefix_key chain_next_key(const cache *c, chain after, const int32_t *ids);

/* The block that follows with these ids, or PREFIX_NONE. A degraded one only if asked for. */
pool_block chain_find(const cache *c, chain after, const int32_t *ids, bool degraded);

/* List up to `most` blocks that follow the root with these ids, degraded or not. Returns how
 * many. */
size_t chain_follow(const cache *c, prefix_key root, const int32_t *ids, size_t most,
                    pool_block *blocks);

#endif
