/* degrade.c - writes the blocks that rested longest anew in half the bytes, before any is
 * evicted.
 *
 *    resting, whole --ledger_begin_degrade--> a worker's slot: layers 0 .. l-1 written
 *      |    ^                                   |          |
 *      |    '--- held, pinned or freed: lost <--'          | layer L
 *      |         the slot starts over                      v
 *      |                              prefix_change: the key of the block changes
 *      |                                taken by another --> it stays whole, for good
 *      v                                                   v
 *    evicted                            resting, small: pool_shrink, its page is dropped
 *
 * A block is decoded layer by layer by its own codec and encoded by that of a second plan, of
 * twice the ratio; the inputs of one block need nothing of another, so each worker has one. The
 * bytes are collected in the slot and put in place when all are there: until then the whole
 * block can be found and held as ever. A degraded block keeps its number, so what follows it in
 * its chain stays there. Its key changes, so that a context that computes the same tokens again
 * does not take the less exact block. */
#include "xcache/degrade.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/clock.h"
#include "xcache/cache_state.h"
#include "xcache/codec/plan.h"

enum { FREE_SHARE = 16 }; /* of the pool, at most, is kept free ahead of need */

static bool degrades(const cache *c)
{
    return c->degrader.codec.codec != NULL;
}

/* --- opening --- */

/* The mode of twice the ratio, in `name`. */
static err choose_denser(const codec_state *of, const struct plan *plan_of, char name[16],
                         codec_options *out)
{
    /* klt alone: what it carries, x^, is what a second plan can encode */
    if (!of->codec->transcode || 2 * of->ratio > PLAN_RATIO_MAX) return ERR_DEGRADE;
    snprintf(name, 16, "klt%g", 2 * of->ratio);
    *out = (codec_options){
        .mode = name, .plan = plan_of, .block_tokens = of->block_tokens, .beside = of};
    return ERR_OK;
}

err degrade_measure(codec_state *out, const codec_state *of, const struct plan *denser)
{
    codec_options how;
    char name[16];

    TRY(choose_denser(of, denser, name, &how));
    return codec_measure(out, &how, of->m);
}

err degrade_open_format(cache *c, const struct plan *denser)
{
    context_shared *s = &c->shared;
    codec_options how;
    char name[16];

    TRY(choose_denser(&s->codec, denser, name, &how));
    TRY(codec_open(&c->degrader.codec, &how, s->codec.m, s->codec.kern));
    return format_open(&s->half, &c->degrader.codec);
}

/* [B,D] floats, in whole lines. */
static size_t carried_bytes(const codec_state *s)
{
    return (s->block_tokens * s->m->D * sizeof(float) + 63) / 64 * 64;
}

size_t degrade_bytes(const codec_state *of, size_t half_bytes, int slots)
{
    return (size_t)slots * (half_bytes + 2 * carried_bytes(of));
}

/* A slot's bytes first, for they are whole lines; then the two states. */
static void lay_out(cache *c)
{
    const size_t half = pool_part_bytes(c->shared.pool);
    const size_t carried = carried_bytes(&c->shared.codec);
    char *at = c->degrader.memory;

    for (int i = 0; i < c->team->slots; i++, at += half + 2 * carried)
        c->degrader.list[i] = (degrade_slot){.block = PREFIX_NONE,
                                             .bytes = (uint8_t *)at,
                                             .from = (float *)(void *)(at + half),
                                             .to = (float *)(void *)(at + half + carried)};
}

err degrade_open(cache *c, size_t longest)
{
    degrader *d = &c->degrader;
    const size_t blocks = pool_blocks(c->shared.pool);
    void *at;

    if (!degrades(c)) return ERR_OK;
    d->list = calloc((size_t)c->team->slots, sizeof *d->list);
    if (!d->list) return ERR_NOMEM;
    d->bytes = degrade_bytes(&c->shared.codec, pool_part_bytes(c->shared.pool), c->team->slots);
    at = mmap(NULL, d->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return ERR_NOMEM;
    d->memory = at;
    lay_out(c);
    /* a context's worth ahead of need, but never so much that a small pool is degraded for
     * nothing */
    d->wanted = longest < blocks / FREE_SHARE ? longest : blocks / FREE_SHARE;
    return ERR_OK;
}

void degrade_close(cache *c)
{
    degrader *d = &c->degrader;

    if (d->memory) munmap(d->memory, d->bytes);
    free(d->list);
    format_close(&c->shared.half);
    codec_close(&d->codec);
}

/* --- which blocks --- */

bool degrade_is_pressed(const cache *c)
{
    const degrader *d = &c->degrader;

    /* before the pool is full, so that degrading is spread over steps and idle time instead of
     * delaying a seal */
    return degrades(c) && ledger_degradable(c->ledger) &&
           pool_free_blocks(c->shared.pool) <= d->wanted;
}

/* What is held, pinned or freed meanwhile is let alone, and begun anew if it rests again: its
 * number may be another block's by then. */
static void drop_lost(cache *c)
{
    for (int i = 0; i < c->team->slots; i++) {
        degrade_slot *f = &c->degrader.list[i];

        if (f->block != PREFIX_NONE && !ledger_is_degrading(c->ledger, f->block))
            f->block = PREFIX_NONE;
    }
}

/* Give each worker a block to work on. Those lost are dropped before any is chosen, for one of
 * them may be chosen again. */
static void fill_list(cache *c)
{
    drop_lost(c);
    for (int i = 0; i < c->team->slots; i++) {
        degrade_slot *f = &c->degrader.list[i];

        if (f->block != PREFIX_NONE) continue;
        f->block = ledger_begin_degrade(c->ledger);
        f->layer = 0;
    }
}

/* --- the work --- */

typedef struct transcode_job {
    cache *cache;
    int layers;
} transcode_job;

static void transcode_layer(const cache *c, const degrade_slot *f, int layer, int slot)
{
    const context_shared *s = &c->shared;
    /* its position is of no account: keys get their angles when they are rebuilt */
    codec_place from = context_place(s, layer, f->block, 0);
    codec_place to = format_place(&s->half, f->bytes, layer);

    from.state = f->from;
    to.state = f->to;
    to.ids = from.ids;
    from.scratch = to.scratch = &s->slots[slot];
    s->codec.codec->transcode(&s->codec, &c->degrader.codec, layer, &from, &to);
}

static void transcode_task(void *arg, int i, int slot)
{
    const transcode_job *job = arg;
    degrade_slot *f = &job->cache->degrader.list[i];
    const int L = (int)job->cache->shared.codec.m->L;
    const int end = job->layers < L - f->layer ? f->layer + job->layers : L;
    const double start = clock_seconds();

    if (f->block == PREFIX_NONE) return;
    while (f->layer < end) transcode_layer(job->cache, f, f->layer++, slot);
    f->seconds = clock_seconds() - start;
}

/* All layers are written: the block is half as large, unless its key is taken. */
static void finish(cache *c, degrade_slot *f)
{
    const context_shared *s = &c->shared;
    const pool_block b = f->block;

    f->block = PREFIX_NONE;
    ledger_end_degrade(c->ledger, b);
    /* taken by an earlier block of the same tokens, which was degraded before they were
     * computed again */
    if (!prefix_change(c->prefixes, b)) return;
    memcpy(format_ids(&s->half, f->bytes), context_ids(s, b),
           s->codec.block_tokens * sizeof(int32_t));
    pool_shrink(s->pool, b, f->bytes);
    /* the page tells what the codes said before: hot or cold must make no difference */
    if (s->workspace) workspace_drop(s->workspace, b);
    c->degrader.count++;
}

int degrade_step(cache *c, int layers)
{
    const int L = (int)c->shared.codec.m->L;
    degrader *d = &c->degrader;
    transcode_job job = {.cache = c, .layers = layers < L ? layers : L};

    if (!degrade_is_pressed(c)) return 0;
    fill_list(c);
    c->team->run(c->team, transcode_task, &job, c->team->slots);
    for (int i = 0; i < c->team->slots; i++) {
        d->seconds += d->list[i].block == PREFIX_NONE ? 0 : d->list[i].seconds;
        if (d->list[i].block != PREFIX_NONE && d->list[i].layer == L) finish(c, &d->list[i]);
    }
    return job.layers;
}

void degrade_make_room(cache *c)
{
    while (!pool_free_blocks(c->shared.pool) && degrade_step(c, INT_MAX)) {}
}
