/* chain.c - follows chains of blocks by the ids of their tokens. */
#include "xcache/chain.h"

#include <string.h>

#include "xcache/cache_state.h"

prefix_key chain_root(const cache *c, const cache_request *r)
{
    if (!r->scope_bytes) return c->root;
    return prefix_next(c->prefixes, c->root, r->scope, r->scope_bytes);
}

static size_t ids_bytes(const cache *c)
{
    return c->shared.codec.block_tokens * sizeof(int32_t);
}

/* A key may lie; the ids do not. */
static pool_block find_key(const cache *c, prefix_key key, pool_block parent,
                           const int32_t *ids)
{
    const pool_block b = prefix_find(c->prefixes, key, parent);

    if (b == PREFIX_NONE || memcmp(context_ids(&c->shared, b), ids, ids_bytes(c)) != 0)
        return PREFIX_NONE;
    return b;
}

prefix_key chain_next_key(const cache *c, chain after, const int32_t *ids)
{
    /* of a degraded block, its new key: what is sealed after it is less exact, too */
    const prefix_key before = after.last == PREFIX_NONE ? after.root
                                                        : prefix_of(c->prefixes, after.last);

    return prefix_next(c->prefixes, before, ids, ids_bytes(c));
}

/* The block of that key, or of what it is degraded to. */
static pool_block find_either(const cache *c, prefix_key key, pool_block parent,
                              const int32_t *ids, bool degraded)
{
    const pool_block b = find_key(c, key, parent, ids);

    /* whole ones first: they are more exact */
    if (b != PREFIX_NONE || !degraded) return b;
    return find_key(c, prefix_changed(c->prefixes, key), parent, ids);
}

/* What was sealed after a block before it was degraded follows the key it had then. */
pool_block chain_find(const cache *c, chain after, const int32_t *ids, bool degraded)
{
    const prefix_table *t = c->prefixes;
    const bool changed = after.last != PREFIX_NONE && prefix_has_changed(t, after.last);
    prefix_key key = chain_next_key(c, after, ids);
    const pool_block b = find_either(c, key, after.last, ids, degraded);

    if (b != PREFIX_NONE || !changed) return b;
    key = prefix_next(t, prefix_changed(t, prefix_of(t, after.last)), ids, ids_bytes(c));
    return find_either(c, key, after.last, ids, degraded);
}

size_t chain_follow(const cache *c, prefix_key root, const int32_t *ids, size_t most,
                    pool_block *blocks)
{
    chain at = {root, PREFIX_NONE};
    size_t n = 0;

    for (; n < most; n++) {
        at.last = chain_find(c, at, ids + n * c->shared.codec.block_tokens, true);
        if (at.last == PREFIX_NONE) break;
        blocks[n] = at.last;
    }
    return n;
}
