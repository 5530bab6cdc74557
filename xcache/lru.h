/* lru.h - a list of numbers 0 .. n-1 in the order they were put on it, oldest first: what may
 * be evicted. All memory is taken when it is opened. */
#ifndef XCACHE_LRU_H
#define XCACHE_LRU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"

#define LRU_NONE UINT32_MAX

typedef struct lru {
    struct lru_link *link; /* [n] */
    uint32_t oldest, newest;
    size_t count;
} lru;

/* An empty list for n numbers. ERR_NOMEM. The caller closes. */
err lru_open(lru *l, size_t n);
void lru_close(lru *l);

bool lru_has(const lru *l, uint32_t i);
void lru_add(lru *l, uint32_t i);    /* as the newest; it is not on the list */
void lru_remove(lru *l, uint32_t i); /* it is */

/* Which was put on it next after i; LRU_NONE: none was. */
uint32_t lru_next(const lru *l, uint32_t i);

#endif
