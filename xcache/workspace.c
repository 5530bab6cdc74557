/* workspace.c - pages by block number, and the ones that may go.
 *
 *    page     layer 0 | layer 1 | ... | layer L-1          each in whole lines of 64 bytes
 *    layer    K [G,B/16,C,16]   16 keys side by side, a channel after the other
 *             V [G,B,C]         the values of a head one after the other
 *             scales of K [G,B], of V [G,B]    halves, int8 only: number = scale * int
 *
 * This is the order in which attention reads a tile, so a read is four pointers and no copy.
 *
 *    block:   no page --add (held)--> page, stays --rest--> page, may go --> evicted, dropped
 *                                         ^------hold---------'
 *
 * Pages are found by block number (page_of), so contexts that share a block share its page, and
 * a page outlives the context for as long as nobody needs its place. Held blocks never
 * outnumber the pages (ledger.h), so add always finds one that is free or may go. Pages are
 * written by rebuilding alone, in the same way whoever asks. */
#include "xcache/workspace.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/pages.h"
#include "xcache/lru.h"

#define NO_PAGE UINT32_MAX

struct workspace {
    const model *m;
    const kern *kern;
    size_t block_tokens, page_bytes, layer_bytes;
    size_t pages, used;
    kv_format format;
    uint8_t *memory;
    uint32_t *page_of; /* [blocks] */
    uint32_t *free;    /* [pages] a stack of free pages */
    lru resting;       /* blocks with a page that nobody holds */
    uint64_t evicted;
};

/* K [G,B/16,C,16], V [G,B,C], then for int8 the scales of K, of V. */
static size_t layer_bytes(const model *m, size_t B, kv_format format)
{
    const size_t scales = format == KV_INT8 ? 2 * m->G * B * sizeof(uint16_t) : 0;

    return (2 * m->E * B * kv_number_bytes(format) + scales + 63) / 64 * 64;
}

size_t workspace_page_bytes(const model *m, size_t block_tokens, kv_format format)
{
    return m->L * layer_bytes(m, block_tokens, format);
}

static err map_pages(workspace *w)
{
    const size_t bytes = w->pages * w->page_bytes;
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED) return ERR_NOMEM;
    (void)madvise(at, bytes, MADV_HUGEPAGE); /* where allowed */
    w->memory = at;
    return ERR_OK;
}

static err open_tables(workspace *w, size_t blocks)
{
    w->page_of = malloc(blocks * sizeof *w->page_of);
    w->free = malloc(w->pages * sizeof *w->free);
    if (!w->page_of || !w->free) return ERR_NOMEM;
    for (size_t i = 0; i < blocks; i++) w->page_of[i] = NO_PAGE;
    for (size_t i = 0; i < w->pages; i++) w->free[i] = (uint32_t)(w->pages - 1 - i);
    return lru_open(&w->resting, blocks);
}

err workspace_open(workspace **out, const model *m, const kern *k, size_t block_tokens,
                   kv_format format, size_t pages, size_t blocks)
{
    workspace *w = calloc(1, sizeof *w);
    err e;

    if (!w) return ERR_NOMEM;
    *w = (workspace){
        .m = m, .kern = k, .block_tokens = block_tokens, .pages = pages, .format = format};
    w->layer_bytes = layer_bytes(m, block_tokens, format);
    w->page_bytes = workspace_page_bytes(m, block_tokens, format);
    e = open_tables(w, blocks);
    if (e == ERR_OK) e = map_pages(w);
    if (e != ERR_OK) {
        workspace_close(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

err workspace_fill(workspace *w)
{
    return pages_fill(w->memory, w->pages * w->page_bytes);
}

void workspace_close(workspace *w)
{
    if (!w) return;
    if (w->memory) munmap(w->memory, w->pages * w->page_bytes);
    lru_close(&w->resting);
    free(w->page_of);
    free(w->free);
    free(w);
}

/* --- pages --- */

int workspace_has(const workspace *w, pool_block b)
{
    return w->page_of[b] != NO_PAGE;
}

void workspace_add(workspace *w, pool_block b)
{
    assert(!workspace_has(w, b));
    if (w->used == w->pages) {
        assert(w->resting.count);
        /* nothing is lost but the time to rebuild it; the one not held for longest goes */
        workspace_drop(w, w->resting.oldest);
        w->evicted++;
    }
    w->page_of[b] = w->free[w->pages - 1 - w->used++];
}

void workspace_hold(workspace *w, pool_block b)
{
    /* a held block without a page is not listed, and gets one by workspace_add */
    if (workspace_has(w, b)) lru_remove(&w->resting, b);
}

void workspace_rest(workspace *w, pool_block b)
{
    if (workspace_has(w, b)) lru_add(&w->resting, b);
}

void workspace_drop(workspace *w, pool_block b)
{
    if (!workspace_has(w, b)) return;
    if (lru_has(&w->resting, b)) lru_remove(&w->resting, b);
    w->free[w->pages - w->used--] = w->page_of[b];
    w->page_of[b] = NO_PAGE;
}

/* --- contents --- */

static uint8_t *layer_of(const workspace *w, pool_block b, int layer)
{
    assert(workspace_has(w, b));
    return w->memory + w->page_of[b] * w->page_bytes + (size_t)layer * w->layer_bytes;
}

void workspace_read(const workspace *w, pool_block b, int layer, kv_tile *out)
{
    const size_t bytes = w->m->E * w->block_tokens * kv_number_bytes(w->format);
    const uint8_t *at = layer_of(w, b, layer);

    *out = kv_stored_tile(w->format, at, at + bytes, w->m->C, w->block_tokens);
    if (w->format != KV_INT8) return;
    out->k_scale = (const uint16_t *)(const void *)(at + 2 * bytes);
    out->v_scale = out->k_scale + w->m->G * w->block_tokens;
}

static void write_int8(const workspace *w, uint8_t *at, const kv_tile *from)
{
    const model *m = w->m;
    const size_t B = w->block_tokens, n = m->E * B;
    int8_t *k = (int8_t *)at, *v = k + n;
    uint16_t *k_scale = (uint16_t *)(void *)(v + n), *v_scale = k_scale + m->G * B;
    const float *keys = from->k, *values = from->v;

    for (size_t g = 0; g < m->G; g++) {
        /* a scale per token and head, so that a head of large values does not coarsen the
         * others */
        w->kern->int8_keys(keys + g * m->C * B, m->C, B, k + g * m->C * B, k_scale + g * B);
        w->kern->int8_values(values + g * from->v_head, from->v_stride, B, m->C,
                             v + g * m->C * B, v_scale + g * B);
    }
}

/* Row i of values [G,B,C]. */
static const float *value_row(const workspace *w, const kv_tile *from, size_t i)
{
    return (const float *)from->v + i / w->block_tokens * from->v_head +
           i % w->block_tokens * from->v_stride;
}

void workspace_write(workspace *w, pool_block b, int layer, const kv_tile *from)
{
    const size_t n = w->m->E * w->block_tokens, C = w->m->C, rows = n / C;
    uint8_t *at = layer_of(w, b, layer);

    assert(from->format == KV_FLOAT);
    switch (w->format) {
    case KV_FLOAT:
        memcpy(at, from->k, n * sizeof(float));
        for (size_t i = 0; i < rows; i++)
            memcpy((float *)(void *)at + n + i * C, value_row(w, from, i), C * sizeof(float));
        return;
    case KV_HALF:
        w->kern->float_to_half(from->k, n, (uint16_t *)(void *)at);
        for (size_t i = 0; i < rows; i++)
            w->kern->float_to_half(value_row(w, from, i), C,
                                   (uint16_t *)(void *)at + n + i * C);
        return;
    case KV_INT8:
        write_int8(w, at, from);
        return;
    }
}

void workspace_hand_on(workspace *w, pool_block from, pool_block to, bool held)
{
    assert(workspace_has(w, from));
    workspace_drop(w, to);
    w->page_of[to] = w->page_of[from];
    w->page_of[from] = NO_PAGE;
    if (!held) lru_add(&w->resting, to);
}

size_t workspace_page_size(const workspace *w)
{
    return w->page_bytes;
}

size_t workspace_pages(const workspace *w)
{
    return w->pages;
}

size_t workspace_used(const workspace *w)
{
    return w->used;
}

uint64_t workspace_evicted(const workspace *w)
{
    return w->evicted;
}
