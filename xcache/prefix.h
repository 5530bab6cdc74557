/* prefix.h - which sealed block holds which tokens: the index of a pool by content.
 *
 * A block's key is an XXH3-128 over the key of the block before it and its own token ids; the
 * first follows a root key, which names everything else that a block depends on and who may
 * share it. So one key stands for all tokens up to the block's end. A key may be wrong: the
 * caller compares the ids, and the parent is compared here, which settles all earlier ids. */
#ifndef XCACHE_PREFIX_H
#define XCACHE_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "xcache/pool.h"

typedef struct prefix_table prefix_table;

typedef struct prefix_key {
    uint64_t low, high;
} prefix_key;

#define PREFIX_NONE UINT32_MAX /* the parent of a first block, and the block of no key */

/* A table for the blocks of a pool. key_bits: how many bits of a key count, 128 but for tests
 * that want collisions. ERR_NOMEM. The caller closes. */
err prefix_open(prefix_table **out, size_t blocks, unsigned key_bits);
void prefix_close(prefix_table *t);

/* The key after `before` and these bytes. */
prefix_key prefix_next(const prefix_table *t, prefix_key before, const void *bytes, size_t n);

/* The block of this key and parent, or PREFIX_NONE. */
pool_block prefix_find(const prefix_table *t, prefix_key key, pool_block parent);

/* Enter a block. False: the key is taken, and the block stays out. */
bool prefix_add(prefix_table *t, prefix_key key, pool_block parent, pool_block b);
void prefix_remove(prefix_table *t, pool_block b);

/* Is the block in the table, and under which key? */
bool prefix_has(const prefix_table *t, pool_block b);
prefix_key prefix_of(const prefix_table *t, pool_block b);

/* Of a block in the table: the one before it, and how many others in it follow it. */
pool_block prefix_parent(const prefix_table *t, pool_block b);
size_t prefix_followers(const prefix_table *t, pool_block b);

/* What the block holds has changed, though not its tokens: enter it under the key that
 * prefix_changed makes of its own. What was sealed after it stays where it is; what will be
 * follows the new key. False: that key is taken, and nothing changed. */
bool prefix_change(prefix_table *t, pool_block b);
bool prefix_has_changed(const prefix_table *t, pool_block b);
prefix_key prefix_changed(const prefix_table *t, prefix_key key); /* its own inverse */

/* Of a table for so many blocks. */
size_t prefix_bytes(size_t blocks);

#endif
