/* minmax.h - the quantizer of the paper's modes: asymmetric uniform over a short group.
 *
 * zero = half(min x), scale = half((max x - min x) / (2^b - 1)), code = nearest even of
 * (x - zero) / scale, x^ = zero + scale * code. Codes are packed little-endian, lowest bits
 * first: eight codes of b bits fill b bytes. Source: arXiv:2508.10395, section 4. */
#ifndef XCACHE_MINMAX_H
#define XCACHE_MINMAX_H

#include <stddef.h>
#include <stdint.h>

enum { MINMAX_GROUP = 128 };

/* Half scale and half zero point of one group. */
typedef struct minmax_scale {
    uint16_t scale, zero;
} minmax_scale;

/* Groups of a row of n values (the last may be shorter), and bytes of its codes. */
size_t minmax_groups(size_t n);
size_t minmax_bytes(size_t n, int bits);

/* One row of n values: codes [minmax_bytes], scales [minmax_groups]. 1 <= bits <= 8. */
void minmax_encode(const float *x, size_t n, int bits, uint8_t *codes, minmax_scale *scales);
void minmax_decode(const uint8_t *codes, const minmax_scale *scales, size_t n, int bits,
                   float *x);

/* A block x [rows,width], each row in groups of 128 of its own: per token. */
void minmax_encode_rows(const float *x, size_t rows, size_t width, int bits, uint8_t *codes,
                        minmax_scale *scales);
void minmax_decode_rows(const uint8_t *codes, const minmax_scale *scales, size_t rows,
                        size_t width, int bits, float *x);

/* n codes of b bits, packed and unpacked; codes [minmax_bytes]. */
void minmax_pack(const uint8_t *values, size_t n, int bits, uint8_t *codes);
void minmax_unpack(const uint8_t *codes, size_t n, int bits, uint8_t *values);

#endif
