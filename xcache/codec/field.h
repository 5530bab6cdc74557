/* field.h - a quantized matrix inside a block: [B,width] values at b bits, min-max groups
 * along channels (per token) or along tokens (per channel). What the paper's codecs store
 * is a row of such fields, codes after codes, scales after scales. */
#ifndef XCACHE_CODEC_FIELD_H
#define XCACHE_CODEC_FIELD_H

#include <stddef.h>
#include <stdint.h>

#include "engine/kern/kern.h"
#include "xcache/codec/codec.h"

typedef enum field_axis { FIELD_PER_TOKEN, FIELD_PER_CHANNEL } field_axis;

typedef struct field {
    size_t rows, width; /* tokens, channels */
    int bits;
    field_axis axis;
    size_t group;  /* values that share a scale; see minmax.h */
    size_t unread; /* the first rows, which may be written as anything */
} field;

/* Bits of a layer: the mode's, but 4 at least in the first layers, as many as the tuning
 * keeps. Source: arXiv:2508.10395, 4. */
int field_layer_bits(const codec_state *s, int layer);

codec_size field_size(const field *f);

/* Write x [rows,width] and read it back. temp [width,rows]: for FIELD_PER_CHANNEL only. */
void field_encode(const field *f, const kern *k, const float *x, uint8_t *codes,
                  uint8_t *scales, float *temp);
void field_decode(const field *f, const kern *k, const uint8_t *codes, const uint8_t *scales,
                  float *x, float *temp);

#endif
