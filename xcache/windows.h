/* windows.h - which blocks' windowed layers a query can still reach, and which may go first.
 *
 * In a layer with a window a query sees the newest keys alone. A context that goes on behind
 * block n needs the windowed layers of its last few blocks, first .. n-1; those of earlier ones
 * serve nobody but who rewinds. Such a block is *past*: when room is wanted it shrinks to the
 * layers that see everything, before any block is evicted. Whoever could go on from where
 * blocks are counts as reaching them: contexts that run, conversations that rest, pins.
 *
 * All of this is empty in a cache whose blocks cannot do without a layer (`on` is false). One
 * thread calls everything here. */
#ifndef XCACHE_WINDOWS_H
#define XCACHE_WINDOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/model/model.h"
#include "xcache/lru.h"
#include "xcache/pool.h"
#include "xcache/prefix.h"

typedef struct windows {
    bool on;
    const model *m;
    size_t block_tokens;
    pool *pool;
    prefix_table *prefixes;
    uint32_t *reach; /* [numbers] how many can reach it */
    uint32_t *ends;  /* [numbers] conversations that rest, of which it is the last block */
    uint32_t *depth; /* [numbers] blocks before it, where ends counts */
    bool *held;      /* [numbers] by contexts that run */
    lru resting;     /* past ones that no context holds: these go first, the oldest first */
    lru running;     /* past ones that one holds */
    uint64_t dropped;
} windows;

/* The first block whose windowed layers are needed behind n blocks; n: none are. */
size_t windows_first(const model *m, size_t block_tokens, size_t n);

/* For the blocks of p, which are small once they are without their windowed layers. p and t are
 * borrowed. ERR_NOMEM; the caller closes in either case. */
err windows_open(windows *w, const model *m, size_t block_tokens, pool *p, prefix_table *t);
void windows_close(windows *w);
size_t windows_bytes(size_t numbers);

/* How many of these blocks [n], a prefix, a context can go on behind: as many as are there with
 * all that it would see. */
size_t windows_usable(const windows *w, const pool_block *blocks, size_t n);

/* Somebody could go on behind these blocks [n], or cannot any more. */
void windows_reach(windows *w, const pool_block *blocks, size_t n);
void windows_leave(windows *w, const pool_block *blocks, size_t n);

/* A context has ended behind blocks [n], to which prefixes lead, and its conversation rests
 * there; or one has begun behind them, and if a conversation rested there it goes on. */
void windows_rest(windows *w, const pool_block *blocks, size_t n);
void windows_resume(windows *w, const pool_block *blocks, size_t n);

/* Among those past, that nobody holds and that are a context's first `n`, let the first be the
 * next to go: from there a rewind is the longest. */
void windows_order(windows *w, const pool_block *blocks, size_t n);

/* The block is being written, and is not to shrink; it is written, or given up. */
void windows_write(windows *w, pool_block b);
void windows_written(windows *w, pool_block b);

/* The block has got its windowed layers back. */
void windows_restored(windows *w, pool_block b);

/* Shrink the block that has been past for longest, one of a running context only where no other
 * is. False: none is past. */
bool windows_drop(windows *w);

/* Blocks that are past, and whole still. */
size_t windows_past(const windows *w);

/* Is each past block on the list it belongs to, and no other? */
bool windows_is_sound(const windows *w);

/* --- for the ledger: a block's state has changed --- */

void windows_held(windows *w, pool_block b);
void windows_rested(windows *w, pool_block b);
void windows_freed(windows *w, pool_block b); /* is about to be: it is in the table still */

#endif
