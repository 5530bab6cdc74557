/* recount.c - nothing here believes a count that the cache keeps. */
#include "tests/recount.h"

#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

/* How often living contexts list a block. */
static unsigned count_holders(const scene *s, pool_block b)
{
    unsigned n = 0;

    for (size_t i = 0; i < LIVE; i++) {
        const xcontext *x = (const xcontext *)(const void *)s->live[i].c;

        for (size_t j = 0; x && j < x->n_blocks; j++) n += x->blocks[j] == b;
        n += x && x->sealing == b;
    }
    return n;
}

static unsigned count_pins(const scene *s, pool_block b)
{
    unsigned n = 0;

    for (size_t i = 0; i < PINS; i++)
        for (size_t j = 0; j < s->pins[i].n; j++) n += s->pins[i].blocks[j] == b;
    return n;
}

static void recount_blocks(const scene *s)
{
    const cache *c = s->cache;
    const workspace *w = c->shared.workspace;
    const ledger_counts n = ledger_count(c->ledger);
    size_t held = 0, resting = 0, bytes = 0, pages = 0, pinned = 0, kept = 0, halves = 0;

    for (pool_block b = 0; b < pool_numbers(c->shared.pool); b++) {
        const unsigned holders = count_holders(s, b), pins = count_pins(s, b);

        CHECK(ledger_pins(c->ledger, b) == pins);
        if (w) pages += workspace_has(w, b) != 0;
        if (pool_is_free(c->shared.pool, b)) {
            CHECK(!pins && !holders && !prefix_has(c->prefixes, b) &&
                  !ledger_rests(c->ledger, b));
            CHECK(!w || !workspace_has(w, b));
            continue;
        }
        CHECK(ledger_refcount(c->ledger, b) == holders);
        CHECK(ledger_rests(c->ledger, b) == (!holders && !pins));
        pinned += pins > 0;
        kept += pins && !holders;
        CHECK(holders || prefix_has(c->prefixes, b)); /* what nobody can find is free */
        if (prefix_has(c->prefixes, b))
            CHECK(prefix_has_changed(c->prefixes, b) == context_is_degraded(&c->shared, b));
        halves += pool_is_small(c->shared.pool, b);
        bytes += pool_bytes_of(c->shared.pool, b);
        held += holders > 0;
        resting += !holders && !pins;
    }
    CHECK(bytes == pool_used_bytes(c->shared.pool) &&
          halves == pool_small_blocks(c->shared.pool));
    CHECK(held == n.held && resting == n.resting);
    CHECK(!w || (pages == workspace_used(w) && pages <= workspace_pages(w)));
    CHECK(pinned == n.pinned && kept == n.kept);
    CHECK(n.limit == (w ? workspace_pages(w) : pool_blocks(c->shared.pool)));
    CHECK(held + n.reserved <= n.limit);
    CHECK(held + n.reserved + kept <= pool_blocks(c->shared.pool));
    CHECK(ledger_is_sound(c->ledger));
}

static void recount_contexts(const scene *s)
{
    size_t reserved = 0;

    for (size_t i = 0; i < LIVE; i++) {
        const living *l = &s->live[i];
        const xcontext *x = (const xcontext *)(const void *)l->c;

        if (!x) continue;
        CHECK(cache_context_tokens(l->c) == l->n);
        CHECK(x->n_blocks + cache_is_sealing(l->c) == l->n / B);
        reserved += x->most_blocks - l->n / B;
        for (size_t b = 0; b < x->n_blocks; b++)
            CHECK(memcmp(context_ids(x->shared, x->blocks[b]), l->ids + b * B,
                         B * sizeof *l->ids) == 0);
    }
    CHECK(reserved == ledger_count(s->cache->ledger).reserved);
}

/* Who has a sealed block holds the entry of its first ids; nobody else holds any. */
static void recount_sinks(const scene *s)
{
    const sink_table *t = &s->cache->sinks.table;
    size_t rests = 0;

    for (uint32_t i = 0; i < t->n; i++) {
        unsigned held = 0;

        for (size_t j = 0; j < LIVE; j++) {
            const living *l = &s->live[j];

            if (!l->c || context_of_const(l->c)->sink != i) continue;
            CHECK(l->n >= B && memcmp(l->ids, t->list[i].ids, sizeof t->list[i].ids) == 0);
            held++;
        }
        CHECK(t->list[i].holders == held && lru_has(&t->resting, i) == !held);
        CHECK(!held || t->list[i].stored);
        rests += !held;
    }
    CHECK(rests == t->resting.count);
    for (size_t j = 0; t->n && j < LIVE; j++)
        CHECK(!s->live[j].c || s->live[j].n < B ||
              context_of_const(s->live[j].c)->sink != SINK_NONE);
}

/* Blocks first .. n-1 of a list. */
static void add_range(const windows *w, const pool_block *blocks, size_t n, uint32_t *reach)
{
    for (size_t i = windows_first(w->m, w->block_tokens, n); i < n; i++) reach[blocks[i]]++;
}

/* The conversations that rest at b: its ancestors, as far as a window reaches. */
static void add_ends(const cache *c, pool_block b, uint32_t *reach)
{
    const windows *w = &c->windows;
    size_t depth = 0, first;
    pool_block at = b;

    CHECK(prefix_has(c->prefixes, b));
    while ((at = prefix_parent(c->prefixes, at)) != PREFIX_NONE) depth++;
    CHECK(w->depth[b] == depth);
    first = windows_first(w->m, w->block_tokens, depth + 1);
    at = b;
    for (size_t i = depth + 1; i-- > first; at = prefix_parent(c->prefixes, at))
        reach[at] += w->ends[b];
}

static void recount_windows(scene *s)
{
    const cache *c = s->cache;
    const windows *w = &c->windows;
    const size_t numbers = pool_numbers(c->shared.pool);
    uint32_t *reach = calloc(numbers, sizeof *reach);

    for (size_t i = 0; w->on && i < LIVE; i++) {
        const xcontext *x = (const xcontext *)(const void *)s->live[i].c;

        if (!x) continue;
        add_range(w, x->blocks, x->n_blocks, reach);
        if (x->sealing != PREFIX_NONE) reach[x->sealing]++;
        for (size_t b = windows_first(w->m, B, x->n_blocks); b < x->n_blocks; b++)
            CHECK(!context_is_narrow(&c->shared, x->blocks[b])); /* what it still looks at */
    }
    for (size_t i = 0; w->on && i < PINS; i++)
        add_range(w, s->pins[i].blocks, s->pins[i].n, reach);
    for (pool_block b = 0; w->on && b < numbers; b++)
        if (w->ends[b]) add_ends(c, b, reach);
    for (pool_block b = 0; w->on && b < numbers; b++) {
        const bool narrow = !pool_is_free(c->shared.pool, b) &&
                            context_is_narrow(&c->shared, b);

        CHECK(w->reach[b] == reach[b]);
        s->restored += s->narrow[b] && !narrow && !pool_is_free(c->shared.pool, b);
        s->narrow[b] = narrow;
    }
    free(reach);
}

void recount(scene *s)
{
    cache_stats st;

    recount_blocks(s);
    recount_contexts(s);
    recount_sinks(s);
    recount_windows(s);
    cache_read_stats(s->cache, &st);
    CHECK(st.codes_bytes + st.scales_bytes + st.index_bytes + st.free_bytes ==
          st.capacity_bytes);
    CHECK((st.active_tokens + st.idle_tokens) / B * st.block_bytes + st.free_bytes -
              st.degraded_tokens / B * (st.block_bytes / 2) -
              st.narrow_tokens / B * (st.block_bytes - st.past_bytes) ==
          st.capacity_bytes);
}
