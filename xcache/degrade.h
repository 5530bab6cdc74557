/* degrade.h - blocks that have rested longest, written anew in half the bytes. */
#ifndef XCACHE_DEGRADE_H
#define XCACHE_DEGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xcache/cache.h"
#include "xcache/codec/codec.h"
#include "xcache/pool.h"

/* Are blocks to be degraded, for fewer are free than are soon wanted? */
bool degrade_is_pressed(const cache *c);

/* Degrade the blocks that have rested longest, up to `layers` layers of as many blocks as there
 * are workers, so that a seal finds room and need not wait for it. Returns how many layers it
 * went on; 0: it is not pressed, or nothing that rests can be degraded. Those who begin with a
 * degraded block are served from it; what they seal, others do not find. */
int degrade_step(cache *c, int layers);

/* --- for the cache --- */

/* A block that is being degraded: its layers before `layer` are written anew in `bytes`. */
typedef struct degrade_slot {
    pool_block block; /* PREFIX_NONE: none */
    int layer;
    uint8_t *bytes;   /* [half a block] */
    float *from, *to; /* [B,D] what its decoder and its new encoder carry */
    double seconds;
} degrade_slot;

/* What degrades blocks: as many at once as there are workers. */
typedef struct degrader {
    codec_state codec;  /* of twice the ratio; codec.codec NULL: nothing is degraded */
    degrade_slot *list; /* [slots] */
    char *memory;       /* what they point to */
    size_t bytes;       /* of it */
    size_t wanted;      /* blocks to be kept free ahead of need */
    uint64_t count;     /* of blocks degraded */
    double seconds;
} degrader;

/* Blocks of the second plan beside those that c stores, if there is one: opens codec and format
 * before the pool, the rest after it. What that would take: of->m is measured, not opened;
 * memory besides the codec's. */
err degrade_open_format(cache *c, const struct plan *denser);
err degrade_measure(codec_state *out, const codec_state *of, const struct plan *denser);
size_t degrade_bytes(const codec_state *of, size_t half_bytes, int slots);
err degrade_open(cache *c, size_t longest);
void degrade_close(cache *c);

/* A block is wanted: degrade what rests until one is free, or nothing more can be. */
void degrade_make_room(cache *c);

#endif
