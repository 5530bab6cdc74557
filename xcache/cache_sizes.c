/* cache_sizes.c - what the options of a cache come to, in blocks, pages and bytes. */
#include <string.h>

#include "xcache/cache_state.h"

codec_options cache_codec_options(const cache_options *o)
{
    return (codec_options){.mode = o->mode,
                           .plan = o->plan,
                           .tuning = o->tuning,
                           .block_tokens = o->block_tokens ? o->block_tokens
                                                           : CACHE_BLOCK_TOKENS};
}

size_t cache_count_stream(const codec_state *s, const cache_options *o)
{
    return (o->ctx_tokens + s->block_tokens - 1) / s->block_tokens;
}

/* Of a degraded block, or of what windows leave of one: it shares its place with others, each
 * on lines of its own. 0: there are none. */
static size_t small_bytes(const block_format *whole, const block_format *half)
{
    return ((half->codec ? half->bytes : whole->wide_bytes) + 63) / 64 * 64;
}

/* Ids, which each small block has, may be all that is in the way of one more: so a block may
 * grow by as much as this share of it. */
enum { GROW_SHARE = 64 };

size_t cache_count_parts(const block_format *whole, const block_format *half, size_t ctx_tokens)
{
    const size_t small = small_bytes(whole, half), B = whole->codec->block_tokens;
    size_t parts;

    if (half->codec) return 2;
    /* no context is long enough for a window to leave a block behind */
    if (!small || !windows_first(whole->codec->m, B, ctx_tokens / B)) return 1;
    parts = (whole->bytes + whole->bytes / GROW_SHARE) / small;
    return parts < 2 ? 1 : parts < POOL_MOST_PARTS ? parts : POOL_MOST_PARTS;
}

size_t cache_block_bytes(const block_format *whole, const block_format *half, size_t parts)
{
    const size_t least = parts > 1 ? parts * small_bytes(whole, half) : 0;

    return whole->bytes > least ? whole->bytes : least;
}

uint64_t cache_bytes_of(const model *m, const cache_sizes *s, size_t tokens)
{
    const size_t n = (tokens + s->block_tokens - 1) / s->block_tokens;
    const size_t past = s->past_bytes == s->block_bytes ? 0
                                                        : windows_first(m, s->block_tokens, n);

    return (uint64_t)(n - past) * s->block_bytes + (uint64_t)past * s->past_bytes;
}

/* Bytes by default: max_running contexts, at most 1/8 of pool and workspace together, at least
 * one context. */
static uint64_t default_workspace(uint64_t budget, uint64_t one, int max_running)
{
    const uint64_t all = one * (uint64_t)max_running, most = budget / 7;
    const uint64_t bytes = all < most ? all : most;

    return bytes > one ? bytes : one;
}

kv_format cache_choose_page_format(const model *m)
{
    return m->key_bias ? KV_HALF : KV_INT8;
}

size_t cache_count_pages(const codec_state *s, const cache_options *o, size_t blocks)
{
    const size_t page = workspace_page_bytes(s->m, s->block_tokens, o->page_format);
    const size_t longest = o->ctx_tokens / s->block_tokens, least = longest ? longest : 1;
    uint64_t bytes = o->workspace_bytes;

    /* read where it lies */
    if (!s->codec->rebuilds) return 0;
    if (bytes == CACHE_AUTO_WORKSPACE)
        bytes = default_workspace(o->budget_bytes, least * page, o->max_running);
    /* a workspace that one context does not fit into would let none run */
    if (bytes / page < least) return 0;
    return bytes / page < blocks ? bytes / page : blocks; /* no more are held at once */
}

/* What a cache's sizes follow from. */
typedef struct measures {
    codec_state codec, denser; /* measured; denser.codec NULL: nothing is degraded */
    block_format whole, half;
} measures;

static err take_measures(measures *m, const model *of, const cache_options *o)
{
    const codec_options how = cache_codec_options(o);

    TRY(codec_measure(&m->codec, &how, of));
    TRY(format_open(&m->whole, &m->codec));
    if (!o->degraded_plan) return ERR_OK;
    TRY(degrade_measure(&m->denser, &m->codec, o->degraded_plan));
    return format_open(&m->half, &m->denser);
}

/* By the same functions as opening, but for the pool, whose rounding is repeated here because
 * it is not to be mapped for the asking. */
static void read_sizes(const measures *m, const cache_options *o, cache_sizes *out)
{
    const codec_state *k = &m->codec;
    const size_t page = workspace_page_bytes(k->m, k->block_tokens, o->page_format);
    const bool degrades = m->denser.codec != NULL;
    const size_t parts = cache_count_parts(&m->whole, &m->half, o->ctx_tokens);
    const size_t line = 64 * parts, bytes = cache_block_bytes(&m->whole, &m->half, parts);
    size_t pages, numbers;

    memcpy(out->mode, k->mode, sizeof out->mode);
    out->block_tokens = k->block_tokens;
    out->block_bytes = (bytes + line - 1) / line * line;
    out->past_bytes = out->block_bytes / (degrades ? 1 : parts);
    out->blocks = o->budget_bytes / out->block_bytes;
    numbers = out->blocks * parts;
    out->pool_bytes = (uint64_t)out->blocks * out->block_bytes;
    pages = cache_count_pages(k, o, out->blocks);
    out->workspace_bytes = (uint64_t)pages * page;
    out->scratch_bytes = scratch_measure(k, o->max_running, o->team->slots,
                                         pages ? 0 : cache_count_stream(k, o)) +
                         sinks_measure(k, o) + prefix_bytes(numbers);
    if (degrades) out->scratch_bytes += degrade_bytes(k, out->block_bytes / 2, o->team->slots);
    if (parts > 1 && !degrades) out->scratch_bytes += windows_bytes(numbers);
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
