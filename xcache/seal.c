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

enum { SEALS_AT_ONCE = 64 };

/* Contexts that are sealing, one a task. */
typedef struct seal_job {
    xcontext *x[SEALS_AT_ONCE];
    int layers;
    double sealed[SEALS_AT_ONCE], rebuilt[SEALS_AT_ONCE]; /* seconds */
} seal_job;

/* Encode one layer of the full open page. */
static void seal_layer(const xcontext *x, int l, int slot)
{
    const context_shared *s = x->shared;
    const model *m = s->codec.m;
    const open_page *page = x->page;
    const size_t B = s->codec.block_tokens, at = (size_t)l;
    const codec_rows rows = {.x = page->x ? page->x + at * B * m->D : NULL,
                             .raw_k = page->raw_k ? page->raw_k + at * B * m->E : NULL,
                             .k = page->k + at * B * m->E,
                             .v = page->v + at * B * m->E};
    codec_place place = context_place(s, l, x->sealing, x->n_blocks * B);

    place.scratch = &s->slots[slot];
    place.state = page->sealing;
    s->codec.codec->encode(&s->codec, l, &rows, &place);
}

/* What the codes of that layer say, into the block's page. */
static void rebuild_layer(const xcontext *x, int l, int slot)
{
    const context_shared *s = x->shared;
    codec_place place = context_place(s, l, x->sealing, x->n_blocks * s->codec.block_tokens);
    kv_tile tile;

    place.scratch = &s->slots[slot];
    place.state = x->page->rebuilding;
    s->codec.codec->decode(&s->codec, l, &place, &tile);
    workspace_write(s->workspace, x->sealing, l, &tile);
    atomic_fetch_add(s->rebuilt, s->codec.block_tokens);
}

/* It had one when sealing began, but all pages may be dropped at any time. */
static bool has_page(const xcontext *x)
{
    return x->shared->workspace && workspace_has(x->shared->workspace, x->sealing);
}

static void seal_task(void *arg, int i, int slot)
{
    seal_job *job = arg;
    xcontext *x = job->x[i];
    const int L = (int)x->shared->codec.m->L;

    for (int n = 0; n < job->layers && x->sealed_layers < L; n++) {
        const double start = now();
        double sealed;

        seal_layer(x, x->sealed_layers, slot);
        sealed = now();
        job->sealed[i] += sealed - start;
        if (has_page(x)) {
            rebuild_layer(x, x->sealed_layers, slot);
            job->rebuilt[i] += now() - sealed;
        }
        x->sealed_layers++;
    }
}

/* The block that this context's next one would be, if there is one already; *key: its key.
 * False: none can be found, for no prefix leads to its parent. */
static bool find_next(const xcontext *x, pool_block *found, prefix_key *key, pool_block *parent)
{
    const cache *c = x->cache;
    prefix_key before = x->root;

    *found = *parent = PREFIX_NONE;
    if (x->n_blocks) {
        *parent = x->blocks[x->n_blocks - 1];
        if (!prefix_has(c->prefixes, *parent)) return false;
        before = prefix_of(c->prefixes, *parent);
    }
    *found = cache_find_block(c, before, *parent, x->page->ids, key);
    return true;
}

static void append(xcontext *x, pool_block b)
{
    x->blocks[x->n_blocks++] = b;
    cache_rebuild(&x->base, 1); /* if it has no page */
}

void cache_begin_seal(xcontext *x)
{
    cache *c = x->cache;
    const context_shared *s = x->shared;
    pool_block found, parent;
    prefix_key key;

    assert(x->n_blocks < x->reserved);
    c->outstanding--;
    if (find_next(x, &found, &key, &parent) && found != PREFIX_NONE) {
        cache_hold_block(c, found); /* the same tokens, the same block */
        append(x, found);
        return;
    }
    x->sealing = cache_take_block(c);
    x->sealed_layers = 0;
    memcpy(context_ids(s, x->sealing), x->page->ids,
           s->codec.block_tokens * sizeof *x->page->ids);
    if (s->workspace) workspace_add(s->workspace, x->sealing);
}

/* All layers are done: a prefix leads to the block, unless one leads elsewhere under the same
 * key. Another context may have sealed the same meanwhile: then there is one block too many. */
static void finish_seal(xcontext *x)
{
    cache *c = x->cache;
    const pool_block b = x->sealing;
    pool_block found, parent;
    prefix_key key;

    c->sealed++;
    x->sealing = PREFIX_NONE;
    if (!find_next(x, &found, &key, &parent)) {
        append(x, b);
    } else if (found == PREFIX_NONE) {
        prefix_add(c->prefixes, key, parent, b);
        append(x, b);
    } else {
        cache_hold_block(c, found);
        cache_drop_block(c, b);
        append(x, found);
    }
}

int cache_seal(cache *c, context *const *list, size_t n, int layers)
{
    const int L = (int)c->shared.codec.m->L;
    int longest = 0;

    for (size_t done = 0; done < n; done += SEALS_AT_ONCE) {
        const size_t most = n - done < SEALS_AT_ONCE ? n - done : SEALS_AT_ONCE;
        seal_job job = {.layers = layers};

        for (size_t i = 0; i < most; i++) {
            job.x[i] = (xcontext *)(void *)list[done + i];
            if (L - job.x[i]->sealed_layers > longest) longest = L - job.x[i]->sealed_layers;
        }
        c->team->run(c->team, seal_task, &job, (int)most);
        for (size_t i = 0; i < most; i++) {
            c->seal_seconds += job.sealed[i];
            c->rebuild_seconds += job.rebuilt[i];
            if (job.x[i]->sealed_layers == L) finish_seal(job.x[i]);
        }
    }
    return longest < layers ? longest : layers;
}
