/* seal.h - full open pages become blocks of the pool. */
#ifndef XCACHE_SEAL_H
#define XCACHE_SEAL_H

#include <stddef.h>

#include "xcache/cache.h"

/* Seal the next up to `layers` layers of each of these contexts, which are sealing, all workers
 * at once: some encode, others fill the page with the layers that have been encoded before.
 * Results do not depend on how it is cut. Returns how many layers it went on, at most; 1 at
 * least. */
int seal_layers(cache *c, context *const *list, size_t n, int layers);

/* --- for the cache --- */

struct xcontext;

/* The open page of x is full: its block is found, or begins to be sealed. */
void seal_begin(struct xcontext *x);

#endif
