/* cache.c - opens and closes what contexts share, and counts it. */
#include "xcache/cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/pages.h"
#include "xcache/cache_state.h"

/* --- workspace --- */

/* Bytes by default: max_running contexts, at most 1/8 of pool and workspace together, at least
 * one context. */
static uint64_t default_workspace(uint64_t budget, uint64_t one, int max_running)
{
    const uint64_t all = one * (uint64_t)max_running, most = budget / 7;
    const uint64_t bytes = all < most ? all : most;

    return bytes > one ? bytes : one;
}

/* Pages of the workspace; 0: streaming, for no context would fit, or nothing is rebuilt. */
static size_t count_pages(const codec_state *s, const cache_options *o)
{
    const size_t page = workspace_page_bytes(s->m, s->block_tokens, o->page_format);
    const size_t blocks = o->ctx_tokens / s->block_tokens, least = blocks ? blocks : 1;
    uint64_t bytes = o->workspace_bytes;

    if (!s->codec->rebuilds) return 0;
    if (bytes == CACHE_AUTO_WORKSPACE)
        bytes = default_workspace(o->budget_bytes, least * page, o->max_running);
    return bytes / page < least ? 0 : bytes / page;
}

static err open_workspace(cache *c, const cache_options *o)
{
    context_shared *s = &c->shared;
    const size_t blocks = pool_blocks(s->pool);
    size_t pages = count_pages(&s->codec, o);

    c->limit = blocks;
    if (!pages) return ERR_OK;
    if (pages > blocks) pages = blocks; /* no more than that are held at once */
    c->limit = pages;
    return workspace_open(&s->workspace, s->codec.m, s->codec.kern, s->codec.block_tokens,
                          o->page_format, pages, pool_numbers(s->pool));
}

/* --- opening --- */

/* The key that all chains begin with. A cache has one model, mode, plan and path, and its seed
 * is its own; so keys of two caches differ. */
static err make_root(cache *c, const cache_options *o)
{
    const prefix_key none = {0};
    uint64_t seed[2] = {o->seed, o->seed};

    if (!o->seed && getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed) return ERR_SYSTEM;
    c->root = prefix_next(c->prefixes, none, seed, sizeof seed);
    return ERR_OK;
}

static err open_tables(cache *c, const cache_options *o)
{
    const size_t blocks = pool_numbers(c->shared.pool);

    TRY(prefix_open(&c->prefixes, blocks, o->key_bits ? o->key_bits : 128));
    TRY(lru_open(&c->resting, blocks));
    c->pins = calloc(blocks, sizeof *c->pins);
    if (!c->pins) return ERR_NOMEM;
    c->longest = o->ctx_tokens / c->shared.codec.block_tokens;
    return make_root(c, o);
}

static codec_options read_codec_options(const cache_options *o)
{
    return (codec_options){.mode = o->mode,
                           .plan = o->plan,
                           .tuning = o->tuning,
                           .block_tokens = o->block_tokens ? o->block_tokens
                                                           : CACHE_BLOCK_TOKENS};
}

/* Blocks of the longest context, for scratch. */
static size_t count_stream(const codec_state *s, const cache_options *o)
{
    return (o->ctx_tokens + s->block_tokens - 1) / s->block_tokens;
}

/* A block is as large as the codec's, and two of the second plan's, if there is one, fit into
 * it. */
static size_t count_block_bytes(const block_format *whole, const block_format *half)
{
    const size_t least = (half->bytes + 63) / 64 * 64;

    return whole->bytes > 2 * least ? whole->bytes : 2 * least;
}

static err open_all(cache *c, const model *m, const kern *k, const cache_options *o)
{
    context_shared *s = &c->shared;
    const codec_options how = read_codec_options(o);

    TRY(codec_open(&s->codec, &how, m, k));
    TRY(format_open(&s->whole, &s->codec));
    if (o->degraded_plan) TRY(degrade_open_format(c, o->degraded_plan));
    TRY(pool_open(&s->pool, o->budget_bytes, count_block_bytes(&s->whole, &s->half),
                  o->degraded_plan != NULL));
    TRY(open_tables(c, o));
    TRY(degrade_open(c));
    TRY(open_workspace(c, o));
    TRY(scratch_open(&c->scratch, &s->codec, o->max_running, o->team->slots,
                     s->workspace ? 0 : count_stream(&s->codec, o)));
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
    return pages_fill(c->scratch.memory, c->scratch.bytes);
}

void cache_close(cache *c)
{
    if (!c) return;
    assert(c->scratch.n_free == c->scratch.n_pages || !c->scratch.memory); /* all have ended */
    scratch_close(&c->scratch);
    workspace_close(c->shared.workspace);
    lru_close(&c->resting);
    free(c->pins);
    prefix_close(c->prefixes);
    degrade_close(c);
    pool_close(c->shared.pool);
    format_close(&c->shared.whole);
    codec_close(&c->shared.codec);
    free(c);
}

/* --- sizes --- */

/* What a cache's sizes follow from. */
typedef struct measures {
    codec_state codec, denser; /* measured; denser.codec NULL: nothing is degraded */
    block_format whole, half;
} measures;

static err take_measures(measures *m, const model *of, const cache_options *o)
{
    const codec_options how = read_codec_options(o);

    TRY(codec_measure(&m->codec, &how, of));
    TRY(format_open(&m->whole, &m->codec));
    if (!o->degraded_plan) return ERR_OK;
    TRY(degrade_measure(&m->denser, &m->codec, o->degraded_plan));
    return format_open(&m->half, &m->denser);
}

static void read_sizes(const measures *m, const cache_options *o, cache_sizes *out)
{
    const codec_state *k = &m->codec;
    const size_t page = workspace_page_bytes(k->m, k->block_tokens, o->page_format);
    const bool halves = m->denser.codec != NULL;
    const size_t line = halves ? 128 : 64, bytes = count_block_bytes(&m->whole, &m->half);
    size_t pages = count_pages(k, o);

    memcpy(out->mode, k->mode, sizeof out->mode);
    out->block_tokens = k->block_tokens;
    out->block_bytes = (bytes + line - 1) / line * line;
    out->blocks = o->budget_bytes / out->block_bytes;
    out->pool_bytes = (uint64_t)out->blocks * out->block_bytes;
    if (pages > out->blocks) pages = out->blocks;
    out->workspace_bytes = (uint64_t)pages * page;
    out->scratch_bytes = scratch_measure(k, o->max_running, o->team->slots,
                                         pages ? 0 : count_stream(k, o)) +
                         prefix_bytes(out->blocks * (halves ? 2 : 1));
    if (halves) out->scratch_bytes += degrade_bytes(k, out->block_bytes / 2, o->team->slots);
    out->weight_bytes = k->bytes + m->denser.bytes;
}

err cache_measure(const model *m, const cache_options *o, cache_sizes *out)
{
    measures all = {0};
    const err e = take_measures(&all, m, o);

    if (e == ERR_OK) {
        *out = (cache_sizes){0};
        read_sizes(&all, o, out);
    }
    format_close(&all.whole);
    format_close(&all.half);
    return e;
}

/* --- figures --- */

static void read_pool_stats(const cache *c, cache_stats *out)
{
    const context_shared *s = &c->shared;
    const size_t bytes = pool_block_bytes(s->pool), B = s->codec.block_tokens;
    const size_t used = pool_used_bytes(s->pool), halves = pool_half_blocks(s->pool);
    const size_t wholes = (used - halves * (bytes / 2)) / bytes;
    const size_t elements = 2 * s->codec.m->E * s->codec.m->L;

    out->block_bytes = bytes;
    out->block_numbers = pool_numbers(s->pool);
    out->capacity_bytes = pool_budget_bytes(s->pool);
    out->codes_bytes = wholes * s->whole.codes_bytes + halves * s->half.codes_bytes;
    out->scales_bytes = wholes * s->whole.scales_bytes + halves * s->half.scales_bytes;
    out->index_bytes = used - out->codes_bytes - out->scales_bytes;
    out->free_bytes = out->capacity_bytes - used;
    out->capacity_tokens = pool_blocks(s->pool) * B;
    out->degraded_tokens = halves * B;
    out->active_tokens = pool_held_blocks(s->pool) * B;
    out->pinned_tokens = c->kept * B;
    out->idle_tokens = c->resting.count * B + out->pinned_tokens;
    out->fp16_bytes = (wholes + halves) * B * elements * 2;
    out->bits_per_element = (double)bytes * 8 / (double)(elements * B);
}

static void read_workspace_stats(const workspace *w, cache_stats *out)
{
    size_t page;

    if (!w) return;
    page = workspace_page_size(w);
    out->workspace_bytes = workspace_pages(w) * page;
    out->workspace_used_bytes = workspace_used(w) * page;
    out->evicted_pages = workspace_evicted(w);
}

void cache_read_stats(const cache *c, cache_stats *out)
{
    const context_shared *s = &c->shared;

    *out = (cache_stats){.mode = s->codec.mode,
                         .degraded_mode = c->degrader.codec.codec ? c->degrader.codec.mode
                                                                  : NULL,
                         .block_tokens = s->codec.block_tokens,
                         .scratch_bytes = c->scratch.bytes + c->degrader.bytes +
                                          prefix_bytes(pool_numbers(s->pool)),
                         .weight_bytes = s->codec.bytes + c->degrader.codec.bytes,
                         .queried_tokens = c->queried_tokens,
                         .hit_tokens = c->hit_tokens,
                         .evicted_blocks = c->evicted,
                         .degraded_blocks = c->degrader.count,
                         .sealed_blocks = c->sealed,
                         .remat_tokens = atomic_load(&c->rebuilt),
                         .seal_seconds = c->seal_seconds,
                         .rebuild_seconds = c->rebuild_seconds,
                         .degrade_seconds = c->degrader.seconds};
    read_pool_stats(c, out);
    read_workspace_stats(s->workspace, out);
}

/* Every block is in one place, and what is not free can be found. */
static bool is_sound_block(const cache *c, pool_block b)
{
    const context_shared *s = &c->shared;
    const bool is_free = pool_is_free(s->pool, b), rests = lru_has(&c->resting, b);
    const bool paged = s->workspace && workspace_has(s->workspace, b);

    if (is_free) return !rests && !c->pins[b] && !paged && !prefix_has(c->prefixes, b);
    return pool_holders(s->pool, b) == 0 && rests == !c->pins[b] &&
           prefix_has(c->prefixes, b) &&
           prefix_has_changed(c->prefixes, b) == pool_is_half(s->pool, b);
}

bool cache_is_sound(const cache *c)
{
    const context_shared *s = &c->shared;
    size_t resting = 0, pinned = 0, bytes = 0, pages = 0;

    for (pool_block b = 0; b < pool_numbers(s->pool); b++) {
        if (!is_sound_block(c, b)) return false;
        resting += lru_has(&c->resting, b);
        pinned += c->pins[b] > 0;
        if (!pool_is_free(s->pool, b))
            bytes += pool_block_bytes(s->pool) / (pool_is_half(s->pool, b) ? 2 : 1);
        pages += s->workspace && workspace_has(s->workspace, b);
    }
    return resting == c->resting.count && pinned == c->pinned && pinned == c->kept &&
           bytes == pool_used_bytes(s->pool) && pool_held_blocks(s->pool) == 0 &&
           (!s->workspace || pages == workspace_used(s->workspace)) && !c->outstanding &&
           !c->copies && c->scratch.n_free == c->scratch.n_pages;
}
