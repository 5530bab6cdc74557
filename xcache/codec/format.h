/* format.h - where the parts of a sealed block lie: per layer codes, then scales; and the ids
 * of its tokens. One format for all blocks of a codec.
 *
 * Where layers stand alone and some of them have windows, those that see everything and the ids
 * come first: the beginning of a block is then a block without its windowed layers. */
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
    size_t wide_codes, wide_scales,
        wide_bytes; /* of its beginning; 0: it is never kept alone */
} block_format;

/* Lay out the blocks of an open codec. ERR_NOMEM. The caller closes. */
err format_open(block_format *out, const codec_state *c);
void format_close(block_format *f);

/* Where layer `layer` of the block at `block` lies; the place's `first` is 0. */
codec_place format_place(const block_format *f, uint8_t *block, int layer);

/* [B] the ids of that block. */
int32_t *format_ids(const block_format *f, uint8_t *block);

#endif
