/* lifecycle.c - begins, forks, cuts and ends contexts; holds and evicts their blocks. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/cache_state.h"

static xcontext *of(context *x)
{
    return (xcontext *)(void *)x;
}

static const xcontext *of_const(const context *x)
{
    return (const xcontext *)(const void *)x;
}

/* --- blocks --- */

/* Resting blocks stand in the order they were let go of. A context lets go of its last block
 * first, so a block comes before the one it follows: the oldest is always the end of a chain.
 */
static void evict_block(cache *c)
{
    const pool_block b = c->resting.oldest;

    cache_remove_resting(c, b);
    cache_free_block(c, b);
    c->evicted++;
}

void cache_make_room(cache *c)
{
    while (!pool_free_blocks(c->shared.pool))
        if (!degrade_step(c, INT_MAX)) evict_block(c);
}

void cache_add_resting(cache *c, pool_block b)
{
    lru_add(&c->resting, b);
    degrade_allow(c, b);
}

void cache_remove_resting(cache *c, pool_block b)
{
    lru_remove(&c->resting, b);
    degrade_stop(c, b);
}

void cache_free_block(cache *c, pool_block b)
{
    if (prefix_has(c->prefixes, b)) prefix_remove(c->prefixes, b);
    if (c->shared.workspace) workspace_drop(c->shared.workspace, b);
    pool_give(c->shared.pool, b);
}

size_t cache_evict(cache *c, size_t blocks)
{
    size_t n = 0;

    for (; n < blocks && c->resting.count; n++) evict_block(c);
    return n;
}

pool_block cache_take_block(cache *c)
{
    pool_block b = PREFIX_NONE;
    err e;

    cache_make_room(c);
    e = pool_take(c->shared.pool, &b);
    assert(e == ERR_OK); /* it was reserved */
    (void)e;
    return b;
}

void cache_hold_block(cache *c, pool_block b)
{
    if (pool_hold(c->shared.pool, b) > 1) return;
    if (c->pins[b])
        c->kept--;
    else
        cache_remove_resting(c, b);
    if (c->shared.workspace) workspace_hold(c->shared.workspace, b);
}

void cache_drop_block(cache *c, pool_block b)
{
    if (pool_drop(c->shared.pool, b)) return;
    if (!prefix_has(c->prefixes, b)) {
        cache_free_block(c, b);
        return;
    }
    if (c->pins[b])
        c->kept++;
    else
        cache_add_resting(c, b);
    if (c->shared.workspace) workspace_rest(c->shared.workspace, b);
}

/* --- chains --- */

static size_t ids_bytes(const cache *c)
{
    return c->shared.codec.block_tokens * sizeof(int32_t);
}

static pool_block find_key(const cache *c, prefix_key key, pool_block parent,
                           const int32_t *ids)
{
    const pool_block b = prefix_find(c->prefixes, key, parent);

    if (b == PREFIX_NONE || memcmp(context_ids(&c->shared, b), ids, ids_bytes(c)) != 0)
        return PREFIX_NONE;
    return b;
}

prefix_key cache_next_key(const cache *c, chain after, const int32_t *ids)
{
    const prefix_key before = after.last == PREFIX_NONE ? after.root
                                                        : prefix_of(c->prefixes, after.last);

    return prefix_next(c->prefixes, before, ids, ids_bytes(c));
}

/* The block of that key, or of what it is degraded to. */
static pool_block find_either(const cache *c, prefix_key key, pool_block parent,
                              const int32_t *ids, bool degraded)
{
    const pool_block b = find_key(c, key, parent, ids);

    if (b != PREFIX_NONE || !degraded) return b;
    return find_key(c, prefix_changed(c->prefixes, key), parent, ids);
}

/* What was sealed after a block before it was degraded follows the key it had then. */
pool_block cache_find_block(const cache *c, chain after, const int32_t *ids, bool degraded)
{
    const prefix_table *t = c->prefixes;
    const bool changed = after.last != PREFIX_NONE && prefix_has_changed(t, after.last);
    prefix_key key = cache_next_key(c, after, ids);
    const pool_block b = find_either(c, key, after.last, ids, degraded);

    if (b != PREFIX_NONE || !changed) return b;
    key = prefix_next(t, prefix_changed(t, prefix_of(t, after.last)), ids, ids_bytes(c));
    return find_either(c, key, after.last, ids, degraded);
}

/* --- beginning --- */

/* Blocks that a copy needs besides those of the prompt, which it shares. */
static size_t blocks_of_copy(const cache *c, const cache_request *r)
{
    const size_t B = c->shared.codec.block_tokens;

    return r->tokens / B - r->n_ids / B;
}

err cache_check(const cache *c, const cache_request *r)
{
    size_t blocks;

    assert(r->n_ids <= r->tokens);
    if (r->copies >= (size_t)c->scratch.n_pages ||
        __builtin_mul_overflow(r->copies, blocks_of_copy(c, r), &blocks) ||
        __builtin_add_overflow(blocks, r->tokens / c->shared.codec.block_tokens, &blocks))
        return ERR_NOROOM;
    return blocks <= c->limit ? ERR_OK : ERR_NOROOM;
}

prefix_key cache_scope_root(const cache *c, const cache_request *r)
{
    if (!r->scope_bytes) return c->root;
    return prefix_next(c->prefixes, c->root, r->scope, r->scope_bytes);
}

/* Find the sealed blocks of the longest cached prefix that leaves a token. */
static void match(xcontext *x, const cache_request *r)
{
    const size_t B = x->base.block_tokens;
    chain at = {x->root, PREFIX_NONE};

    while ((x->n_blocks + 1) * B < r->n_ids) {
        at.last = cache_find_block(x->cache, at, r->ids + x->n_blocks * B, true);
        if (at.last == PREFIX_NONE) break;
        x->blocks[x->n_blocks++] = at.last;
    }
}

/* What a change adds: blocks that are held or promised, and of these the ones that could have
 * been evicted until then. */
typedef struct wants {
    size_t held, taken;
} wants;

/* Blocks of x that nobody holds. */
static wants count_resting(const xcontext *x)
{
    wants w = {0};

    for (size_t i = 0; i < x->n_blocks; i++) {
        const bool rests = pool_holders(x->shared->pool, x->blocks[i]) == 0;

        w.held += rests;
        w.taken += rests && !x->cache->pins[x->blocks[i]];
    }
    return w;
}

/* Would these fit beside what is held and promised, and beside what is pinned? */
static bool fits(const cache *c, wants w)
{
    const size_t promised = pool_held_blocks(c->shared.pool) + c->outstanding;

    return promised + w.held <= c->limit &&
           promised + c->kept + w.taken <= pool_blocks(c->shared.pool);
}

/* Hold what x lists, promise it and its copies the rest, and give it a page. */
static err admit(xcontext *x)
{
    const size_t more = x->reserved - x->n_blocks + x->copies * x->copy_blocks;
    cache *c = x->cache;
    wants w = count_resting(x);

    w.held += more;
    w.taken += more;
    if (!fits(c, w) || (size_t)c->scratch.n_free <= c->copies + x->copies) return ERR_BUSY;
    x->page = scratch_take_page(&c->scratch);
    for (size_t i = 0; i < x->n_blocks; i++) cache_hold_block(c, x->blocks[i]);
    c->outstanding += more;
    c->copies += x->copies;
    return ERR_OK;
}

static void free_context(xcontext *x)
{
    if (x) free(x->blocks);
    free(x);
}

/* A context that computes `tokens`, nothing held yet. */
static xcontext *new_context(cache *c, size_t tokens)
{
    const size_t B = c->shared.codec.block_tokens;
    xcontext *x = calloc(1, sizeof *x);

    if (!x) return NULL;
    *x = (xcontext){
        .base = {.ops = &xcontext_ops,
                 .block_tokens = B,
                 .every_tile = c->shared.codec.codec->carries && !c->shared.workspace},
        .cache = c,
        .shared = &c->shared,
        .reserved = tokens / B,
        .root = c->root,
        .sealing = PREFIX_NONE};
    x->blocks = malloc((x->reserved + 1) * sizeof *x->blocks);
    if (x->blocks) return x;
    free(x);
    return NULL;
}

err cache_begin(cache *c, const cache_request *r, context **out)
{
    xcontext *x;
    err e;

    TRY(cache_check(c, r));
    x = new_context(c, r->tokens);
    if (!x) return ERR_NOMEM;
    x->root = cache_scope_root(c, r);
    x->prompt = r->n_ids;
    x->copies = r->copies;
    x->copy_blocks = blocks_of_copy(c, r);
    match(x, r);
    e = admit(x);
    if (e != ERR_OK) {
        free_context(x);
        return e;
    }
    x->n_tokens = x->n_blocks * x->base.block_tokens;
    c->queried_tokens += r->n_ids;
    c->hit_tokens += x->n_tokens;
    *out = &x->base;
    return ERR_OK;
}

void cache_drop_copy(context *base)
{
    xcontext *x = of(base);

    assert(x->copies > 0);
    x->copies--;
    x->cache->copies--;
    x->cache->outstanding -= x->copy_blocks;
}

err cache_fork(context *base, context **out)
{
    xcontext *from = of(base);
    cache *c = from->cache;
    xcontext *x = new_context(c, from->reserved * base->block_tokens);
    err e;

    assert(!from->pushed && !cache_is_sealing(base));
    if (!x) return ERR_NOMEM;
    assert(!from->copies || from->n_tokens == from->prompt);
    if (from->copies) cache_drop_copy(base); /* it is kept now */
    x->root = from->root;
    x->n_blocks = from->n_blocks;
    x->n_tokens = from->n_tokens;
    memcpy(x->blocks, from->blocks, from->n_blocks * sizeof *x->blocks);
    e = admit(x);
    if (e != ERR_OK) {
        free_context(x);
        return e;
    }
    scratch_copy_page(&c->scratch, x->page, from->page);
    *out = &x->base;
    return ERR_OK;
}

/* --- running --- */

void cache_push(context *base, const int32_t *ids, size_t T)
{
    xcontext *x = of(base);
    const size_t at = x->n_tokens % base->block_tokens;

    assert(!x->pushed && !cache_is_sealing(base) && at + T <= base->block_tokens);
    memcpy(x->page->ids + at, ids, T * sizeof *ids);
    x->pushed = T;
}

void cache_commit_later(context *base)
{
    xcontext *x = of(base);

    x->n_tokens += x->pushed;
    x->pushed = 0;
    if (x->n_tokens / base->block_tokens > x->n_blocks) seal_begin(x);
}

void cache_commit(context *base)
{
    cache_commit_later(base);
    if (cache_is_sealing(base)) seal_layers(of(base)->cache, &base, 1, INT_MAX);
}

bool cache_is_sealing(const context *x)
{
    return of_const(x)->sealing != PREFIX_NONE;
}

/* Let go of blocks until n are left, the last first. */
static void drop_blocks(xcontext *x, size_t n)
{
    while (x->n_blocks > n) cache_drop_block(x->cache, x->blocks[--x->n_blocks]);
}

/* Of the blocks from n on, how many stay where they are when x lets go of them. */
static wants count_staying(const xcontext *x, size_t n)
{
    wants w = {0};

    for (size_t i = n; i < x->n_blocks; i++) {
        const bool shared = pool_holders(x->shared->pool, x->blocks[i]) > 1;

        w.held += shared;
        w.taken += shared || x->cache->pins[x->blocks[i]];
    }
    return w;
}

err cache_truncate(context *base, size_t tokens)
{
    xcontext *x = of(base);
    const size_t keep = tokens / base->block_tokens;

    assert(!x->pushed && !cache_is_sealing(base));
    if (tokens >= x->n_tokens) return ERR_OK;
    if (keep >= x->n_blocks) {
        x->n_tokens = tokens;
        return ERR_OK;
    }
    if (!fits(x->cache, count_staying(x, keep))) return ERR_BUSY;
    if (x->cache->rebuilding.x == x) rebuild_stop(x->cache);
    x->cache->outstanding += x->n_blocks - keep;
    drop_blocks(x, keep);
    x->n_tokens = keep * base->block_tokens;
    return ERR_OK;
}

size_t cache_context_tokens(const context *x)
{
    return of_const(x)->n_tokens;
}

size_t cache_context_bytes(const context *x)
{
    const xcontext *own = of_const(x);
    const pool *p = own->shared->pool;
    size_t bytes = 0;

    for (size_t i = 0; i < own->n_blocks; i++)
        bytes += pool_block_bytes(p) / (pool_is_half(p, own->blocks[i]) ? 2 : 1);
    return bytes;
}

void cache_end(context *base)
{
    xcontext *x = of(base);
    cache *c = x->cache;

    if (c->rebuilding.x == x) rebuild_stop(c);
    while (x->copies) cache_drop_copy(base);
    c->outstanding -= x->reserved - x->n_blocks;
    if (cache_is_sealing(base)) {
        c->outstanding++; /* it was taken */
        cache_drop_block(c, x->sealing);
    }
    drop_blocks(x, 0);
    scratch_give_page(&c->scratch, x->page);
    free_context(x);
}
