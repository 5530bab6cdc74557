/* workspace.h - a cache of the X cache: rebuilt keys and values, a page for a sealed block.
 *
 * A page belongs to a block, so contexts that share the block share the page, and it goes
 * with the block. A page whose block no running context holds may be evicted, least recently
 * held first; nothing is lost but the time to rebuild it. */
#ifndef XCACHE_WORKSPACE_H
#define XCACHE_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/context.h"
#include "engine/err.h"
#include "engine/kern/kern.h"
#include "engine/model/model.h"
#include "xcache/pool.h"

typedef struct workspace workspace;

/* Bytes of a page: K and V of B tokens in all layers, 64-byte aligned. int8 has a half a
 * token and head beside each of K and V. */
size_t workspace_page_bytes(const model *m, size_t block_tokens, kv_format format);

/* Room for so many pages over a pool of so many blocks; mapped now, filled lazily. m and k are
 * borrowed. ERR_NOMEM. The caller closes. */
err workspace_open(workspace **out, const model *m, const kern *k, size_t block_tokens,
                   kv_format format, size_t pages, size_t blocks);
void workspace_close(workspace *w);

/* Have the memory of every page now. ERR_NOMEM. */
err workspace_fill(workspace *w);

/* Does the block have a page? */
int workspace_has(const workspace *w, pool_block b);

/* Give the block a page to be written, evicting one that nobody holds if it must; the caller
 * holds b, and sees to it that held blocks never outnumber the pages. */
void workspace_add(workspace *w, pool_block b);

/* One layer of a rebuilt block into its page: `from` is KV_FLOAT. Any thread, one a page. */
void workspace_write(workspace *w, pool_block b, int layer, const kv_tile *from);

/* One layer of a page. Any thread, between writes. */
void workspace_read(const workspace *w, pool_block b, int layer, kv_tile *out);

/* A running context holds the block (again), or none does any more: its page, if there is one,
 * must stay, or may be evicted. */
void workspace_hold(workspace *w, pool_block b);
void workspace_rest(workspace *w, pool_block b);

/* The page of `from`, which is held, is that of `to` from now on, whose own is forgotten. held:
 * a running context holds `to`. */
void workspace_hand_on(workspace *w, pool_block from, pool_block to, bool held);

/* The block is no more, or its page is to be forgotten. */
void workspace_drop(workspace *w, pool_block b);

size_t workspace_page_size(const workspace *w); /* bytes */
size_t workspace_pages(const workspace *w);
size_t workspace_used(const workspace *w);      /* pages */
uint64_t workspace_evicted(const workspace *w); /* pages, since the start */

#endif
