/* cache.h - all contexts of the process: one pool of sealed blocks, a few open pages, the
 * workspace of rebuilt keys and values, and the contexts that run.
 *
 * A context is a row of sealed blocks plus one open block, its newest < block_tokens tokens,
 * which lives in an open page. A sealed block is a pure function of its tokens and those
 * before it, and is found again by them: when a context ends its blocks rest in the pool, and
 * a context that begins with the same tokens holds them again. So an idle conversation costs
 * its sealed blocks and its entries in an index that is as long as the pool.
 *
 * The budget is enforced in ledger.c: what a running context may still need is reserved, as a
 * count, when it begins; blocks held and blocks reserved never outnumber the pool's, nor the
 * pages of the workspace. So no step can run out of room. Resting blocks are evicted one by one
 * when a seal takes them, least recently used first, ends of chains first, pinned ones never;
 * before any is, blocks that windows have passed lose the layers that have them (windows.h),
 * and where they may be degraded (degrade.h), the oldest are written anew in half the bytes.
 * Full blocks are sealed in seal.h, pages of the workspace filled in rebuild.h.
 *
 * One thread calls everything here (the scheduler's, or the only one); workers call only the
 * operations of engine/context.h. */
#ifndef XCACHE_CACHE_H
#define XCACHE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/context.h"
#include "engine/err.h"
#include "engine/kern/kern.h"
#include "engine/model/model.h"
#include "engine/team.h"

enum { CACHE_BLOCK_TOKENS = 128 }; /* unless options say otherwise */

/* Workspace sizes with a meaning: every tile is rebuilt when it is read; a default. */
#define CACHE_STREAMING      UINT64_C(0)
#define CACHE_AUTO_WORKSPACE UINT64_MAX

typedef struct cache cache;

typedef struct cache_options {
    const char *mode;                 /* a mode of codec.def, or "auto" */
    const struct plan *plan;          /* of a mode that needs one, borrowed; else NULL */
    const struct plan *degraded_plan; /* of the same with twice the ratio: under pressure blocks
                                         are degraded; borrowed. NULL: they are not */
    const struct codec_tuning *tuning; /* NULL: codec_usual */
    uint64_t budget_bytes;             /* of the pool; never exceeded */
    uint64_t workspace_bytes;          /* less than one context of ctx_tokens means streaming */
    kv_format page_format;             /* of the workspace */
    int max_running;                   /* open pages */
    team *team;                        /* borrowed; its slots may call tile at once */
    size_t ctx_tokens;                 /* longest context */
    size_t block_tokens;               /* 64, 128, 256, 512; 0: CACHE_BLOCK_TOKENS */
    uint64_t seed;                     /* of block keys; 0: a random one */
    unsigned key_bits; /* of block keys, for tests that want collisions; 0: all */
} cache_options;

/* What a model's pages are best made of: int8, but halves where keys have biases. Those are
 * several times what a token adds to a key, so that eight bits leave too few for the token:
 * docs/quality.md. Known before weights are loaded. */
kv_format cache_choose_page_format(const model *m);

/* Open the pool, the pages and the workspace. m and k are borrowed. Errors: MODE, MODEMODEL,
 * NOPLAN, PLANMODEL, DEGRADE (the mode cannot), NOROOM (the budget holds no block), NOMEM,
 * SYSTEM. The caller closes, after the last context ended. */
err cache_open(cache **out, const model *m, const kern *k, const cache_options *o);
void cache_close(cache *c);

/* Have the memory of pool, workspace and scratch now, before any context begins: no step waits
 * for a page, and what the machine lacks is known. ERR_NOMEM. Takes a second for a few GiB. */
err cache_fill(cache *c);

/* What cache_open would take of memory. */
typedef struct cache_sizes {
    char mode[16]; /* what "auto" is, too */
    size_t block_tokens, block_bytes, blocks;
    size_t past_bytes;   /* of a block that windows have passed, when room is wanted */
    uint64_t pool_bytes; /* the blocks */
    uint64_t workspace_bytes;
    uint64_t scratch_bytes; /* open pages, rebuilt tiles, tables */
    uint64_t weight_bytes;  /* what rebuilding multiplies with */
} cache_sizes;

/* The same checks as cache_open's, by sizes alone: of m nothing else need be known, and nothing
 * is kept. blocks 0: the budget holds none. ERR_MODE, ERR_MODEMODEL, ERR_NOPLAN, ERR_PLANMODEL,
 * ERR_NOMEM. */
err cache_measure(const model *m, const cache_options *o, cache_sizes *out);

/* What a conversation of so many tokens takes of the pool at least while it rests, and goes on
 * without computing anything again. */
uint64_t cache_bytes_of(const model *m, const cache_sizes *s, size_t tokens);

/* What a context begins with. */
typedef struct cache_request {
    const int32_t *ids; /* [n_ids] its prompt: what of it is cached is not computed again */
    size_t n_ids;       /* 0: nothing is looked up */
    size_t tokens;      /* it computes at most so many, those of the prompt among them. (The
                         * last sampled token of an answer is not computed.) */
    bool fresh;         /* nothing is looked up: every token is to be computed */
    size_t copies;      /* forks of it that are promised room, see cache_fork */
    bool modest;        /* it leaves room for somebody else's context, see ledger_claim */
    const void *scope;  /* [scope_bytes] contexts share blocks within equal scopes only */
    size_t scope_bytes;
} cache_request;

/* Could it run in an empty cache, its copies with it? ERR_NOROOM if not. Looks at the counts
 * alone. Any thread. */
err cache_check(const cache *c, const cache_request *r);

/* Begin a context: hold the sealed blocks of its prompt's longest cached prefix behind which it
 * can go on, which leaves at least the last token to compute; reserve the others; take an open
 * page. ERR_BUSY: not
 * while others run; ERR_NOROOM: never; ERR_NOMEM. The caller ends it. */
err cache_begin(cache *c, const cache_request *r, context **out);

/* A running context once more: the same tokens, the same reservation. Errors of cache_begin;
 * but a promised copy, which is forked while the prompt and nothing else is in the context,
 * finds its room reserved: only ERR_NOMEM, and then the promise stands. */
err cache_fork(context *x, context **out);

/* One of the promised copies is not wanted any more. */
void cache_drop_copy(context *x);

/* Forget the newest tokens until at most `tokens` are left; a cut inside a sealed block forgets
 * the block. ERR_BUSY: the blocks to be sealed anew cannot be promised; nothing changed. */
err cache_truncate(context *x, size_t tokens);

/* Tell the context which ids the next step computes; they fit into its open block. */
void cache_push(context *x, const int32_t *ids, size_t T);

/* The step was given up: they are not computed. */
void cache_take_back(context *x);

/* After the step: the pushed tokens are in. Seals the open block if it is full: encodes it
 * layer after layer into a block of the pool, and rebuilds its page. */
void cache_commit(context *x);

/* The same, but a full block is left to seal_layers: until it is sealed the context takes part
 * in no step, and is neither forked nor cut. If it ends before, the block is lost. */
void cache_commit_later(context *x);
bool cache_is_sealing(const context *x);

size_t cache_context_tokens(const context *x);
size_t cache_context_bytes(const context *x); /* its sealed blocks */

/* Tokens of its prompt, behind those it began with, that were cached in the layers that see
 * everything, but no longer in those with windows: it has gone back behind what others, or an
 * earlier turn, went on from, and has to compute them again. */
size_t cache_context_rewound(const context *x);

/* The context is over: its blocks rest, its page and what it reserved are given back. */
void cache_end(context *x);

/* --- conversations that do not run: what is cached of their tokens --- */

/* List the sealed blocks of the longest cached prefix of r->ids, from its beginning; r->tokens
 * does not matter.
 *
 *   blocks [n_ids / block_tokens]  out
 *
 * Returns how many. A number means something until the next call that may evict. */
size_t cache_lookup(const cache *c, const cache_request *r, uint32_t *blocks);

/* Can it be read without being rebuilt: has it a page, or does a running context hold it? */
bool cache_block_is_hot(const cache *c, uint32_t block);

/* Keep these blocks, a whole prefix, from being evicted until they are unpinned as often.
 * ERR_BUSY: what is promised would not fit beside them, or no context of full length; nothing
 * changed. */
err cache_pin(cache *c, const uint32_t *blocks, size_t n);
void cache_unpin(cache *c, const uint32_t *blocks, size_t n);

/* Forget a block now if it rests, is not pinned, and no other follows it. */
void cache_forget(cache *c, uint32_t block);

/* Is it stored at twice the ratio? */
bool cache_block_is_degraded(const cache *c, uint32_t block);

/* How many of them a context could go on behind, as many as have all that it would see. */
size_t cache_usable(const cache *c, const uint32_t *blocks, size_t n);

/* Have windows passed it, and is it without the layers that have them? */
bool cache_block_is_narrow(const cache *c, uint32_t block);

/* Its bytes in the pool. */
size_t cache_bytes_of_block(const cache *c, uint32_t block);

/* Evict up to `blocks` resting blocks; returns how many. */
size_t cache_evict(cache *c, size_t blocks);

/* Take the windowed layers of up to `blocks` blocks that windows have passed; returns how many
 * it were. */
size_t cache_drop_windows(cache *c, size_t blocks);

typedef struct cache_stats {
    const char *mode, *degraded_mode; /* NULL: blocks are not degraded */
    size_t block_tokens, block_bytes;
    size_t block_numbers; /* every block has a number below it */
    size_t group;         /* values that share a scale; 0: the mode has no such groups */
    bool streaming;       /* a tile is rebuilt whenever it is read */
    uint64_t capacity_bytes, codes_bytes, scales_bytes, index_bytes, free_bytes;
    size_t capacity_tokens;
    size_t active_tokens, idle_tokens; /* sealed; a shared block counts once */
    size_t pinned_tokens;              /* idle ones that may not be evicted */
    size_t degraded_tokens;            /* of all sealed ones */
    size_t narrow_tokens;              /* of these, without the layers that have windows */
    size_t past_bytes;                 /* of such a block; block_bytes where there are none */
    uint64_t rewind_bytes;             /* of windowed layers that serve a rewind alone */
    uint64_t dropped_windows;          /* blocks that have lost theirs, since the start */
    uint64_t fp16_bytes;               /* of the sealed tokens: 2 * E * L * 2 each */
    size_t scratch_bytes;              /* open pages, rebuilt tiles, tables */
    size_t weight_bytes;               /* what rebuilding multiplies with */
    uint64_t workspace_bytes, workspace_used_bytes;
    uint64_t queried_tokens, hit_tokens; /* of prompts, since the start */
    uint64_t rewound_tokens;             /* of these, see cache_context_rewound */
    uint64_t evicted_blocks, evicted_pages, degraded_blocks;
    uint64_t sealed_blocks;
    uint64_t remat_tokens;                /* token-layers rebuilt */
    double seal_seconds, rebuild_seconds; /* of threads; the second: of pages */
    double degrade_seconds;               /* of threads */
    double bits_per_element;              /* of K and V: block bits / (2 E L tokens) */
} cache_stats;

void cache_read_stats(const cache *c, cache_stats *out);

/* Count again, block by block, while no context runs: is each free, resting or pinned and
 * nothing else, do the sums agree, and is nothing held or promised? */
bool cache_is_sound(const cache *c);

#endif
