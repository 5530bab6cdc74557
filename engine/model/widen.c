/* widen.c - blocks whose weights are few bits, and what scales them.
 *
 *   MXFP4    e8m0 scale | 16 bytes: weight i and i + 16 share one      4-bit floats
 *   NVFP4    4 ue4m3 scales, of 16 weights each | 4 x 8 bytes          4-bit floats
 *   TQ1_0    48 bytes of 5 trits, 4 bytes of 4 | half scale            -1, 0, 1
 *   TQ2_0    64 bytes of 4 x 2 bits | half scale                       -1, 0, 1
 *   IQ4_XS   half scale, 8 scales of 6 bits (2 above, 4 below) |       16 values of a table
 *            8 x 16 bytes: weight i and i + 16 of 32 share one */
#include "engine/model/widen.h"

#include <stddef.h>
#include <string.h>

#include "engine/kern/kern.h"

/* Floats of 1 sign, 2 exponent and 1 mantissa bits, doubled so that they are whole. */
static const int8_t four_bit[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static const int8_t nonlinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

static float read_half(const uint8_t *at)
{
    uint16_t half;

    memcpy(&half, at, sizeof half);
    return kern_float(half);
}

/* n bytes of two weights each: the lower halves first. */
static void read_pairs(const uint8_t *in, size_t n, const int8_t table[16], float scale,
                       float *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = scale * (float)table[in[i] & 15u];
        out[i + n] = scale * (float)table[in[i] >> 4];
    }
}

/* 2^(e - 128): half of what e says, for the weights are doubled. Two of them are subnormal. */
static float half_power(uint8_t e)
{
    const uint32_t bits = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

void widen_MXFP4(const uint8_t *block, float *out)
{
    read_pairs(block + 1, 16, four_bit, half_power(block[0]), out);
}

/* Half of an unsigned float of 4 exponent and 3 mantissa bits; 0x7f would be no number. */
static float half_e4m3(uint8_t x)
{
    const int e = x >> 3 & 15, m = x & 7;

    if (x == 0x7f) return 0;
    /* both are whole numbers of 2^-10 at least, so the products are exact */
    return e ? (float)((8 + m) << e) * 0x1p-11f : (float)m * 0x1p-10f;
}

void widen_NVFP4(const uint8_t *block, float *out)
{
    for (size_t i = 0; i < 4; i++)
        read_pairs(block + 4 + i * 8, 8, four_bit, half_e4m3(block[i]), out + i * 16);
}

/* `digits` trits of n bytes each: digit d of all of them, then d + 1. A byte is a fraction of
 * 256 in base 3: times 3^d, what overflows is gone and the next digit stands in front. */
static float *read_trits(const uint8_t *in, size_t n, size_t digits, float scale, float *out)
{
    static const uint8_t power[] = {1, 3, 9, 27, 81};

    for (size_t d = 0; d < digits; d++)
        for (size_t i = 0; i < n; i++) {
            const uint8_t rest = (uint8_t)(in[i] * power[d]);

            *out++ = scale * (float)((rest * 3 >> 8) - 1);
        }
    return out;
}

void widen_TQ1_0(const uint8_t *block, float *out)
{
    const float scale = read_half(block + 52);

    out = read_trits(block, 32, 5, scale, out);
    out = read_trits(block + 32, 16, 5, scale, out);
    read_trits(block + 48, 4, 4, scale, out);
}

void widen_TQ2_0(const uint8_t *block, float *out)
{
    const float scale = read_half(block + 64);

    for (size_t half = 0; half < 64; half += 32)
        for (size_t shift = 0; shift < 8; shift += 2)
            for (size_t i = 0; i < 32; i++)
                *out++ = scale * (float)((block[half + i] >> shift & 3) - 1);
}

void widen_IQ4_XS(const uint8_t *block, float *out)
{
    const float scale = read_half(block);
    const unsigned above = block[2] | (unsigned)block[3] << 8;

    for (size_t i = 0; i < 8; i++) {
        const unsigned below = block[4 + i / 2] >> (i % 2 * 4) & 15u;
        const int six = (int)(below | (above >> 2 * i & 3u) << 4) - 32;

        read_pairs(block + 8 + i * 16, 16, nonlinear, scale * (float)six, out + i * 32);
    }
}
