/* cache_stats.c - counts what the cache holds, and whether the counts agree.
 *
 * Sealed tokens are counted by blocks, and a block once, however many contexts hold it: so the
 * bytes of contexts that share may add up to more than what is used. */
#include "xcache/cache_state.h"

/* Layers that see everything. */
static size_t count_wide(const context_shared *s)
{
    const model *m = s->codec.m;
    size_t n = 0;

    for (size_t l = 0; l < m->L; l++) n += model_window(m, l) == 0;
    return n;
}

static void read_pool_stats(const cache *c, cache_stats *out)
{
    const context_shared *s = &c->shared;
    const size_t bytes = pool_block_bytes(s->pool), B = s->codec.block_tokens;
    const size_t used = pool_used_bytes(s->pool), part = pool_part_bytes(s->pool);
    const size_t small = pool_small_blocks(s->pool);
    /* loose places are used by nobody, so what is used is whole and small blocks alone */
    const size_t wholes = (used - small * part) / bytes;
    const size_t halves = c->windows.on ? 0 : small, narrow = small - halves;
    const ledger_counts n = ledger_count(c->ledger);
    const size_t each = 2 * s->codec.m->E, elements = each * s->codec.m->L;

    out->block_bytes = bytes;
    out->block_numbers = pool_numbers(s->pool);
    out->capacity_bytes = pool_budget_bytes(s->pool);
    out->past_bytes = c->windows.on ? part : bytes;
    out->codes_bytes = wholes * s->whole.codes_bytes + halves * s->half.codes_bytes +
                       narrow * s->whole.wide_codes;
    out->scales_bytes = wholes * s->whole.scales_bytes + halves * s->half.scales_bytes +
                        narrow * s->whole.wide_scales;
    /* ids, and what rounding to lines adds */
    out->index_bytes = used - out->codes_bytes - out->scales_bytes;
    out->free_bytes = out->capacity_bytes - used;
    out->capacity_tokens = pool_blocks(s->pool) * B;
    out->degraded_tokens = halves * B;
    out->active_tokens = n.held * B;
    out->pinned_tokens = n.kept * B;
    out->idle_tokens = n.resting * B + out->pinned_tokens;
    out->evicted_blocks = n.evicted;
    out->narrow_tokens = narrow * B;
    out->rewind_bytes = windows_past(&c->windows) * (bytes - part);
    out->dropped_windows = c->windows.dropped;
    out->fp16_bytes = ((wholes + halves) * elements + narrow * each * count_wide(s)) * B * 2;
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

    *out = (cache_stats){
        .mode = s->codec.mode,
        .degraded_mode = c->degrader.codec.codec ? c->degrader.codec.mode : NULL,
        .block_tokens = s->codec.block_tokens,
        .group = s->codec.codec->uses & CODEC_GROUP ? s->codec.tuning.group : 0,
        .streaming = s->codec.codec->rebuilds && !s->workspace,
        .scratch_bytes = c->scratch.bytes + sinks_bytes(c) + c->degrader.bytes +
                         prefix_bytes(pool_numbers(s->pool)) +
                         (c->windows.on ? windows_bytes(pool_numbers(s->pool)) : 0),
        .weight_bytes = s->codec.bytes + c->degrader.codec.bytes,
        .queried_tokens = c->queried_tokens,
        .hit_tokens = c->hit_tokens,
        .rewound_tokens = c->rewound_tokens,
        .degraded_blocks = c->degrader.count,
        .sealed_blocks = c->sealed,
        .remat_tokens = atomic_load(&c->rebuilt),
        .seal_seconds = c->seal_seconds,
        .rebuild_seconds = c->rebuild_seconds,
        .degrade_seconds = c->degrader.seconds};
    read_pool_stats(c, out);
    read_workspace_stats(s->workspace, out);
}

/* No context runs, so what the ledger counts has to be nothing, beside being right. */
bool cache_is_sound(const cache *c)
{
    const ledger_counts n = ledger_count(c->ledger);

    return ledger_is_sound(c->ledger) && !n.held && !n.reserved && !n.promised &&
           c->scratch.n_free == c->scratch.n_pages && sink_table_rests(&c->sinks.table);
}
