/* minmax.h - the quantizer of the paper's modes: asymmetric uniform over a short group.
 *
 * zero = half(min x), scale = half((max x - min x) / (2^b - 1)), code = nearest even of
 * (x - zero) / scale, x^ = zero + scale * code. Codes are packed little-endian, lowest bits
 * first: eight codes of b bits fill b bytes. The loops are kern.def's; here is the layout of
 * a row in groups. Source: arXiv:2508.10395, section 4. */
#ifndef XCACHE_CODEC_MINMAX_H
#define XCACHE_CODEC_MINMAX_H

#include <stddef.h>
#include <stdint.h>

#include "engine/kern/kern.h"

enum { MINMAX_GROUP = 128 }; /* the paper's, and the longest */

/* Half scale and half zero point of one group. */
typedef kern_minmax minmax_scale;

/* How rows are coded. */
typedef struct minmax {
    const kern *kern;
    int bits;     /* 1 .. 8 */
    size_t group; /* values that share a scale: a multiple of 8, at most MINMAX_GROUP */
} minmax;

/* Groups of a row of n values (the last may be shorter), and bytes of its codes. */
size_t minmax_groups(size_t n, size_t group);
size_t minmax_bytes(size_t n, int bits);

/* One row of n values: codes [minmax_bytes], scales [minmax_groups]. */
void minmax_encode(const minmax *m, const float *x, size_t n, uint8_t *codes,
                   minmax_scale *scales);
void minmax_decode(const minmax *m, const uint8_t *codes, const minmax_scale *scales, size_t n,
                   float *x);

/* A block x [rows,width], each row in groups of its own: per token. */
void minmax_encode_rows(const minmax *m, const float *x, size_t rows, size_t width,
                        uint8_t *codes, minmax_scale *scales);
void minmax_decode_rows(const minmax *m, const uint8_t *codes, const minmax_scale *scales,
                        size_t rows, size_t width, float *x);

/* Each value of a block becomes what its code would decode to. */
void minmax_round_rows(const minmax *m, float *x, size_t rows, size_t width);

#endif
