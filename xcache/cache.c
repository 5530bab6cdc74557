/* cache.c - opens and closes what contexts share; begins, forks, cuts and ends contexts.
 *
 *    cache_begin: chain_follow -> ledger_admit -> an open page
 *    each step:   cache_push, the step, cache_commit (_later: seal_layers in later steps)
 *    cache_end:   ledger_drop, last block first; what was reserved and not taken, the page
 *
 * Counts are the ledger's, bytes the pool's, tokens the chains'; a context here is what ties
 * them together. */
#include "xcache/cache.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/pages.h"
#include "xcache/cache_state.h"

/* --- opening --- */

static err open_workspace(cache *c, const cache_options *o)
{
    context_shared *s = &c->shared;
    const size_t pages = cache_count_pages(&s->codec, o, pool_blocks(s->pool));

    if (!pages) return ERR_OK;
    return workspace_open(&s->workspace, s->codec.m, s->codec.kern, s->codec.block_tokens,
                          o->page_format, pages, pool_numbers(s->pool));
}

/* The key that all chains begin with. A cache has one model, mode, plan and path, and its seed
 * is its own; so keys of two caches differ. */
static err make_root(cache *c, const cache_options *o)
{
    const prefix_key none = {0};
    uint64_t seed[2] = {o->seed, o->seed};

    /* random, so that keys cannot be computed outside and made to collide */
    if (!o->seed && getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed) return ERR_SYSTEM;
    c->root = prefix_next(c->prefixes, none, seed, sizeof seed);
    return ERR_OK;
}

/* Blocks of several parts are for what windows leave, or for degraded ones. */
static err open_windows(cache *c)
{
    const context_shared *s = &c->shared;

    if (s->half.codec || pool_parts(s->pool) == 1) return ERR_OK;
    return windows_open(&c->windows, s->codec.m, s->codec.block_tokens, s->pool, c->prefixes);
}

/* Who holds what, and what is found where. */
static err open_tables(cache *c, const cache_options *o)
{
    const size_t numbers = pool_numbers(c->shared.pool);
    const size_t longest = o->ctx_tokens / c->shared.codec.block_tokens;

    TRY(prefix_open(&c->prefixes, numbers, o->key_bits ? o->key_bits : 128));
    TRY(open_workspace(c, o));
    TRY(open_windows(c));
    TRY(ledger_open(&c->ledger, c->shared.pool, c->prefixes, c->shared.workspace, &c->windows,
                    longest));
    TRY(degrade_open(c, longest));
    return make_root(c, o);
}

static err open_all(cache *c, const model *m, const kern *k, const cache_options *o)
{
    context_shared *s = &c->shared;
    const codec_options how = cache_codec_options(o);
    size_t parts;

    TRY(codec_open(&s->codec, &how, m, k));
    TRY(format_open(&s->whole, &s->codec));
    if (o->degraded_plan) TRY(degrade_open_format(c, o->degraded_plan));
    /* the pool must know how its blocks may shrink, so the second format comes first */
    parts = cache_count_parts(&s->whole, &s->half, o->ctx_tokens);
    TRY(pool_open(&s->pool, o->budget_bytes, cache_block_bytes(&s->whole, &s->half, parts),
                  parts));
    TRY(open_tables(c, o));
    TRY(scratch_open(&c->scratch, &s->codec, o->max_running, o->team->slots,
                     s->workspace ? 0 : cache_count_stream(&s->codec, o)));
    TRY(sinks_open(c, o));
    s->slots = c->scratch.slots;
    s->rebuilt = &c->rebuilt;
    return ERR_OK;
}

err cache_open(cache **out, const model *m, const kern *k, const cache_options *o)
{
    cache *c = calloc(1, sizeof *c);
    err e;

    if (!c) return ERR_NOMEM;
    c->team = o->team;
    e = open_all(c, m, k, o);
    if (e != ERR_OK) {
        cache_close(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

err cache_fill(cache *c)
{
    TRY(pool_fill(c->shared.pool));
    if (c->shared.workspace) TRY(workspace_fill(c->shared.workspace));
    TRY(sinks_fill(c));
    return pages_fill(c->scratch.memory, c->scratch.bytes);
}

void cache_close(cache *c)
{
    if (!c) return;
    assert(c->scratch.n_free == c->scratch.n_pages || !c->scratch.memory); /* all have ended */
    sinks_close(c);
    scratch_close(&c->scratch);
    workspace_close(c->shared.workspace);
    ledger_close(c->ledger);
    windows_close(&c->windows);
    prefix_close(c->prefixes);
    degrade_close(c);
    pool_close(c->shared.pool);
    format_close(&c->shared.whole);
    codec_close(&c->shared.codec);
    free(c);
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
    /* copies and tokens are a client's numbers: their product may be anything */
    if (r->copies >= (size_t)c->scratch.n_pages ||
        __builtin_mul_overflow(r->copies, blocks_of_copy(c, r), &blocks) ||
        __builtin_add_overflow(blocks, r->tokens / c->shared.codec.block_tokens, &blocks))
        return ERR_NOROOM;
    return blocks <= ledger_limit(c->ledger) ? ERR_OK : ERR_NOROOM;
}

/* Hold what x lists, reserve the rest for it and its copies, and give it a page. */
static err admit(xcontext *x, bool modest)
{
    cache *c = x->cache;
    const ledger_claim all = {.blocks = x->blocks,
                              .n = x->n_blocks,
                              .reserve = x->most_blocks - x->n_blocks +
                                         x->copies * x->copy_blocks,
                              .copies = x->copies,
                              .modest = modest,
                              .free_pages = (size_t)c->scratch.n_free};

    TRY(ledger_admit(c->ledger, &all));
    x->page = scratch_take_page(&c->scratch);
    return ERR_OK;
}

/* What is cached of its prompt, as far as it can go on behind it. */
static void attach(xcontext *x, const cache_request *r)
{
    const size_t B = x->base.block_tokens;
    /* one token at least is computed: its logits are wanted */
    const size_t most = r->n_ids && !r->fresh ? (r->n_ids - 1) / B : 0;
    const size_t n = chain_follow(x->cache, x->root, r->ids, most, x->blocks);

    x->n_blocks = windows_usable(&x->cache->windows, x->blocks, n);
    x->rewound = (n - x->n_blocks) * B;
}

err cache_begin(cache *c, const cache_request *r, context **out)
{
    xcontext *x;
    err e;

    /* never is told apart from not now, so that nobody waits in vain */
    TRY(cache_check(c, r));
    x = context_new(c, &c->shared, r->tokens);
    if (!x) return ERR_NOMEM;
    x->root = chain_root(c, r);
    x->prompt = r->n_ids;
    x->copies = r->copies;
    x->copy_blocks = blocks_of_copy(c, r);
    attach(x, r);
    e = admit(x, r->modest);
    if (e != ERR_OK) {
        context_free(x);
        return e;
    }
    x->n_tokens = x->n_blocks * x->base.block_tokens;
    windows_reach(&c->windows, x->blocks, x->n_blocks);
    windows_resume(&c->windows, x->blocks, x->n_blocks);
    sinks_attach(x);
    c->queried_tokens += r->n_ids;
    c->hit_tokens += x->n_tokens;
    c->rewound_tokens += x->rewound;
    *out = &x->base;
    return ERR_OK;
}

void cache_drop_copy(context *base)
{
    xcontext *x = context_of(base);

    assert(x->copies > 0);
    x->copies--;
    ledger_unpromise(x->cache->ledger, x->copy_blocks);
}

err cache_fork(context *base, context **out)
{
    xcontext *from = context_of(base);
    cache *c = from->cache;
    xcontext *x = context_new(c, &c->shared, from->most_blocks * base->block_tokens);
    err e;

    assert(!from->pushed && !cache_is_sealing(base));
    if (!x) return ERR_NOMEM;
    assert(!from->copies || from->n_tokens == from->prompt);
    if (from->copies) cache_drop_copy(base); /* it is kept now */
    x->root = from->root;
    x->n_blocks = from->n_blocks;
    x->n_tokens = from->n_tokens;
    memcpy(x->blocks, from->blocks, from->n_blocks * sizeof *x->blocks);
    /* of a promised copy this cannot fail: its reservation was given back just now */
    e = admit(x, false);
    if (e != ERR_OK) {
        context_free(x);
        return e;
    }
    windows_reach(&c->windows, x->blocks, x->n_blocks);
    sinks_attach(x); /* those of the other: found, so the page is let alone */
    scratch_copy_page(&c->scratch, x->page, from->page);
    *out = &x->base;
    return ERR_OK;
}

/* --- running --- */

void cache_push(context *base, const int32_t *ids, size_t T)
{
    xcontext *x = context_of(base);
    const size_t at = x->n_tokens % base->block_tokens;

    assert(!x->pushed && !cache_is_sealing(base) && at + T <= base->block_tokens);
    memcpy(x->page->ids + at, ids, T * sizeof *ids);
    x->pushed = T;
}

/* What a step left in the open page lies behind the tokens that count, and is written over. */
void cache_take_back(context *base)
{
    context_of(base)->pushed = 0;
}

void cache_commit_later(context *base)
{
    xcontext *x = context_of(base);

    x->n_tokens += x->pushed;
    x->pushed = 0;
    /* a step never crosses a block's end, so at most one block is full */
    if (x->n_tokens / base->block_tokens > x->n_blocks) seal_begin(x);
}

void cache_commit(context *base)
{
    cache_commit_later(base);
    if (cache_is_sealing(base)) seal_layers(context_of(base)->cache, &base, 1, INT_MAX);
}

bool cache_is_sealing(const context *x)
{
    return context_of_const(x)->sealing != PREFIX_NONE;
}

/* Let go of all but the first `keep` blocks. */
static err return_blocks(xcontext *x, size_t keep)
{
    windows *w = &x->cache->windows;
    err e;

    /* before they go: what is freed must be out of everybody's reach */
    windows_reach(w, x->blocks, keep);
    windows_leave(w, x->blocks, x->n_blocks);
    e = ledger_return(x->cache->ledger, x->blocks + keep, x->n_blocks - keep);
    if (e == ERR_OK) return e;
    windows_reach(w, x->blocks, x->n_blocks);
    windows_leave(w, x->blocks, keep);
    return e;
}

err cache_truncate(context *base, size_t tokens)
{
    xcontext *x = context_of(base);
    size_t keep = tokens / base->block_tokens;

    assert(!x->pushed && !cache_is_sealing(base));
    if (tokens >= x->n_tokens) return ERR_OK;
    if (keep >= x->n_blocks) {
        x->n_tokens = tokens;
        return ERR_OK;
    }
    keep = windows_usable(&x->cache->windows, x->blocks, keep);
    TRY(return_blocks(x, keep));
    rebuild_stop(x->cache, x);
    if (!keep) sinks_drop(x);
    x->n_blocks = keep;
    /* the open page held tokens after them, so the rest of that block is gone, too */
    x->n_tokens = keep * base->block_tokens;
    return ERR_OK;
}

size_t cache_context_tokens(const context *x)
{
    return context_of_const(x)->n_tokens;
}

size_t cache_context_rewound(const context *x)
{
    return context_of_const(x)->rewound;
}

size_t cache_context_bytes(const context *base)
{
    const xcontext *x = context_of_const(base);
    size_t bytes = 0;

    for (size_t i = 0; i < x->n_blocks; i++)
        bytes += pool_bytes_of(x->shared->pool, x->blocks[i]);
    return bytes;
}

/* All its blocks rest, but for private ones, which nobody would find. */
static void let_go(xcontext *x)
{
    cache *c = x->cache;
    size_t found = x->n_blocks;

    while (found && !prefix_has(c->prefixes, x->blocks[found - 1])) found--;
    windows_rest(&c->windows, x->blocks, found);
    windows_leave(&c->windows, x->blocks, x->n_blocks);
    /* last first, so that ends of chains are the oldest that rest */
    for (size_t i = x->n_blocks; i--;) ledger_drop(c->ledger, x->blocks[i]);
    windows_order(&c->windows, x->blocks, found);
    x->n_blocks = 0;
}

void cache_end(context *base)
{
    xcontext *x = context_of(base);
    cache *c = x->cache;

    rebuild_stop(c, x);
    while (x->copies) cache_drop_copy(base);
    /* a block that is being sealed was taken from what was reserved */
    ledger_unreserve(c->ledger, x->most_blocks - x->n_blocks - cache_is_sealing(base));
    if (cache_is_sealing(base)) {
        windows_written(&c->windows, x->sealing);
        ledger_drop(c->ledger, x->sealing);
    }
    let_go(x);
    sinks_drop(x);
    scratch_give_page(&c->scratch, x->page);
    context_free(x);
}

/* --- conversations that do not run --- */

size_t cache_lookup(const cache *c, const cache_request *r, uint32_t *blocks)
{
    return chain_follow(c, chain_root(c, r), r->ids, r->n_ids / c->shared.codec.block_tokens,
                        blocks);
}

bool cache_block_is_hot(const cache *c, uint32_t block)
{
    const workspace *w = c->shared.workspace;

    return ledger_refcount(c->ledger, block) || (w && workspace_has(w, block));
}

bool cache_block_is_degraded(const cache *c, uint32_t block)
{
    return context_is_degraded(&c->shared, block);
}

bool cache_block_is_narrow(const cache *c, uint32_t block)
{
    return context_is_narrow(&c->shared, block);
}

size_t cache_bytes_of_block(const cache *c, uint32_t block)
{
    return pool_bytes_of(c->shared.pool, block);
}

size_t cache_usable(const cache *c, const uint32_t *blocks, size_t n)
{
    return windows_usable(&c->windows, blocks, n);
}

err cache_pin(cache *c, const uint32_t *blocks, size_t n)
{
    TRY(ledger_pin(c->ledger, blocks, n));
    /* what is pinned is to go on without computing anything again */
    windows_reach(&c->windows, blocks, n);
    return ERR_OK;
}

void cache_unpin(cache *c, const uint32_t *blocks, size_t n)
{
    windows_leave(&c->windows, blocks, n);
    ledger_unpin(c->ledger, blocks, n);
}

void cache_forget(cache *c, uint32_t block)
{
    ledger_free(c->ledger, block);
}

size_t cache_evict(cache *c, size_t blocks)
{
    return ledger_evict(c->ledger, blocks);
}

size_t cache_drop_windows(cache *c, size_t blocks)
{
    size_t done = 0;

    while (done < blocks && windows_drop(&c->windows)) done++;
    return done;
}
