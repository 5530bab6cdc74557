/* sinks.c - a context holds its first tokens for as long as it has a sealed block.
 *
 *    no block --seal--> sinks_keep: the numbers of its open page, if the table lacks them
 *    begins on blocks, is forked --> sinks_attach: found by ids, or computed once more
 *    cut to nothing, ends --> sinks_drop: the entry rests, and is found by who begins alike
 *
 * What is computed once more is what was there, bit for bit: a row does not depend on the rows
 * beside it (row purity), the first tokens see nothing but each other, uncoded, and both ways
 * take them from an open page. So it makes no difference whether an entry was kept, found or
 * computed, nor which path a context came by. */
#include "xcache/sinks.h"

#include <assert.h>

#include "engine/pages.h"
#include "xcache/cache_state.h"

static err open_step(const codec_state *s, team *t, forward **out)
{
    return forward_open(out, s->m, s->kern, t, SINK_TOKENS, s->block_tokens);
}

size_t sinks_measure(const codec_state *s, const cache_options *o)
{
    forward *f = NULL;
    size_t bytes;

    if (!s->codec->rebuilds) return 0;
    /* a forward that never steps touches no page of its buffers */
    if (open_step(s, o->team, &f) != ERR_OK) return 0;
    bytes = sink_table_bytes(s, o->max_running) + forward_bytes(f);
    forward_close(f);
    return bytes;
}

err sinks_open(cache *c, const cache_options *o)
{
    const codec_state *s = &c->shared.codec;

    if (!s->codec->rebuilds) return ERR_OK;
    TRY(sink_table_open(&c->sinks.table, s, o->max_running));
    c->shared.sinks = &c->sinks.table;
    return open_step(s, o->team, &c->sinks.step);
}

void sinks_close(cache *c)
{
    forward_close(c->sinks.step);
    sink_table_close(&c->sinks.table);
}

err sinks_fill(cache *c)
{
    const sink_table *t = &c->sinks.table;

    return t->memory ? pages_fill(t->memory, t->n * t->entry_bytes) : ERR_OK;
}

size_t sinks_bytes(const cache *c)
{
    const sink_table *t = &c->sinks.table;

    return t->n * t->entry_bytes + (c->sinks.step ? forward_bytes(c->sinks.step) : 0);
}

/* The first rows of the open page of x. It is empty, so x can be what it was before its first
 * block was sealed; on the thread that calls the cache, with the team, as pages are rebuilt. */
static void compute(xcontext *x, const int32_t *ids)
{
    const forward_chunk chunk = {.context = &x->base, .ids = ids, .T = SINK_TOKENS};
    const size_t blocks = x->n_blocks, tokens = x->n_tokens;

    assert(tokens % x->base.block_tokens == 0);
    x->n_blocks = x->n_tokens = 0;
    cache_push(&x->base, ids, SINK_TOKENS);
    forward_step(x->cache->sinks.step, &chunk, 1);
    x->pushed = 0;
    x->n_blocks = blocks;
    x->n_tokens = tokens;
}

static void hold(xcontext *x, const int32_t *ids)
{
    assert(x->sink == SINK_NONE);
    x->sink = sink_hold(&x->cache->sinks.table, ids);
}

void sinks_attach(xcontext *x)
{
    sink_table *t = &x->cache->sinks.table;
    const int32_t *ids;

    if (!x->shared->sinks || !x->n_blocks) return;
    ids = context_ids(x->shared, x->blocks[0]);
    hold(x, ids);
    if (sink_is_stored(t, x->sink)) return;
    compute(x, ids);
    sink_store(t, x->sink, x->page);
}

void sinks_keep(xcontext *x)
{
    sink_table *t = &x->cache->sinks.table;

    if (!x->shared->sinks || x->n_blocks) return;
    hold(x, x->page->ids);
    if (!sink_is_stored(t, x->sink)) sink_store(t, x->sink, x->page);
}

void sinks_drop(xcontext *x)
{
    if (x->sink == SINK_NONE) return;
    sink_drop(&x->cache->sinks.table, x->sink);
    x->sink = SINK_NONE;
}
