/* sizing.h - how many conversations of one length a cache mode holds in so much memory, and
 * which mode to take for so many. */
#ifndef SERVER_CMD_SIZING_H
#define SERVER_CMD_SIZING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "server/runtime.h"

/* What is wanted. */
typedef struct sizing_wish {
    uint64_t ram_bytes;
    uint64_t users;
    size_t tokens; /* of each one's context */
    double max_kl; /* as plans_max_kl reads it */
} sizing_wish;

#define SIZING_EXACT 0.0 /* the kl of kv16 */

typedef struct sizing_mode {
    char mode[16];
    const struct plan *plan; /* of a klt mode, borrowed */
    double kl;               /* < 0: not known */
    double attach_seconds;   /* of wish.tokens tokens; 0: they are read in place */
    cache_sizes sizes;       /* of a cache that leaves nothing of ram_bytes */
    uint64_t scratch_bytes;  /* with a step's buffers */
    uint64_t context_bytes, contexts;
} sizing_mode;

/* Fill m's sizes, by its mode and plan, for what ram_bytes leaves beside weights and scratch.
 * r has weights. Errors of cache_measure. */
err sizing_measure(const runtime *r, const sizing_wish *w, sizing_mode *m);

/* May the mode be recommended? Its KL is at most max_kl; one that nobody has measured is not
 * known to be. */
bool sizing_is_near(const sizing_mode *m, const sizing_wish *w);

/* Of the modes that are near, the one with the smallest KL that holds all users; if none does,
 * the one that holds most. n >= 1; the first is near. */
const sizing_mode *sizing_choose(const sizing_mode *modes, size_t n, const sizing_wish *w);

#endif
