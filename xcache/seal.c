/* seal.c - fills blocks of the pool from open pages, and pages of the workspace from blocks. */
#include <assert.h>
#include <string.h>
#include <time.h>

#include "xcache/cache_state.h"

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- pages of the workspace --- */

enum { AT_ONCE = 64 };

/* Blocks of a context to be rebuilt, one a task: each layer after layer, so that what a codec
 * carries stays where it is. */
typedef struct rebuild_job {
    const xcontext *x;
    size_t list[AT_ONCE]; /* places in x->blocks */
    double seconds[AT_ONCE];
} rebuild_job;

static void rebuild_block(const xcontext *x, size_t b, int slot)
{
    const context_shared *s = x->shared;
    const codec *kind = s->codec.codec;
    const size_t B = s->codec.block_tokens;

    for (int l = 0; l < (int)s->codec.m->L; l++) {
        codec_place place = context_place(s, l, x->blocks[b], b * B);
        kv_tile tile;

        place.scratch = &s->slots[slot];
        place.state = place.scratch->state;
        kind->decode(&s->codec, l, &place, &tile);
        workspace_write(s->workspace, x->blocks[b], l, &tile);
    }
    atomic_fetch_add(s->rebuilt, B * s->codec.m->L);
}

static void rebuild_task(void *arg, int i, int slot)
{
    rebuild_job *job = arg;
    const double start = now();

    rebuild_block(job->x, job->list[i], slot);
    job->seconds[i] = now() - start;
}

/* The first up to `most` blocks without a page; *lacking: all of them. */
static size_t list_lacking(const xcontext *x, size_t most, size_t *list, size_t *lacking)
{
    size_t n = 0;

    *lacking = 0;
    for (size_t b = 0; b < x->n_blocks; b++) {
        if (workspace_has(x->shared->workspace, x->blocks[b])) continue;
        if (n < most) list[n++] = b;
        ++*lacking;
    }
    return n;
}

size_t cache_rebuild(context *base, size_t most)
{
    xcontext *x = (xcontext *)(void *)base;
    cache *c = x->cache;
    rebuild_job job = {.x = x};
    size_t lacking, n;

    if (!c->shared.workspace) return 0;
    n = list_lacking(x, most < AT_ONCE ? most : AT_ONCE, job.list, &lacking);
    for (size_t i = 0; i < n; i++) workspace_add(c->shared.workspace, x->blocks[job.list[i]]);
    if (n) c->team->run(c->team, rebuild_task, &job, (int)n);
    for (size_t i = 0; i < n; i++) c->rebuild_seconds += job.seconds[i];
    return lacking - n;
}

void cache_drop_pages(cache *c)
{
    for (size_t b = 0; c->shared.workspace && b < pool_blocks(c->shared.pool); b++)
        workspace_drop(c->shared.workspace, (pool_block)b);
}

/* --- blocks of the pool --- */

/* Encode the full open page into block b. */
static void encode_block(const xcontext *x, pool_block b)
{
    const context_shared *s = x->shared;
    const model *m = s->codec.m;
    const open_page *page = x->page;
    const size_t B = s->codec.block_tokens;

    memcpy(context_ids(s, b), page->ids, B * sizeof *page->ids);
    for (size_t l = 0; l < m->L; l++) {
        const codec_rows rows = {.x = page->x ? page->x + l * B * m->D : NULL,
                                 .raw_k = page->raw_k ? page->raw_k + l * B * m->E : NULL,
                                 .k = page->k + l * B * m->E,
                                 .v = page->v + l * B * m->E};
        codec_place place = context_place(s, (int)l, b, x->n_blocks * B);

        place.scratch = &s->slots[0]; /* no step runs */
        place.state = place.scratch->state;
        s->codec.codec->encode(&s->codec, (int)l, &rows, &place);
    }
}

/* A new block; a prefix leads to it unless one leads elsewhere under the same key. */
static pool_block write_block(const xcontext *x, bool reachable, prefix_key key,
                              pool_block parent)
{
    cache *c = x->cache;
    const pool_block b = cache_take_block(c);
    const double start = now();

    encode_block(x, b);
    c->sealed++;
    c->seal_seconds += now() - start;
    if (reachable) prefix_add(c->prefixes, key, parent, b);
    return b;
}

void cache_seal(xcontext *x)
{
    cache *c = x->cache;
    const pool_block parent = x->n_blocks ? x->blocks[x->n_blocks - 1] : PREFIX_NONE;
    const bool reachable = !x->n_blocks || prefix_has(c->prefixes, parent);
    prefix_key key = {0};
    pool_block b = PREFIX_NONE;

    assert(x->n_blocks < x->reserved);
    if (reachable) {
        const prefix_key before = x->n_blocks ? prefix_of(c->prefixes, parent) : x->root;

        b = cache_find_block(c, before, parent, x->page->ids, &key);
    }
    if (b == PREFIX_NONE)
        b = write_block(x, reachable, key, parent);
    else
        cache_hold_block(c, b); /* another context was here: the same tokens, the same block */
    x->blocks[x->n_blocks++] = b;
    c->outstanding--;
    cache_rebuild(&x->base, 1);
}
