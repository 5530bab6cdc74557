/* sinks.h - which running context has which exact first tokens, and where they come from. */
#ifndef XCACHE_SINKS_H
#define XCACHE_SINKS_H

#include <stddef.h>

#include "engine/err.h"
#include "engine/model/forward.h"
#include "xcache/cache.h"
#include "xcache/codec/codec.h"
#include "xcache/sink_table.h"

struct xcontext;

/* Of a cache whose mode rebuilds; else all of it is empty. */
typedef struct sinks {
    sink_table table;
    forward *step; /* of SINK_TOKENS rows */
} sinks;

/* What sinks_open takes; 0: nothing, or out of memory. */
size_t sinks_measure(const codec_state *s, const cache_options *o);

/* Open the table and a step. ERR_NOMEM; the caller closes in either case. */
err sinks_open(cache *c, const cache_options *o);
void sinks_close(cache *c);

/* Have the memory of all entries now. ERR_NOMEM. */
err sinks_fill(cache *c);
size_t sinks_bytes(const cache *c);

/* x holds sealed blocks from its beginning on: hold its first tokens. Where the table lacks
 * them they are computed, in the open page of x, which is empty: a step of SINK_TOKENS rows. */
void sinks_attach(struct xcontext *x);

/* The first page of x is full and about to become a block: keep what it says of them. */
void sinks_keep(struct xcontext *x);

/* x has no sealed block any more. */
void sinks_drop(struct xcontext *x);

#endif
