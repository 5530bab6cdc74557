/* probe.h - how long a conversation that comes back waits, guessed from a fraction of a second
 * of rebuilding. */
#ifndef SERVER_CMD_PROBE_H
#define SERVER_CMD_PROBE_H

#include "engine/err.h"
#include "server/runtime.h"

enum { PROBE_BLOCKS = 8, PROBE_LAYERS = 6 };

/* Rebuild PROBE_BLOCKS blocks in that mode, in all threads, for PROBE_SECONDS, and take the
 * fastest run. Of a model without a plan PROBE_LAYERS layers stand for all. The blocks are
 * sealed from empty pages: rebuilding takes the same time whatever they hold. r has weights for
 * PROBE_BLOCKS blocks of positions at least, and no cache.
 *   *seconds: of a token; 0: the mode reads what it stores. Errors of cache_open. */
err probe_attach(const runtime *r, const char *mode, const struct plan *p, double *seconds);

#define PROBE_SECONDS 0.25

#endif
