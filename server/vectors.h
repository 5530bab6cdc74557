/* vectors.h - what a runtime needs to make vectors of texts: how long these may be, which of
 * their rows count, and what is left of a cache where a model does nothing else. */
#ifndef SERVER_VECTORS_H
#define SERVER_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "engine/gguf/gguf.h"
#include "engine/model/model.h"
#include "xcache/cache.h"

/* Tokens of the longest text, by --embedding-tokens or the model. */
size_t vectors_longest(const config *c, const model *m);

/* --pooling, unless it leaves that to the file. */
void vectors_choose_pooling(model *m, const config *c);

/* Does the file say that a vector may be cut? */
bool vectors_may_be_cut(const gguf *file);

/* The least cache there can be, for a model without contexts: its budget, and options of that.
 */
uint64_t vectors_least_pool(const model *m, size_t block_tokens);
cache_options vectors_cache(const model *m, team *t, size_t block_tokens);

#endif
