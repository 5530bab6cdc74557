/* sink_table.c - entries by ids, and their numbers as open pages hold them.
 *
 *    entry    layer 0 | layer 1 | ... | layer L-1        in codec.open_format
 *    layer    K [E,SINK_TOKENS]   a channel's keys side by side, as in a panel of an open page
 *             V [SINK_TOKENS,E]   as in a rebuilt tile
 *
 *    free --hold, store--> held --drop--> resting, found still --> another's
 *                            ^---hold--------'
 *
 * A context holds one entry at most, and only running contexts hold any: with more entries than
 * contexts that may run, hold finds one that rests, always. The others are for beginnings that
 * come back: a system prompt stays when nobody uses it for a while. */
#include "xcache/sink_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    RESTING = 8, /* entries besides those that may be held */
    PANEL = 16,  /* keys of a channel in an open page or a tile */
    CHANNELS = 64
};

static size_t number_bytes(const codec_state *c)
{
    return kv_number_bytes(c->codec->open_format);
}

/* Of K or of V, of one layer. */
static size_t half_bytes(const codec_state *c)
{
    return SINK_TOKENS * c->m->E * number_bytes(c);
}

static uint32_t count_entries(int running)
{
    return (uint32_t)running + RESTING;
}

static size_t entry_bytes(const codec_state *c)
{
    return (2 * c->m->L * half_bytes(c) + 63) / 64 * 64;
}

size_t sink_table_bytes(const codec_state *s, int running)
{
    return count_entries(running) * entry_bytes(s);
}

err sink_table_open(sink_table *t, const codec_state *s, int running)
{
    *t = (sink_table){.codec = s, .n = count_entries(running), .entry_bytes = entry_bytes(s)};
    t->list = calloc(t->n, sizeof *t->list);
    t->memory = aligned_alloc(64, sink_table_bytes(s, running));
    if (!t->list || !t->memory) return ERR_NOMEM;
    TRY(lru_open(&t->resting, t->n));
    for (uint32_t i = 0; i < t->n; i++) lru_add(&t->resting, i);
    return ERR_OK;
}

void sink_table_close(sink_table *t)
{
    lru_close(&t->resting);
    free(t->memory);
    free(t->list);
    *t = (sink_table){0};
}

/* --- who holds what --- */

static uint32_t find(const sink_table *t, const int32_t *ids)
{
    /* looked for when a context begins or seals its first block: as long as there are few
     * running contexts, a list of some dozen needs no index */
    for (uint32_t i = 0; i < t->n; i++)
        if (t->list[i].stored && !memcmp(t->list[i].ids, ids, sizeof t->list[i].ids)) return i;
    return SINK_NONE;
}

uint32_t sink_hold(sink_table *t, const int32_t *ids)
{
    uint32_t i = find(t, ids);

    if (i == SINK_NONE) {
        i = t->resting.oldest;
        assert(i != LRU_NONE);
        t->list[i].stored = false;
        memcpy(t->list[i].ids, ids, sizeof t->list[i].ids);
    }
    if (!t->list[i].holders++) lru_remove(&t->resting, i);
    return i;
}

void sink_drop(sink_table *t, uint32_t entry)
{
    assert(t->list[entry].holders);
    if (!--t->list[entry].holders) lru_add(&t->resting, entry);
}

bool sink_is_stored(const sink_table *t, uint32_t entry)
{
    return t->list[entry].stored;
}

bool sink_table_rests(const sink_table *t)
{
    return t->resting.count == t->n;
}

/* --- numbers --- */

/* K of one layer; V follows it. */
static char *keys_of(const sink_table *t, uint32_t entry, int layer)
{
    return t->memory + entry * t->entry_bytes + 2 * (size_t)layer * half_bytes(t->codec);
}

/* Where channel c of head g has its first keys in [G,B/16,C,16]. */
static size_t panel_at(const codec_state *s, size_t g, size_t c)
{
    return g * s->block_tokens * s->m->C + c * PANEL;
}

void sink_store(sink_table *t, uint32_t entry, const open_page *page)
{
    const codec_state *s = t->codec;
    const size_t G = s->m->G, C = s->m->C, B = s->block_tokens, one = number_bytes(s);

    for (size_t l = 0; l < s->m->L; l++) {
        const char *k = open_numbers(s, page->k, (int)l), *v = open_numbers(s, page->v, (int)l);
        char *keys = keys_of(t, entry, (int)l), *values = keys + half_bytes(s);

        for (size_t g = 0; g < G; g++) {
            for (size_t c = 0; c < C; c++)
                memcpy(keys + (g * C + c) * SINK_TOKENS * one, k + panel_at(s, g, c) * one,
                       SINK_TOKENS * one);
            for (size_t i = 0; i < SINK_TOKENS; i++)
                memcpy(values + (i * G + g) * C * one, v + (g * B + i) * C * one, C * one);
        }
    }
    t->list[entry].stored = true;
}

/* n numbers of an entry as the floats of a tile. */
static void widen(const codec_state *s, const void *from, size_t n, float *to)
{
    if (s->codec->open_format == KV_HALF)
        s->kern->half_to_float(from, n, to);
    else
        memcpy(to, from, n * sizeof *to);
}

void sink_patch(const sink_table *t, uint32_t entry, int layer, const codec_scratch *tile)
{
    const codec_state *s = t->codec;
    const size_t E = s->m->E, C = s->m->C, one = number_bytes(s);
    const char *keys = keys_of(t, entry, layer), *values = keys + half_bytes(s);
    float some[CHANNELS * SINK_TOKENS];

    assert(t->list[entry].stored);
    for (size_t at = 0, n; at < E; at += n) {
        n = E - at < CHANNELS ? E - at : CHANNELS;
        widen(s, keys + at * SINK_TOKENS * one, n * SINK_TOKENS, some);
        for (size_t i = 0; i < n; i++)
            memcpy(tile->kt + panel_at(s, (at + i) / C, (at + i) % C), some + i * SINK_TOKENS,
                   SINK_TOKENS * sizeof *some);
    }
    widen(s, values, SINK_TOKENS * E, tile->v);
}
