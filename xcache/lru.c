/* lru.c - a doubly linked list in one array.
 *
 *    oldest -> i <-> j <-> k <- newest      link[i] = {older, newer, on}
 *
 * Numbers are their own nodes, so a block is found, added and removed without a search, and
 * nothing is allocated after opening. */
#include "xcache/lru.h"

#include <assert.h>
#include <stdlib.h>

struct lru_link {
    uint32_t older, newer;
    bool on;
};

err lru_open(lru *l, size_t n)
{
    *l = (lru){.link = calloc(n, sizeof *l->link), .oldest = LRU_NONE, .newest = LRU_NONE};
    return l->link ? ERR_OK : ERR_NOMEM;
}

void lru_close(lru *l)
{
    free(l->link);
    *l = (lru){0};
}

bool lru_has(const lru *l, uint32_t i)
{
    return l->link[i].on;
}

void lru_add(lru *l, uint32_t i)
{
    assert(!l->link[i].on);
    l->link[i] = (struct lru_link){.older = l->newest, .newer = LRU_NONE, .on = true};
    if (l->newest == LRU_NONE)
        l->oldest = i;
    else
        l->link[l->newest].newer = i;
    l->newest = i;
    l->count++;
}

void lru_remove(lru *l, uint32_t i)
{
    const struct lru_link k = l->link[i];

    assert(k.on);
    if (k.older == LRU_NONE)
        l->oldest = k.newer;
    else
        l->link[k.older].newer = k.newer;
    if (k.newer == LRU_NONE)
        l->newest = k.older;
    else
        l->link[k.newer].older = k.older;
    l->link[i].on = false;
    l->count--;
}

uint32_t lru_next(const lru *l, uint32_t i)
{
    return l->link[i].newer;
}
