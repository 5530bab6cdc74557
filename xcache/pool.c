/* pool.c - a memfd arena and a free list of block numbers. */
#include "xcache/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct pool {
    uint64_t budget;
    size_t block_bytes, n, n_free, n_held;
    uint8_t *arena;
    pool_block *free; /* [n] a stack: the block given back last is taken first */
    uint32_t *holds;  /* [n] how many hold it, or FREE */
};

#define FREE UINT32_MAX

/* Shared memory, so that a reader in another process can be given it; lazily filled. */
static err map_arena(pool *p)
{
    const size_t bytes = p->n * p->block_bytes;
    const int fd = memfd_create("xquantd-pool", MFD_CLOEXEC);
    void *at = MAP_FAILED;

    if (fd < 0) return ERR_SYSTEM;
    if (ftruncate(fd, (off_t)bytes) == 0)
        at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    close(fd);
    if (at == MAP_FAILED) return ERR_NOMEM;
    (void)madvise(at, bytes, MADV_HUGEPAGE); /* where allowed */
    p->arena = at;
    return ERR_OK;
}

err pool_open(pool **out, uint64_t budget_bytes, size_t block_bytes)
{
    pool *p = calloc(1, sizeof *p);
    err e = ERR_NOMEM;

    if (!p) return ERR_NOMEM;
    p->budget = budget_bytes;
    p->block_bytes = (block_bytes + 63) / 64 * 64;
    p->n = budget_bytes / p->block_bytes;
    if (p->n > UINT32_MAX) p->n = UINT32_MAX;
    if (!p->n) {
        free(p);
        return ERR_NOROOM;
    }
    p->free = malloc(p->n * sizeof *p->free);
    p->holds = malloc(p->n * sizeof *p->holds);
    if (p->free && p->holds) e = map_arena(p);
    if (e != ERR_OK) {
        pool_close(p);
        return e;
    }
    for (size_t i = 0; i < p->n; i++) p->free[i] = (pool_block)(p->n - 1 - i);
    for (size_t i = 0; i < p->n; i++) p->holds[i] = FREE;
    p->n_free = p->n;
    *out = p;
    return ERR_OK;
}

void pool_close(pool *p)
{
    if (!p) return;
    if (p->arena) munmap(p->arena, p->n * p->block_bytes);
    free(p->free);
    free(p->holds);
    free(p);
}

err pool_take(pool *p, pool_block *out)
{
    if (!p->n_free) return ERR_NOROOM;
    *out = p->free[--p->n_free];
    assert(p->holds[*out] == FREE);
    p->holds[*out] = 1;
    p->n_held++;
    return ERR_OK;
}

unsigned pool_hold(pool *p, pool_block b)
{
    assert(!pool_is_free(p, b));
    if (p->holds[b] == 0) p->n_held++;
    return ++p->holds[b];
}

unsigned pool_drop(pool *p, pool_block b)
{
    assert(!pool_is_free(p, b) && p->holds[b]);
    if (--p->holds[b] == 0) p->n_held--;
    return p->holds[b];
}

void pool_give(pool *p, pool_block b)
{
    assert(pool_holders(p, b) == 0);
    p->holds[b] = FREE;
    p->free[p->n_free++] = b;
}

bool pool_is_free(const pool *p, pool_block b)
{
    assert(b < p->n);
    return p->holds[b] == FREE;
}

unsigned pool_holders(const pool *p, pool_block b)
{
    assert(!pool_is_free(p, b));
    return p->holds[b];
}

uint8_t *pool_bytes(const pool *p, pool_block b)
{
    assert(b < p->n);
    return p->arena + (size_t)b * p->block_bytes;
}

size_t pool_blocks(const pool *p)
{
    return p->n;
}

size_t pool_free_blocks(const pool *p)
{
    return p->n_free;
}

size_t pool_held_blocks(const pool *p)
{
    return p->n_held;
}

size_t pool_block_bytes(const pool *p)
{
    return p->block_bytes;
}

uint64_t pool_budget_bytes(const pool *p)
{
    return p->budget;
}
