/* recount.h - random life of a cache's contexts: what the tests know of it, counted again. */
#ifndef TESTS_RECOUNT_H
#define TESTS_RECOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/planned.h"
#include "xcache/cache_state.h"

enum { B = 64, CTX = 512, LIVE = 4, PINS = 3, POOL = 26 };

/* A context, and what it must hold. */
typedef struct living {
    context *c;
    int32_t ids[CTX];
    size_t n; /* computed */
} living;

/* Blocks of somebody who does not run. */
typedef struct pin_set {
    uint32_t blocks[CTX / B];
    size_t n;
} pin_set;

typedef struct scene {
    planned model;
    plan *plan; /* of klt scenes */
    cache *cache;
    living live[LIVE];
    pin_set pins[PINS];
    size_t pinnings, refused;
    size_t cut;      /* pieces of sealing */
    size_t restored; /* blocks that got their windowed layers back */
    bool narrow[POOL * POOL_MOST_PARTS];
    uint32_t state;
} scene;

/* Every figure from the ground: the pool's, the index's, the workspace's, the ledger's, those
 * of contexts and of their first tokens, and who reaches which windows. */
void recount(scene *s);

#endif
