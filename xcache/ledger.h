/* ledger.h - who holds, reserves and pins the pool's blocks: the budget is enforced here.
 *
 * The one owner of these counts: a context asks for all that it may ever need when it begins
 * (ledger_admit), and what is admitted cannot run out of room later. ledger.c draws the states
 * of a block and says which counts each call moves. The index and the workspace follow: a
 * block that is freed leaves both, and a page stays for as long as its block is held.
 *
 * A pool_block is a number below pool_numbers(). One thread calls everything here. */
#ifndef XCACHE_LEDGER_H
#define XCACHE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "xcache/pool.h"
#include "xcache/prefix.h"
#include "xcache/windows.h"
#include "xcache/workspace.h"

typedef struct ledger ledger;

/* Blocks, but for the last two. A block that several hold or pin counts once. */
typedef struct ledger_counts {
    size_t limit;     /* held and reserved at most: blocks of the pool, or pages if fewer */
    size_t held;      /* by contexts that run */
    size_t reserved;  /* what they, and promised copies, may still take */
    size_t resting;   /* neither held nor pinned: what may be evicted */
    size_t pinned;    /* held or not */
    size_t kept;      /* pinned, but not held */
    size_t promised;  /* copies that have not begun: an open page each */
    uint64_t evicted; /* since the ledger was opened */
} ledger_counts;

/* Every block of p is free. t, w where there is a workspace (else NULL), and s where blocks may
 * lose their windowed layers (else NULL) are borrowed like p. longest: blocks of a context of
 * full length, for which pins leave room. ERR_NOMEM. The caller closes. */
err ledger_open(ledger **out, pool *p, prefix_table *t, workspace *w, windows *s,
                size_t longest);
void ledger_close(ledger *l);

/* --- contexts --- */

/* What a context begins with. */
typedef struct ledger_claim {
    const pool_block *blocks; /* [n] to be held once more, no two equal */
    size_t n;
    size_t reserve;    /* blocks to be taken later, those of its copies among them */
    size_t copies;     /* open pages promised to copies */
    size_t free_pages; /* open pages that nobody has: one is taken at once */
    bool modest;       /* leave as much as a context of full length needs, a quarter at most */
} ledger_claim;

/* All of it, or ERR_BUSY and nothing. */
err ledger_admit(ledger *l, const ledger_claim *a);

/* A block to write, held once, one of those reserved: a free one; or else blocks lose layers
 * that serve a rewind alone; or else the one that rested longest is evicted. Cannot fail. */
pool_block ledger_take(ledger *l);

/* Hold a block that is not free once more. Let go of it once: then it rests, or is kept, or is
 * free if no prefix leads to it. */
void ledger_hold(ledger *l, pool_block b);
void ledger_drop(ledger *l, pool_block b);

/* Let go of blocks [n], the last first, and reserve as many instead. ERR_BUSY: those that stay
 * where they are, held by others or pinned, leave too little; nothing changed. */
err ledger_return(ledger *l, const pool_block *blocks, size_t n);

/* So many reserved blocks are not needed; a promised copy, for which so many are reserved, is
 * not either. */
void ledger_unreserve(ledger *l, size_t n);
void ledger_unpromise(ledger *l, size_t reserved);

/* --- blocks that nobody holds --- */

/* Keep blocks [n], to which prefixes lead, until they are unpinned as often. ERR_BUSY: what is
 * reserved would not fit beside them, or no context of full length; nothing changed. Unpinned
 * the last first, as a context lets go of its blocks. */
err ledger_pin(ledger *l, const pool_block *blocks, size_t n);
void ledger_unpin(ledger *l, const pool_block *blocks, size_t n);

/* Free a block if it rests and no other follows it. */
void ledger_free(ledger *l, pool_block b);

/* Free up to n resting blocks, the oldest first; how many it were. */
size_t ledger_evict(ledger *l, size_t n);

/* --- resting blocks to be degraded; none where small blocks are what windows leave --- */

/* How many can be: they are whole, and were not found to be hopeless. */
size_t ledger_degradable(const ledger *l);

/* The one of them that rested longest and is not being degraded yet: it is from now on, until
 * it ends or is held, pinned or freed. PREFIX_NONE: there is none. */
pool_block ledger_begin_degrade(ledger *l);
bool ledger_is_degrading(const ledger *l, pool_block b);

/* It is no longer one of them: it is degraded, or cannot be. It rests where it did. */
void ledger_end_degrade(ledger *l, pool_block b);

/* --- figures --- */

ledger_counts ledger_count(const ledger *l);
size_t ledger_limit(const ledger *l);                    /* any thread: it never changes */
unsigned ledger_refcount(const ledger *l, pool_block b); /* how many hold it; it is not free */
unsigned ledger_pins(const ledger *l, pool_block b);     /* how often it is pinned */
bool ledger_rests(const ledger *l, pool_block b);

/* Count again, block by block: is each in one state, and do the sums agree with the pool's, the
 * index's and the workspace's? */
bool ledger_is_sound(const ledger *l);

#endif
