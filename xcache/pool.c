/* pool.c - a memfd arena, and stacks of what of it is free.
 *
 * A place is half a block of the arena: 2 i and 2 i + 1 are the places of its block i. A whole
 * block lies at an even place and takes both; a half lies anywhere.
 *
 *    arena    | 0 : 1 | 2 : 3 | 4 : 5 | 6 : 7 |       at[b]: the place of block number b
 *    whole    | b 7   |                              owner[place]: which half lies there
 *    halves           | b2:b9 | b4:   |              5 is loose: free, beside a half
 *    free                             | 6     |      even places, of which both are free
 *
 * A block is a number and keeps it, whatever happens to its bytes: prefixes, contexts and the
 * ledger know numbers alone. pool_halve writes a block's half at a loose place, if there is
 * one, and frees both of its own, else at its own first one, and the second is loose. So at
 * most one half of any block is loose, and when no block is free two loose ones are joined:
 *
 *    | b4:   |   | b1:   |   --join_halves-->   | b4:b1 |   |       |   the second is free
 *
 * so that every two free places make a block, and nothing is lost to gaps. */
#include "xcache/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/pages.h"
#include "xcache/lru.h"

/* Half a block of the arena. */
typedef uint32_t place;

struct pool {
    uint64_t budget;
    size_t block_bytes, n, numbers, n_unused, n_free, n_halves;
    bool halves;
    uint8_t *arena;
    pool_block *unused; /* [numbers] a stack: the number given back last is taken first */
    place *free;        /* [n] a stack of even places */
    bool *taken;        /* [numbers] */
    place *at;          /* [numbers] */
    bool *half;         /* [numbers] */
    pool_block *owner;  /* [2 n] which half lies there */
    lru loose;          /* free places beside one that a half takes */
};

/* Shared memory, so that a reader in another process can be given it; lazily filled. */
static err map_arena(pool *p)
{
    const size_t bytes = p->n * p->block_bytes;
    const int fd = memfd_create("xquantd-pool", MFD_CLOEXEC);
    void *at = MAP_FAILED;

    if (fd < 0) return ERR_SYSTEM;
    /* a length, not memory: MAP_NORESERVE, so a budget may be larger than what is free now */
    if (ftruncate(fd, (off_t)bytes) == 0)
        at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    close(fd);
    if (at == MAP_FAILED) return ERR_NOMEM;
    (void)madvise(at, bytes, MADV_HUGEPAGE); /* where allowed */
    p->arena = at;
    return ERR_OK;
}

static err open_lists(pool *p)
{
    p->unused = malloc(p->numbers * sizeof *p->unused);
    p->free = malloc(p->n * sizeof *p->free);
    p->taken = calloc(p->numbers, sizeof *p->taken);
    p->at = malloc(p->numbers * sizeof *p->at);
    p->half = calloc(p->numbers, sizeof *p->half);
    p->owner = malloc(2 * p->n * sizeof *p->owner);
    if (!p->unused || !p->free || !p->taken || !p->at || !p->half || !p->owner)
        return ERR_NOMEM;
    TRY(lru_open(&p->loose, 2 * p->n));
    /* the lowest are taken first, so that a young pool touches little memory */
    for (size_t i = 0; i < p->numbers; i++) p->unused[i] = (pool_block)(p->numbers - 1 - i);
    for (size_t i = 0; i < p->n; i++) p->free[i] = (place)(2 * (p->n - 1 - i));
    p->n_unused = p->numbers;
    p->n_free = p->n;
    return ERR_OK;
}

err pool_open(pool **out, uint64_t budget_bytes, size_t block_bytes, bool halves)
{
    const size_t line = halves ? 128 : 64;
    pool *p = calloc(1, sizeof *p);
    err e;

    if (!p) return ERR_NOMEM;
    p->budget = budget_bytes;
    p->halves = halves;
    p->block_bytes = (block_bytes + line - 1) / line * line;
    p->n = budget_bytes / p->block_bytes;
    /* numbers and places are 32 bits, and there are twice as many places */
    if (p->n > UINT32_MAX / 2) p->n = UINT32_MAX / 2;
    p->numbers = halves ? 2 * p->n : p->n;
    e = p->n ? open_lists(p) : ERR_NOROOM;
    if (e == ERR_OK) e = map_arena(p);
    if (e != ERR_OK) {
        pool_close(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

err pool_fill(pool *p)
{
    return pages_fill(p->arena, p->n * p->block_bytes);
}

void pool_close(pool *p)
{
    if (!p) return;
    if (p->arena) munmap(p->arena, p->n * p->block_bytes);
    lru_close(&p->loose);
    free(p->unused);
    free(p->free);
    free(p->taken);
    free(p->at);
    free(p->half);
    free(p->owner);
    free(p);
}

static uint8_t *bytes_at(const pool *p, place at)
{
    return p->arena + at * (p->block_bytes / 2);
}

/* --- halves --- */

static void put_half(pool *p, pool_block b, place at, const uint8_t *bytes)
{
    memcpy(bytes_at(p, at), bytes, p->block_bytes / 2);
    p->at[b] = at;
    p->owner[at] = b;
}

void pool_halve(pool *p, pool_block b, const uint8_t *bytes)
{
    const place was = p->at[b];

    assert(p->halves && !pool_is_free(p, b) && !p->half[b]);
    p->half[b] = true;
    p->n_halves++;
    /* the half goes elsewhere, so that a whole block is won at once */
    if (p->loose.count) {
        const place at = p->loose.oldest;

        lru_remove(&p->loose, at);
        put_half(p, b, at, bytes);
        p->free[p->n_free++] = was;
    } else {
        put_half(p, b, was, bytes);
        lru_add(&p->loose, was + 1);
    }
}

/* Two blocks of which a half is loose: the half of one moves to the other. */
static void join_halves(pool *p)
{
    const place to = p->loose.oldest;
    place from;

    lru_remove(&p->loose, to);
    from = p->loose.oldest;
    lru_remove(&p->loose, from);
    /* the oldest, for want of a better choice: a copy of half a block either way */
    put_half(p, p->owner[from ^ 1], to, bytes_at(p, from ^ 1));
    p->free[p->n_free++] = from & ~1u;
}

/* --- taking and giving --- */

err pool_take(pool *p, pool_block *out)
{
    /* only when a block is wanted: until then a loose place may be filled without a copy */
    if (!p->n_free && p->loose.count >= 2) join_halves(p);
    if (!p->n_free) return ERR_NOROOM;
    *out = p->unused[--p->n_unused];
    assert(!p->taken[*out]);
    p->at[*out] = p->free[--p->n_free];
    p->taken[*out] = true;
    return ERR_OK;
}

void pool_give(pool *p, pool_block b)
{
    const place at = p->at[b];

    assert(!pool_is_free(p, b));
    p->taken[b] = false;
    p->unused[p->n_unused++] = b;
    /* a half whose neighbour lives leaves a loose place; the last one of a block frees it */
    if (p->half[b] && !lru_has(&p->loose, at ^ 1)) {
        lru_add(&p->loose, at);
    } else {
        if (p->half[b]) lru_remove(&p->loose, at ^ 1);
        p->free[p->n_free++] = at & ~1u;
    }
    p->n_halves -= p->half[b];
    p->half[b] = false;
}

bool pool_is_half(const pool *p, pool_block b)
{
    return p->half[b];
}

bool pool_is_free(const pool *p, pool_block b)
{
    assert(b < p->numbers);
    return !p->taken[b];
}

uint8_t *pool_bytes(const pool *p, pool_block b)
{
    assert(b < p->numbers);
    return bytes_at(p, p->at[b]);
}

size_t pool_bytes_of(const pool *p, pool_block b)
{
    return p->half[b] ? p->block_bytes / 2 : p->block_bytes;
}

bool pool_halves(const pool *p)
{
    return p->halves;
}

/* --- figures --- */

size_t pool_blocks(const pool *p)
{
    return p->n;
}

size_t pool_numbers(const pool *p)
{
    return p->numbers;
}

size_t pool_free_blocks(const pool *p)
{
    return p->n_free + p->loose.count / 2;
}

size_t pool_half_blocks(const pool *p)
{
    return p->n_halves;
}

uint64_t pool_used_bytes(const pool *p)
{
    return (p->n - p->n_free) * p->block_bytes - p->loose.count * (p->block_bytes / 2);
}

size_t pool_block_bytes(const pool *p)
{
    return p->block_bytes;
}

uint64_t pool_budget_bytes(const pool *p)
{
    return p->budget;
}
