/* pin.c - the blocks of conversations that do not run: found, kept, forgotten. */
#include <assert.h>

#include "xcache/cache_state.h"

size_t cache_lookup(const cache *c, const cache_request *r, uint32_t *blocks)
{
    const size_t B = c->shared.codec.block_tokens;
    chain at = {cache_scope_root(c, r), PREFIX_NONE};
    size_t n = 0;

    while ((n + 1) * B <= r->n_ids) {
        at.last = cache_find_block(c, at, r->ids + n * B, true);
        if (at.last == PREFIX_NONE) break;
        blocks[n++] = at.last;
    }
    return n;
}

bool cache_block_is_hot(const cache *c, uint32_t block)
{
    const workspace *w = c->shared.workspace;

    return pool_holders(c->shared.pool, block) || (w && workspace_has(w, block));
}

bool cache_block_is_degraded(const cache *c, uint32_t block)
{
    return pool_is_half(c->shared.pool, block);
}

/* Would so many more pinned blocks, so many of them resting, leave what was promised? */
static bool leaves_room(const cache *c, size_t pinned, size_t resting)
{
    const size_t all = pool_blocks(c->shared.pool);
    const size_t promised = pool_held_blocks(c->shared.pool) + c->outstanding;

    return c->pinned + pinned + c->longest <= all && promised + c->kept + resting <= all;
}

err cache_pin(cache *c, const uint32_t *blocks, size_t n)
{
    size_t pinned = 0, resting = 0;

    for (size_t i = 0; i < n; i++) {
        assert(prefix_has(c->prefixes, blocks[i]));
        pinned += !c->pins[blocks[i]];
        resting += lru_has(&c->resting, blocks[i]);
    }
    if (!leaves_room(c, pinned, resting)) return ERR_BUSY;
    for (size_t i = 0; i < n; i++) {
        const pool_block b = blocks[i];

        if (lru_has(&c->resting, b)) {
            cache_remove_resting(c, b);
            c->kept++;
        }
        c->pinned += c->pins[b]++ == 0;
    }
    return ERR_OK;
}

/* The last first, as a context lets go of its blocks: ends of chains are the older ones. */
void cache_unpin(cache *c, const uint32_t *blocks, size_t n)
{
    while (n--) {
        const pool_block b = blocks[n];

        assert(c->pins[b]);
        if (--c->pins[b]) continue;
        c->pinned--;
        if (pool_holders(c->shared.pool, b)) continue;
        c->kept--;
        cache_add_resting(c, b);
    }
}

void cache_forget(cache *c, uint32_t block)
{
    if (!lru_has(&c->resting, block)) return;
    cache_remove_resting(c, block);
    cache_free_block(c, block);
}
