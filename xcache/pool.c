/* pool.c - a memfd arena, and stacks of what of it is free.
 *
 * A frame is room for a block, and has `parts` places, numbered on through the arena. A whole
 * block lies at a frame's first place and takes all of them; a small one takes any one place.
 * Here of 3 parts:
 *
 *    arena    | 0 : 1 : 2 | 3 : 4 : 5 | 6 : 7 : 8 |   at[b]: the place of block number b
 *    whole    | b 7       |                          owner[place]: which small block lies there
 *    small                | b2:   :b9 |              4 is loose: free, beside small ones
 *    free                             | 6         |  first places of frames, all of it free
 *
 * A block is a number and keeps it, whatever happens to its bytes: prefixes, contexts and the
 * ledger know numbers alone. pool_shrink writes what is left of a block at a loose place, if
 * there is one, and frees its frame; else at its own first place, and the others are loose.
 * When no frame is free and as many places are loose as make one, the emptiest frame with
 * loose places is emptied into the others':
 *
 *    | b4:   :   |   | b1:   :b3 |   --empty_frame-->   |   :   :   |   | b1:b4:b3 |
 *
 * so that nothing is lost to gaps. */
#include "xcache/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/pages.h"
#include "xcache/lru.h"

/* A part of a block of the arena. */
typedef uint32_t place;

struct pool {
    uint64_t budget;
    size_t block_bytes, parts, n, numbers, n_unused, n_free, n_small, n_loose;
    uint8_t *arena;
    pool_block *unused; /* [numbers] a stack: the number given back last is taken first */
    place *free;        /* [n] a stack of first places */
    bool *taken;        /* [numbers] */
    place *at;          /* [numbers] */
    bool *small;        /* [numbers] */
    pool_block *owner;  /* [n parts] which small block lies there; NOBODY, in shared frames */
    uint8_t *lodgers;   /* [n] small blocks of a frame */
    lru loose;          /* frames with small blocks and loose places */
};

#define NOBODY UINT32_MAX

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
    p->small = calloc(p->numbers, sizeof *p->small);
    p->owner = malloc(p->n * p->parts * sizeof *p->owner);
    p->lodgers = calloc(p->n, sizeof *p->lodgers);
    if (!p->unused || !p->free || !p->taken || !p->at || !p->small || !p->owner || !p->lodgers)
        return ERR_NOMEM;
    TRY(lru_open(&p->loose, p->n));
    /* the lowest are taken first, so that a young pool touches little memory */
    for (size_t i = 0; i < p->numbers; i++) p->unused[i] = (pool_block)(p->numbers - 1 - i);
    for (size_t i = 0; i < p->n; i++) p->free[i] = (place)(p->parts * (p->n - 1 - i));
    p->n_unused = p->numbers;
    p->n_free = p->n;
    return ERR_OK;
}

err pool_open(pool **out, uint64_t budget_bytes, size_t block_bytes, size_t parts)
{
    const size_t line = 64 * parts;
    pool *p = calloc(1, sizeof *p);
    err e;

    assert(parts >= 1 && parts <= POOL_MOST_PARTS);
    if (!p) return ERR_NOMEM;
    p->budget = budget_bytes;
    p->parts = parts;
    p->block_bytes = (block_bytes + line - 1) / line * line;
    p->n = budget_bytes / p->block_bytes;
    /* numbers and places are 32 bits */
    if (p->n > UINT32_MAX / POOL_MOST_PARTS) p->n = UINT32_MAX / POOL_MOST_PARTS;
    p->numbers = p->n * parts;
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
    free(p->small);
    free(p->owner);
    free(p->lodgers);
    free(p);
}

static uint8_t *bytes_at(const pool *p, place at)
{
    return p->arena + at * pool_part_bytes(p);
}

/* --- small blocks --- */

static void put_small(pool *p, pool_block b, place at, const uint8_t *bytes)
{
    /* what is left of a block may stay where it is */
    if (bytes != bytes_at(p, at)) memcpy(bytes_at(p, at), bytes, pool_part_bytes(p));
    p->at[b] = at;
    p->owner[at] = b;
}

/* A loose place; it is its new owner's to be. */
static place take_loose(pool *p)
{
    const size_t frame = p->loose.oldest;
    place at = (place)(frame * p->parts);

    while (p->owner[at] != NOBODY) at++;
    if (++p->lodgers[frame] == p->parts) lru_remove(&p->loose, (uint32_t)frame);
    p->n_loose--;
    return at;
}

void pool_shrink(pool *p, pool_block b, const uint8_t *bytes)
{
    const place was = p->at[b];
    const size_t frame = was / p->parts;

    assert(p->parts > 1 && !pool_is_free(p, b) && !p->small[b]);
    p->small[b] = true;
    p->n_small++;
    /* it goes elsewhere, so that a whole frame is won at once */
    if (p->n_loose) {
        put_small(p, b, take_loose(p), bytes);
        p->free[p->n_free++] = was;
        return;
    }
    for (size_t i = 0; i < p->parts; i++) p->owner[was + i] = NOBODY;
    put_small(p, b, was, bytes);
    p->lodgers[frame] = 1;
    p->n_loose += p->parts - 1;
    lru_add(&p->loose, (uint32_t)frame);
}

/* Of those with loose places, the one that takes the fewest copies. */
static uint32_t find_emptiest(const pool *p)
{
    uint32_t best = p->loose.oldest;

    for (uint32_t f = best; f != LRU_NONE; f = lru_next(&p->loose, f))
        if (p->lodgers[f] < p->lodgers[best]) best = f;
    return best;
}

static void empty_frame(pool *p)
{
    const uint32_t frame = find_emptiest(p);
    const place first = (place)(frame * p->parts);

    lru_remove(&p->loose, frame);
    p->n_loose -= p->parts - p->lodgers[frame];
    for (place at = first; at < first + p->parts; at++)
        if (p->owner[at] != NOBODY) put_small(p, p->owner[at], take_loose(p), bytes_at(p, at));
    p->lodgers[frame] = 0;
    p->free[p->n_free++] = first;
}

static void give_small(pool *p, pool_block b)
{
    const place at = p->at[b];
    const uint32_t frame = (uint32_t)(at / p->parts);

    if (p->lodgers[frame] == p->parts) lru_add(&p->loose, frame);
    p->owner[at] = NOBODY;
    p->n_loose++;
    p->n_small--;
    p->small[b] = false;
    if (--p->lodgers[frame]) return;
    /* the last one of a frame frees it */
    lru_remove(&p->loose, frame);
    p->n_loose -= p->parts;
    p->free[p->n_free++] = (place)(frame * p->parts);
}

/* --- taking and giving --- */

err pool_take(pool *p, pool_block *out)
{
    /* only when a block is wanted: until then loose places may be filled without a copy */
    if (!p->n_free && p->n_loose >= p->parts) empty_frame(p);
    if (!p->n_free) return ERR_NOROOM;
    *out = p->unused[--p->n_unused];
    assert(!p->taken[*out]);
    p->at[*out] = p->free[--p->n_free];
    p->taken[*out] = true;
    return ERR_OK;
}

void pool_give(pool *p, pool_block b)
{
    assert(!pool_is_free(p, b));
    p->taken[b] = false;
    p->unused[p->n_unused++] = b;
    if (p->small[b])
        give_small(p, b);
    else
        p->free[p->n_free++] = p->at[b];
}

void pool_swap(pool *p, pool_block a, pool_block b)
{
    const place at = p->at[a];
    const bool small = p->small[a];

    assert(!pool_is_free(p, a) && !pool_is_free(p, b));
    p->at[a] = p->at[b];
    p->small[a] = p->small[b];
    p->at[b] = at;
    p->small[b] = small;
    if (p->small[a]) p->owner[p->at[a]] = a;
    if (p->small[b]) p->owner[p->at[b]] = b;
}

bool pool_is_small(const pool *p, pool_block b)
{
    return p->small[b];
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
    return p->small[b] ? pool_part_bytes(p) : p->block_bytes;
}

size_t pool_parts(const pool *p)
{
    return p->parts;
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
    return p->n_free + p->n_loose / p->parts;
}

size_t pool_small_blocks(const pool *p)
{
    return p->n_small;
}

uint64_t pool_used_bytes(const pool *p)
{
    return (p->n - p->n_free) * p->block_bytes - p->n_loose * pool_part_bytes(p);
}

size_t pool_block_bytes(const pool *p)
{
    return p->block_bytes;
}

size_t pool_part_bytes(const pool *p)
{
    return p->block_bytes / p->parts;
}

uint64_t pool_budget_bytes(const pool *p)
{
    return p->budget;
}
