/* cache_state.h - what a cache is made of, for the files that work on it.
 *
 * Each part's struct is in the header of the file that works on it, and includes go one way:
 * cache.c uses seal, seal uses rebuild and degrade, and all of them sinks, chain and ledger. */
#ifndef XCACHE_CACHE_STATE_H
#define XCACHE_CACHE_STATE_H

#include "xcache/cache.h"
#include "xcache/chain.h"
#include "xcache/context.h"
#include "xcache/degrade.h"
#include "xcache/ledger.h"
#include "xcache/prefix.h"
#include "xcache/rebuild.h"
#include "xcache/scratch.h"
#include "xcache/seal.h"
#include "xcache/sinks.h"
#include "xcache/windows.h"

struct cache {
    context_shared shared; /* codec, pool, workspace: what contexts read */
    ledger *ledger;        /* of the pool's blocks and the workspace's pages */
    prefix_table *prefixes;
    prefix_key root; /* of all chains */
    windows windows;
    scratch scratch;
    sinks sinks;
    team *team; /* borrowed */
    rebuild_state rebuilding;
    degrader degrader;
    uint64_t queried_tokens, hit_tokens, rewound_tokens, sealed; /* see cache_stats */
    double seal_seconds, rebuild_seconds;
    atomic_ullong rebuilt; /* by any worker */
};

/* --- what options come to, in cache_sizes.c --- */

codec_options cache_codec_options(const cache_options *o);

/* Pages of the workspace over a pool of so many blocks. 0: streaming, for no context would fit,
 * or nothing is rebuilt. */
size_t cache_count_pages(const codec_state *s, const cache_options *o, size_t blocks);

/* Blocks of the longest context, the last one begun, for scratch. */
size_t cache_count_stream(const codec_state *s, const cache_options *o);

/* How many small blocks one of the pool gives room to: two of the second plan's, where there is
 * one; or what windows leave of blocks in contexts of so many tokens; 1: none. */
size_t cache_count_parts(const block_format *whole, const block_format *half,
                         size_t ctx_tokens);

/* A block is as large as the codec's, and so many small ones fit into it. */
size_t cache_block_bytes(const block_format *whole, const block_format *half, size_t parts);

#endif
