/* pool.h - the shared memory pool: one arena of equal blocks, a free list, a hard budget.
 *
 * A block belongs to the pool; who holds it may read it, and nobody writes it once sealed. Who
 * holds, pins and reserves is in ledger.h; here a block is free or taken. The arena is mapped
 * once and never grows; its memory is had when it is first written. One thread takes and gives
 * back; any thread may read a block it was shown.
 *
 * A pool of several parts can keep as many small blocks where one was. A block is a number and
 * keeps it; where its bytes lie may change when blocks are shrunk, swapped or taken. */
#ifndef XCACHE_POOL_H
#define XCACHE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"

typedef struct pool pool;

typedef uint32_t pool_block; /* a block's number, 0 .. pool_numbers-1 */

enum { POOL_MOST_PARTS = 16 };

/* Map room for as many blocks as fit in budget_bytes, each of `parts` parts, 1 ..
 * POOL_MOST_PARTS; block_bytes is rounded up so that a part is whole lines of 64. ERR_NOROOM if
 * that is none, ERR_NOMEM, ERR_SYSTEM. The caller closes. */
err pool_open(pool **out, uint64_t budget_bytes, size_t block_bytes, size_t parts);
void pool_close(pool *p);

/* Have the memory of every block now. ERR_NOMEM: there is not as much. */
err pool_fill(pool *p);

/* Take a free block, a whole one; give it back. ERR_NOROOM when there is none. */
err pool_take(pool *p, pool_block *out);
void pool_give(pool *p, pool_block b);

/* A whole block is one part from now on, and its bytes are these [pool_part_bytes]; they may be
 * its own first ones. */
void pool_shrink(pool *p, pool_block b, const uint8_t *bytes);
bool pool_is_small(const pool *p, pool_block b);

/* Two taken blocks change places: what one held is the other's, and its size. */
void pool_swap(pool *p, pool_block a, pool_block b);

bool pool_is_free(const pool *p, pool_block b);

/* Its bytes, 64-byte aligned, and how many. */
uint8_t *pool_bytes(const pool *p, pool_block b);
size_t pool_bytes_of(const pool *p, pool_block b);

size_t pool_parts(const pool *p); /* 1: its blocks cannot be shrunk */

size_t pool_blocks(const pool *p);      /* whole ones that fit */
size_t pool_numbers(const pool *p);     /* times parts: all may be small */
size_t pool_free_blocks(const pool *p); /* whole ones that can be taken */
size_t pool_small_blocks(const pool *p);
uint64_t pool_used_bytes(const pool *p);
size_t pool_block_bytes(const pool *p);
size_t pool_part_bytes(const pool *p);
uint64_t pool_budget_bytes(const pool *p);

#endif
