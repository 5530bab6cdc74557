/* cache.c - begins, seals and ends contexts; reserves and frees their blocks. */
#include "xcache/cache.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "xcache/context.h"

struct cache {
    context_shared shared;
    int slots, max_running, n_pages;
    size_t ctx_tokens;
    char *memory; /* open pages and slot scratch, one mapping */
    size_t memory_bytes;
    open_page *pages;          /* [max_running] */
    open_page **free;          /* [max_running] stack of free pages, n_pages of them */
    xcontext *oldest, *newest; /* ended contexts */
    size_t outstanding;        /* blocks reserved by running contexts, not yet taken */
    size_t active_blocks, ended_blocks;
    uint64_t evicted, sealed;
    double seal_seconds;
    atomic_ullong rebuilt;
};

/* --- opening --- */

/* Where each layer's codes and scales lie in a block. */
static err lay_out_block(context_shared *s)
{
    const size_t L = s->codec.m->L;
    size_t at = 0;

    s->codes_at = malloc(2 * L * sizeof *s->codes_at);
    if (!s->codes_at) return ERR_NOMEM;
    s->scales_at = s->codes_at + L;
    for (size_t l = 0; l < L; l++) {
        const codec_size size = s->codec.codec->size(&s->codec, (int)l);

        s->codes_at[l] = at;
        s->scales_at[l] = at + size.codes;
        at += size.codes + size.scales;
        s->codes_bytes += size.codes;
        s->scales_bytes += size.scales;
    }
    s->ids_at = at;
    s->block_bytes = at + s->codec.block_tokens * sizeof(int32_t);
    return ERR_OK;
}

static float *carve(const cache *c, size_t *at, size_t floats)
{
    const size_t start = *at;

    *at += (floats * sizeof(float) + 63) / 64 * 64;
    return c->memory ? (float *)(void *)(c->memory + start) : NULL;
}

/* Lay pages and scratch out from c->memory, or only count when it is NULL. */
static size_t lay_out_memory(cache *c)
{
    const model *m = c->shared.codec.m;
    const codec *kind = c->shared.codec.codec;
    const size_t B = CACHE_BLOCK_TOKENS;
    size_t at = 0;

    for (int i = 0; i < c->max_running; i++) {
        open_page *p = &c->pages[i];

        p->k = carve(c, &at, m->L * B * m->E);
        p->v = carve(c, &at, m->L * B * m->E);
        p->x = kind->keeps_x ? carve(c, &at, m->L * B * m->D) : NULL;
        p->raw_k = kind->keeps_raw_k ? carve(c, &at, m->L * B * m->E) : NULL;
        p->state = kind->carries ? carve(c, &at, c->ctx_tokens / B * B * m->D) : NULL;
        p->ids = (int32_t *)(void *)carve(c, &at, B);
    }
    c->shared.turned = carve(c, &at, B * m->E);
    c->shared.seal_state = kind->carries ? carve(c, &at, B * m->D) : NULL;
    for (int i = 0; i < c->slots && kind->rebuilds; i++) {
        codec_scratch *s = &c->shared.scratch[i];

        s->x = carve(c, &at, B * m->D);
        s->k = carve(c, &at, 2 * B * m->E);
        s->v = s->k ? s->k + B * m->E : NULL;
        s->kt = carve(c, &at, B * m->E);
        s->temp = carve(c, &at, c->shared.codec.temp_floats);
    }
    return at;
}

static err map_memory(cache *c)
{
    void *p;

    c->pages = calloc((size_t)c->max_running, sizeof *c->pages);
    c->free = calloc((size_t)c->max_running, sizeof(open_page *));
    c->shared.scratch = calloc((size_t)c->slots, sizeof *c->shared.scratch);
    if (!c->pages || !c->free || !c->shared.scratch) return ERR_NOMEM;
    c->memory_bytes = lay_out_memory(c);
    p = mmap(NULL, c->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return ERR_NOMEM;
    c->memory = p;
    lay_out_memory(c);
    for (int i = 0; i < c->max_running; i++) c->free[c->n_pages++] = &c->pages[i];
    return ERR_OK;
}

static err open_all(cache *c, const model *m, const kern *k, const cache_options *o)
{
    context_shared *s = &c->shared;

    TRY(codec_open(&s->codec, o->mode, m, k, CACHE_BLOCK_TOKENS, o->plan));
    TRY(lay_out_block(s));
    TRY(pool_open(&s->pool, o->budget_bytes, s->block_bytes));
    s->rebuilt = &c->rebuilt;
    return map_memory(c);
}

err cache_open(cache **out, const model *m, const kern *k, const cache_options *o)
{
    cache *c = calloc(1, sizeof *c);
    err e;

    if (!c) return ERR_NOMEM;
    c->slots = o->slots;
    c->ctx_tokens = o->ctx_tokens;
    c->max_running = o->max_running;
    e = open_all(c, m, k, o);
    if (e != ERR_OK) {
        cache_close(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

/* --- ended contexts --- */

static void free_context(cache *c, xcontext *x)
{
    for (size_t i = 0; i < x->n_blocks; i++) pool_give(c->shared.pool, x->blocks[i]);
    free(x->blocks);
    free(x);
}

static void evict_oldest(cache *c)
{
    xcontext *x = c->oldest;

    c->oldest = x->next;
    if (!c->oldest) c->newest = NULL;
    c->ended_blocks -= x->n_blocks;
    c->evicted += x->n_blocks;
    free_context(c, x);
}

void cache_close(cache *c)
{
    if (!c) return;
    assert(c->n_pages == c->max_running || !c->memory); /* every context has ended */
    while (c->oldest) evict_oldest(c);
    if (c->memory) munmap(c->memory, c->memory_bytes);
    pool_close(c->shared.pool);
    codec_close(&c->shared.codec);
    free(c->shared.codes_at);
    free(c->shared.scratch);
    free(c->pages);
    free(c->free);
    free(c);
}

/* --- running contexts --- */

err cache_check(const cache *c, size_t tokens)
{
    return tokens / CACHE_BLOCK_TOKENS <= pool_blocks(c->shared.pool) ? ERR_OK : ERR_NOROOM;
}

err cache_begin(cache *c, size_t tokens, context **out)
{
    const size_t want = tokens / CACHE_BLOCK_TOKENS;
    xcontext *x;

    TRY(cache_check(c, tokens));
    if (!c->n_pages) return ERR_BUSY;
    if (want + c->outstanding > pool_free_blocks(c->shared.pool) + c->ended_blocks)
        return ERR_BUSY;
    x = calloc(1, sizeof *x);
    if (!x) return ERR_NOMEM;
    x->blocks = malloc((want + 1) * sizeof *x->blocks);
    if (!x->blocks) {
        free(x);
        return ERR_NOMEM;
    }
    while (want + c->outstanding > pool_free_blocks(c->shared.pool)) evict_oldest(c);
    x->base = (context){&xcontext_ops, CACHE_BLOCK_TOKENS};
    x->cache = c;
    x->shared = &c->shared;
    x->page = c->free[--c->n_pages];
    x->reserved = want;
    c->outstanding += want;
    *out = &x->base;
    return ERR_OK;
}

static xcontext *of(context *x)
{
    return (xcontext *)(void *)x;
}

void cache_push(context *base, const int32_t *ids, size_t T)
{
    xcontext *x = of(base);
    const size_t at = x->n_tokens % CACHE_BLOCK_TOKENS;

    assert(!x->pushed && at + T <= CACHE_BLOCK_TOKENS);
    memcpy(x->page->ids + at, ids, T * sizeof *ids);
    x->pushed = T;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void cache_settle(context *base)
{
    xcontext *x = of(base);
    cache *c = x->cache;
    pool_block b = 0;
    double start;
    err e;

    x->n_tokens += x->pushed;
    x->pushed = 0;
    if (x->n_tokens % CACHE_BLOCK_TOKENS || x->n_tokens / CACHE_BLOCK_TOKENS == x->n_blocks)
        return;
    start = now();
    assert(x->n_blocks < x->reserved);
    e = pool_take(c->shared.pool, &b);
    assert(e == ERR_OK); /* it was reserved */
    (void)e;
    xcontext_seal(x, b);
    x->blocks[x->n_blocks++] = b;
    c->outstanding--;
    c->active_blocks++;
    c->sealed++;
    c->seal_seconds += now() - start;
}

size_t cache_context_tokens(const context *x)
{
    return ((const xcontext *)(const void *)x)->n_tokens;
}

size_t cache_context_bytes(const context *base)
{
    const xcontext *x = (const xcontext *)(const void *)base;

    return x->n_blocks * pool_block_bytes(x->shared->pool);
}

void cache_end(context *base)
{
    xcontext *x = of(base);
    cache *c = x->cache;

    c->outstanding -= x->reserved - x->n_blocks;
    c->active_blocks -= x->n_blocks;
    c->free[c->n_pages++] = x->page;
    x->page = NULL;
    if (!x->n_blocks) {
        free_context(c, x);
        return;
    }
    c->ended_blocks += x->n_blocks;
    if (c->newest)
        c->newest->next = x;
    else
        c->oldest = x;
    c->newest = x;
}

void cache_read_stats(const cache *c, cache_stats *out)
{
    const context_shared *s = &c->shared;
    const size_t bytes = pool_block_bytes(s->pool), B = CACHE_BLOCK_TOKENS;
    const size_t used = pool_blocks(s->pool) - pool_free_blocks(s->pool);
    const size_t elements = 2 * s->codec.m->E * s->codec.m->L;

    *out = (cache_stats){.mode = s->codec.mode,
                         .block_tokens = B,
                         .block_bytes = bytes,
                         .capacity_bytes = pool_budget_bytes(s->pool),
                         .codes_bytes = used * s->codes_bytes,
                         .scales_bytes = used * s->scales_bytes,
                         .index_bytes = used * (bytes - s->codes_bytes - s->scales_bytes),
                         .free_bytes = pool_budget_bytes(s->pool) - used * bytes,
                         .capacity_tokens = pool_blocks(s->pool) * B,
                         .active_tokens = c->active_blocks * B,
                         .ended_tokens = c->ended_blocks * B,
                         .fp16_bytes = used * B * elements * 2,
                         .scratch_bytes = c->memory_bytes,
                         .weight_bytes = s->codec.bytes,
                         .evicted_blocks = c->evicted,
                         .sealed_blocks = c->sealed,
                         .remat_tokens = atomic_load(&c->rebuilt),
                         .seal_seconds = c->seal_seconds,
                         .bits_per_element = (double)bytes * 8 / (double)(elements * B)};
}
