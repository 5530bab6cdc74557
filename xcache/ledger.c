/* ledger.c - the states of a block, the counts of each, and the inequality that admission is.
 *
 *   state     refcount  pins   counted in       may be evicted
 *   free      0         0      (the pool)       -
 *   held      1 ..      0 ..   held, pinned     no
 *   kept      0         1 ..   kept, pinned     no
 *   resting   0         0      resting          yes, the oldest first
 *
 *   take      free -> held               held + 1, reserved - 1
 *   hold      resting, kept -> held      held + 1, resting or kept - 1
 *   drop      held -> resting or kept    held - 1, resting or kept + 1
 *             held -> free               held - 1: no prefix leads to it, nobody would find it
 *   pin       resting -> kept            resting - 1, kept + 1
 *   unpin     kept -> resting            kept - 1, resting + 1
 *   evict     resting -> free            resting - 1
 *
 * hold, drop and pin of a block that stays in its state move its refcount or pins alone.
 *
 * After every call (asserted):
 *   held + reserved <= limit           limit: blocks of the pool, or pages of the workspace
 *   held + reserved + kept <= blocks   of the pool
 * By the second, free + resting >= reserved: take finds a block. By the first, so does a held
 * block its page. A degraded block counts as a whole one, which errs safely. */
#include "xcache/ledger.h"

#include <assert.h>
#include <stdlib.h>

#include "xcache/lru.h"

struct ledger {
    pool *pool;
    prefix_table *prefixes;
    workspace *workspace; /* NULL: none */
    windows *windows, none;
    uint32_t *refcounts; /* [numbers] */
    uint32_t *pins;      /* [numbers] */
    bool *degrading;     /* [numbers] */
    lru resting;         /* oldest first; its length is counts.resting */
    lru whole;           /* of these, what can be degraded, in the same order */
    size_t longest;
    ledger_counts counts;
};

/* --- opening --- */

static err open_tables(ledger *l)
{
    const size_t n = pool_numbers(l->pool);

    l->refcounts = calloc(n, sizeof *l->refcounts);
    l->pins = calloc(n, sizeof *l->pins);
    l->degrading = calloc(n, sizeof *l->degrading);
    if (!l->refcounts || !l->pins || !l->degrading) return ERR_NOMEM;
    TRY(lru_open(&l->resting, n));
    return lru_open(&l->whole, n);
}

err ledger_open(ledger **out, pool *p, prefix_table *t, workspace *w, windows *s,
                size_t longest)
{
    ledger *l = calloc(1, sizeof *l);
    err e;

    if (!l) return ERR_NOMEM;
    *l = (ledger){.pool = p, .prefixes = t, .workspace = w, .longest = longest};
    l->windows = s ? s : &l->none;
    l->counts.limit = w ? workspace_pages(w) : pool_blocks(p);
    e = open_tables(l);
    if (e != ERR_OK) {
        ledger_close(l);
        return e;
    }
    *out = l;
    return ERR_OK;
}

void ledger_close(ledger *l)
{
    if (!l) return;
    lru_close(&l->resting);
    lru_close(&l->whole);
    free(l->refcounts);
    free(l->pins);
    free(l->degrading);
    free(l);
}

/* --- states --- */

static void check(const ledger *l)
{
    const ledger_counts *n = &l->counts;

    assert(n->held + n->reserved <= n->limit);
    assert(n->held + n->reserved + n->kept <= pool_blocks(l->pool));
    (void)n;
}

/* Small blocks are degraded ones, or what windows leave, never both in one pool. */
static bool degrades(const ledger *l)
{
    return pool_parts(l->pool) > 1 && !l->windows->on;
}

static void add_resting(ledger *l, pool_block b)
{
    lru_add(&l->resting, b);
    if (degrades(l) && !pool_is_small(l->pool, b)) lru_add(&l->whole, b);
}

/* Whoever degrades it has to stop: the number may be another block's soon. */
static void remove_resting(ledger *l, pool_block b)
{
    lru_remove(&l->resting, b);
    ledger_end_degrade(l, b);
}

static void free_block(ledger *l, pool_block b)
{
    windows_freed(l->windows, b);
    if (prefix_has(l->prefixes, b)) prefix_remove(l->prefixes, b);
    if (l->workspace) workspace_drop(l->workspace, b);
    pool_give(l->pool, b);
}

static void hold(ledger *l, pool_block b)
{
    assert(!pool_is_free(l->pool, b));
    if (l->refcounts[b]++) return;
    l->counts.held++;
    if (l->pins[b])
        l->counts.kept--;
    else
        remove_resting(l, b);
    if (l->workspace) workspace_hold(l->workspace, b);
    windows_held(l->windows, b);
}

static void drop(ledger *l, pool_block b)
{
    assert(l->refcounts[b]);
    if (--l->refcounts[b]) return;
    l->counts.held--;
    if (!prefix_has(l->prefixes, b)) {
        free_block(l, b);
        return;
    }
    if (l->pins[b])
        l->counts.kept++;
    else
        add_resting(l, b);
    if (l->workspace) workspace_rest(l->workspace, b);
    windows_rested(l->windows, b);
}

/* Resting blocks stand in the order they were let go of. A context lets go of its last block
 * first, so a block comes before the one it follows: the oldest always ends a chain. */
static void evict_oldest(ledger *l)
{
    const pool_block b = l->resting.oldest;

    remove_resting(l, b);
    free_block(l, b);
    l->counts.evicted++;
}

/* --- contexts --- */

/* What a change adds: blocks that are held or reserved, and of these the ones that could have
 * been evicted until then. */
typedef struct increase {
    size_t busy, fixed;
} increase;

static bool fits(const ledger *l, increase by)
{
    const ledger_counts *n = &l->counts;
    const size_t busy = n->held + n->reserved;

    return busy + by.busy <= n->limit && busy + n->kept + by.fixed <= pool_blocks(l->pool);
}

/* To hold what a context lists. What others hold is counted already. */
static increase count_unheld(const ledger *l, const pool_block *blocks, size_t n)
{
    increase by = {0};

    for (size_t i = 0; i < n; i++) {
        by.busy += !l->refcounts[blocks[i]];
        by.fixed += lru_has(&l->resting, blocks[i]);
    }
    return by;
}

/* What modesty leaves. A quarter: where hardly more than one context of full length fits at
 * all, its owner would otherwise run one at a time and the rest would never be used. */
static size_t left_by_modesty(const ledger *l)
{
    const size_t most = l->counts.limit / 4;

    return l->longest < most ? l->longest : most;
}

err ledger_admit(ledger *l, const ledger_claim *a)
{
    const size_t more = a->reserve + (a->modest ? left_by_modesty(l) : 0);
    increase by = count_unheld(l, a->blocks, a->n);

    by.busy += more;
    by.fixed += more;
    if (!fits(l, by) || a->free_pages <= l->counts.promised + a->copies) return ERR_BUSY;
    for (size_t i = 0; i < a->n; i++) hold(l, a->blocks[i]);
    l->counts.reserved += a->reserve;
    l->counts.promised += a->copies;
    check(l);
    return ERR_OK;
}

pool_block ledger_take(ledger *l)
{
    pool_block b = PREFIX_NONE;
    err e;

    assert(l->counts.reserved);
    /* several small ones may have to go; and what serves a rewind goes before what serves all
     */
    while (!pool_free_blocks(l->pool))
        if (!windows_drop(l->windows)) evict_oldest(l);
    e = pool_take(l->pool, &b);
    assert(e == ERR_OK);
    (void)e;
    windows_held(l->windows, b);
    l->refcounts[b] = 1;
    l->counts.held++;
    l->counts.reserved--;
    check(l);
    return b;
}

void ledger_hold(ledger *l, pool_block b)
{
    hold(l, b);
    check(l);
}

void ledger_drop(ledger *l, pool_block b)
{
    drop(l, b);
    check(l);
}

/* What stays where it is when one context lets go: the room that it took is not won back. */
static increase count_staying(const ledger *l, const pool_block *blocks, size_t n)
{
    increase by = {0};

    for (size_t i = 0; i < n; i++) {
        const bool shared = l->refcounts[blocks[i]] > 1;

        by.busy += shared;
        by.fixed += shared || l->pins[blocks[i]];
    }
    return by;
}

err ledger_return(ledger *l, const pool_block *blocks, size_t n)
{
    if (!fits(l, count_staying(l, blocks, n))) return ERR_BUSY;
    for (size_t i = n; i--;) drop(l, blocks[i]);
    l->counts.reserved += n;
    check(l);
    return ERR_OK;
}

void ledger_unreserve(ledger *l, size_t n)
{
    assert(l->counts.reserved >= n);
    l->counts.reserved -= n;
}

void ledger_unpromise(ledger *l, size_t reserved)
{
    assert(l->counts.promised);
    l->counts.promised--;
    ledger_unreserve(l, reserved);
}

/* --- blocks that nobody holds --- */

/* A whole context more than what is reserved: pins alone must never make every request wait,
 * for nothing but an unpin would end that. */
static bool leaves_room(const ledger *l, size_t pinned, size_t resting)
{
    const ledger_counts *n = &l->counts;
    const size_t all = pool_blocks(l->pool);

    return n->pinned + pinned + l->longest <= all &&
           n->held + n->reserved + n->kept + resting <= all;
}

err ledger_pin(ledger *l, const pool_block *blocks, size_t n)
{
    size_t pinned = 0, resting = 0;

    for (size_t i = 0; i < n; i++) {
        assert(prefix_has(l->prefixes, blocks[i]));
        pinned += !l->pins[blocks[i]];
        resting += lru_has(&l->resting, blocks[i]);
    }
    if (!leaves_room(l, pinned, resting)) return ERR_BUSY;
    for (size_t i = 0; i < n; i++) {
        if (lru_has(&l->resting, blocks[i])) {
            remove_resting(l, blocks[i]);
            l->counts.kept++;
        }
        l->counts.pinned += l->pins[blocks[i]]++ == 0;
    }
    check(l);
    return ERR_OK;
}

void ledger_unpin(ledger *l, const pool_block *blocks, size_t n)
{
    while (n--) {
        const pool_block b = blocks[n];

        assert(l->pins[b]);
        if (--l->pins[b]) continue;
        l->counts.pinned--;
        if (l->refcounts[b]) continue;
        l->counts.kept--;
        add_resting(l, b);
    }
}

void ledger_free(ledger *l, pool_block b)
{
    /* somebody else's blocks may follow, and could not be found without it */
    if (!lru_has(&l->resting, b) || prefix_followers(l->prefixes, b)) return;
    remove_resting(l, b);
    free_block(l, b);
}

size_t ledger_evict(ledger *l, size_t n)
{
    size_t done = 0;

    for (; done < n && l->resting.count; done++) evict_oldest(l);
    return done;
}

/* --- resting blocks to be degraded --- */

size_t ledger_degradable(const ledger *l)
{
    return l->whole.count;
}

/* As many are passed over as workers degrade at once. */
pool_block ledger_begin_degrade(ledger *l)
{
    uint32_t b = l->whole.oldest;

    while (b != LRU_NONE && l->degrading[b]) b = lru_next(&l->whole, b);
    if (b == LRU_NONE) return PREFIX_NONE;
    l->degrading[b] = true;
    return b;
}

bool ledger_is_degrading(const ledger *l, pool_block b)
{
    return l->degrading[b];
}

void ledger_end_degrade(ledger *l, pool_block b)
{
    l->degrading[b] = false;
    if (lru_has(&l->whole, b)) lru_remove(&l->whole, b);
}

/* --- figures --- */

ledger_counts ledger_count(const ledger *l)
{
    ledger_counts n = l->counts;

    n.resting = l->resting.count;
    return n;
}

size_t ledger_limit(const ledger *l)
{
    return l->counts.limit;
}

unsigned ledger_refcount(const ledger *l, pool_block b)
{
    assert(!pool_is_free(l->pool, b));
    return l->refcounts[b];
}

unsigned ledger_pins(const ledger *l, pool_block b)
{
    return l->pins[b];
}

bool ledger_rests(const ledger *l, pool_block b)
{
    return lru_has(&l->resting, b);
}

/* What nobody holds can be found, or it would be lost for good. */
static bool is_sound_block(const ledger *l, pool_block b)
{
    const bool rests = lru_has(&l->resting, b), found = prefix_has(l->prefixes, b);
    const bool paged = l->workspace && workspace_has(l->workspace, b);

    if (pool_is_free(l->pool, b))
        return !rests && !l->refcounts[b] && !l->pins[b] && !paged && !found;
    if (lru_has(&l->whole, b) && (!rests || pool_is_small(l->pool, b))) return false;
    return rests == (!l->refcounts[b] && !l->pins[b]) && (found || l->refcounts[b]) &&
           (!found || l->windows->on ||
            prefix_has_changed(l->prefixes, b) == pool_is_small(l->pool, b));
}

bool ledger_is_sound(const ledger *l)
{
    ledger_counts n = {.limit = l->counts.limit};
    size_t bytes = 0, pages = 0;

    for (pool_block b = 0; b < pool_numbers(l->pool); b++) {
        if (!is_sound_block(l, b)) return false;
        n.resting += lru_has(&l->resting, b);
        n.held += l->refcounts[b] > 0;
        n.pinned += l->pins[b] > 0;
        n.kept += l->pins[b] && !l->refcounts[b];
        if (!pool_is_free(l->pool, b)) bytes += pool_bytes_of(l->pool, b);
        pages += l->workspace && workspace_has(l->workspace, b);
    }
    return n.resting == l->resting.count && n.held == l->counts.held &&
           n.pinned == l->counts.pinned && n.kept == l->counts.kept &&
           bytes == pool_used_bytes(l->pool) && windows_is_sound(l->windows) &&
           (!l->workspace || pages == workspace_used(l->workspace));
}
