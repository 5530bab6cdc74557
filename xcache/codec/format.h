/* format.h - where the parts of a sealed block lie: per layer codes, then scales; at the end
 * the ids of its tokens. One format for all blocks of a codec. */
#ifndef XCACHE_CODEC_FORMAT_H
#define XCACHE_CODEC_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "xcache/codec/codec.h"

typedef struct block_format {
    const codec_state *codec;     /* borrowed */
    size_t *codes_at, *scales_at; /* [L] offsets in a block, owned */
    size_t ids_at;
    size_t codes_bytes, scales_bytes, bytes; /* of a block; bytes: with the ids */
} block_format;

/* Lay out the blocks of an open codec. ERR_NOMEM. The caller closes. */
err format_open(block_format *out, const codec_state *c);
void format_close(block_format *f);

/* Where layer `layer` of the block at `block` lies; the place's `first` is 0. */
codec_place format_place(const block_format *f, uint8_t *block, int layer);

/* [B] the ids of that block. */
int32_t *format_ids(const block_format *f, uint8_t *block);

#endif
