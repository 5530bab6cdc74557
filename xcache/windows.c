/* windows.c - counts, for each block, who can reach its windowed layers.
 *
 *    blocks of a context     0   1   2 | 3   4   5   6 |            windows of 4 blocks
 *    reach                   0   0   0 | 1   1   1   1 |  <- goes on here: first 3, n 7
 *                            past: whole, nobody reaches
 *
 *    who reaches                          until
 *    a context that runs                  it seals one more (the range moves), is cut, or ends
 *    a conversation that rests (ends)     a context goes on there, or its last block is evicted
 *    a pin                                it is unpinned
 *    whoever writes the block             it is sealed
 *
 * A conversation's range is found again from its last block by the parents that prefixes name:
 * none of them can be freed before it, for ends of chains go first. */
#include "xcache/windows.h"

#include <assert.h>
#include <stdlib.h>

size_t windows_first(const model *m, size_t block_tokens, size_t n)
{
    size_t first = n;

    for (size_t l = 0; l < m->L; l++) {
        const size_t at = model_first_key(m, l, n * block_tokens) / block_tokens;

        /* keys that a later query sees begin no earlier, in windows that slide and in chunks */
        if (model_window(m, l) && at < first) first = at;
    }
    return first;
}

err windows_open(windows *w, const model *m, size_t block_tokens, pool *p, prefix_table *t)
{
    const size_t n = pool_numbers(p);

    *w = (windows){.on = true, .m = m, .block_tokens = block_tokens, .pool = p, .prefixes = t};
    w->reach = calloc(n, sizeof *w->reach);
    w->ends = calloc(n, sizeof *w->ends);
    w->depth = calloc(n, sizeof *w->depth);
    w->held = calloc(n, sizeof *w->held);
    if (!w->reach || !w->ends || !w->depth || !w->held) return ERR_NOMEM;
    TRY(lru_open(&w->resting, n));
    return lru_open(&w->running, n);
}

void windows_close(windows *w)
{
    lru_close(&w->resting);
    lru_close(&w->running);
    free(w->reach);
    free(w->ends);
    free(w->depth);
    free(w->held);
    *w = (windows){0};
}

size_t windows_bytes(size_t numbers)
{
    enum { LINK = 3 * sizeof(uint32_t) };

    return numbers * (3 * sizeof(uint32_t) + sizeof(bool) + 2 * LINK);
}

/* --- what is past --- */

/* The list that a block belongs to; NULL: none. */
static lru *list_of(windows *w, pool_block b)
{
    if (pool_is_free(w->pool, b) || pool_is_small(w->pool, b) || w->reach[b]) return NULL;
    return w->held[b] ? &w->running : &w->resting;
}

static void place(windows *w, pool_block b)
{
    lru *to = list_of(w, b), *const lists[] = {&w->resting, &w->running};

    for (size_t i = 0; i < 2; i++)
        if (lists[i] != to && lru_has(lists[i], b)) lru_remove(lists[i], b);
    if (to && !lru_has(to, b)) lru_add(to, b);
}

static void change(windows *w, pool_block b, int by)
{
    assert(by > 0 || w->reach[b] >= (uint32_t)-by);
    w->reach[b] += (uint32_t)by;
    place(w, b);
}

static void change_range(windows *w, const pool_block *blocks, size_t n, int by)
{
    if (!w->on) return;
    for (size_t i = windows_first(w->m, w->block_tokens, n); i < n; i++)
        change(w, blocks[i], by);
}

void windows_reach(windows *w, const pool_block *blocks, size_t n)
{
    change_range(w, blocks, n, 1);
}

void windows_leave(windows *w, const pool_block *blocks, size_t n)
{
    change_range(w, blocks, n, -1);
}

size_t windows_usable(const windows *w, const pool_block *blocks, size_t n)
{
    for (size_t i = n; w->on && i && i-- > windows_first(w->m, w->block_tokens, n);)
        /* behind any later block of these it would be needed, too */
        if (pool_is_small(w->pool, blocks[i])) n = i;
    return n;
}

/* --- conversations that rest --- */

void windows_rest(windows *w, const pool_block *blocks, size_t n)
{
    if (!w->on || !n) return;
    w->ends[blocks[n - 1]]++;
    w->depth[blocks[n - 1]] = (uint32_t)(n - 1);
    windows_reach(w, blocks, n);
}

void windows_resume(windows *w, const pool_block *blocks, size_t n)
{
    if (!w->on || !n || !w->ends[blocks[n - 1]]) return;
    w->ends[blocks[n - 1]]--;
    windows_leave(w, blocks, n);
}

/* Its last block goes: nobody can go on there. */
static void forget_ends(windows *w, pool_block b)
{
    const size_t n = w->depth[b] + 1;
    pool_block at = b;

    for (size_t i = n; w->ends[b] && i-- > windows_first(w->m, w->block_tokens, n);) {
        change(w, at, -(int)w->ends[b]);
        at = prefix_parent(w->prefixes, at);
    }
    w->ends[b] = 0;
}

void windows_order(windows *w, const pool_block *blocks, size_t n)
{
    for (size_t i = 0; w->on && i < n; i++) {
        if (!lru_has(&w->resting, blocks[i])) continue;
        lru_remove(&w->resting, blocks[i]);
        lru_add(&w->resting, blocks[i]);
    }
}

/* --- blocks --- */

void windows_write(windows *w, pool_block b)
{
    if (w->on) change(w, b, 1);
}

void windows_written(windows *w, pool_block b)
{
    if (w->on) change(w, b, -1);
}

void windows_restored(windows *w, pool_block b)
{
    if (w->on) place(w, b);
}

void windows_held(windows *w, pool_block b)
{
    if (!w->on) return;
    w->held[b] = true;
    place(w, b);
}

void windows_rested(windows *w, pool_block b)
{
    if (!w->on) return;
    w->held[b] = false;
    place(w, b);
}

void windows_freed(windows *w, pool_block b)
{
    if (!w->on) return;
    forget_ends(w, b);
    assert(!w->reach[b]);
    w->held[b] = false;
    if (lru_has(&w->resting, b)) lru_remove(&w->resting, b);
    if (lru_has(&w->running, b)) lru_remove(&w->running, b);
}

bool windows_drop(windows *w)
{
    lru *from = w->resting.count ? &w->resting : &w->running;
    pool_block b;

    if (!w->on || !from->count) return false;
    b = from->oldest;
    lru_remove(from, b);
    pool_shrink(w->pool, b, pool_bytes(w->pool, b));
    w->dropped++;
    return true;
}

size_t windows_past(const windows *w)
{
    return w->resting.count + w->running.count;
}

bool windows_is_sound(const windows *w)
{
    for (pool_block b = 0; w->on && b < pool_numbers(w->pool); b++) {
        const bool past = !pool_is_free(w->pool, b) && !pool_is_small(w->pool, b) &&
                          !w->reach[b];

        if (lru_has(&w->resting, b) != (past && !w->held[b])) return false;
        if (lru_has(&w->running, b) != (past && w->held[b])) return false;
        if (pool_is_free(w->pool, b) && (w->reach[b] || w->ends[b])) return false;
    }
    return true;
}
