/* rebuild.h - keys and values of sealed blocks, rebuilt into pages of the workspace.
 *
 * A context runs in a step only if all its blocks have pages. What comes back gets them whole
 * blocks at a time while nobody waits, else some layers a step. */
#ifndef XCACHE_REBUILD_H
#define XCACHE_REBUILD_H

#include <stdbool.h>
#include <stddef.h>

#include "xcache/cache.h"

/* Rebuild the pages that a context lacks, at most `most` blocks of them, all workers at once.
 * Returns how many it lacks still: while that is not 0 the context runs in no step. */
size_t rebuild_pages(context *x, size_t most);

/* The same cut finer, for while others wait: up to `layers` layers of as many blocks as there
 * are workers. False while it lacks pages. */
bool rebuild_layers(context *x, int layers);

/* Forget every page of the workspace; running contexts have to rebuild theirs. */
void rebuild_drop_pages(cache *c);

/* --- for the cache --- */

struct xcontext;

enum { REBUILDS_AT_ONCE = 64 };

/* Blocks of one context whose pages are being rebuilt layer by layer: their pages are there,
 * but tell the layers before `layer` only. */
typedef struct rebuild_state {
    struct xcontext *x;               /* NULL: none */
    size_t list[REBUILDS_AT_ONCE], n; /* places in x->blocks */
    int layer;
} rebuild_state;

/* The page of block b of x lacks layers that the block has again: all are rebuilt. */
void rebuild_again(struct xcontext *x, size_t b);

/* x ends or is cut: those of its pages that are not whole yet are forgotten. */
void rebuild_stop(cache *c, const struct xcontext *x);

#endif
