/* widen_iq.c - blocks whose weights are points of a grid.
 *
 *             bytes of 256 weights, in their order                    a point's number is
 *   IQ2_XXS   half | 8 x (4 points, 28 bits of signs, 4 of scale)     8 bits
 *   IQ2_XS    half | 32 x (9 bits of point, 7 of signs) | 8 scales    9 bits
 *   IQ2_S     half | 32 points | 32 signs | 8 above | 8 scales        8 bits and 2 above
 *   IQ3_XXS   half | 64 points | 8 x (28 bits of signs, 4 of scale)   8 bits
 *   IQ3_S     half | 64 points | 8 above | 32 signs | 4 scales        8 bits and 1 above
 *   IQ1_S     half | 32 points | 8 x (4 x 3 above, 3 scale, 1 shift)  8 bits and 3 above
 *   IQ1_M     32 points | 16 x 2 x (3 above, 1 shift) | 4 x (4 x 3 scale, 4 of the half)
 *
 * A byte of signs is 8 weights; where 7 bits are stored, the eighth makes their sum even. Two
 * scales of 4 bits share a byte, the first in its lower half. Weights of IQ1 are -1, 0, 1,
 * shifted by an eighth up or down. Every product here is exact: 11 bits, 5 and 6 at most. */
#include <stddef.h>
#include <string.h>

#include "engine/kern/kern.h"
#include "engine/model/widen.h"
#include "engine/model/widen_grids.h"

static const float two_bits[4] = {0x08, 0x19, 0x2b, 0};
static const float three_bits[8] = {1, 3, 5, 7, 9, 11, 13, 15};
static const float three_bits_wide[8] = {4, 12, 20, 28, 36, 44, 52, 62};

static uint16_t read_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t read_u32(const uint8_t *at)
{
    return read_u16(at) | (uint32_t)read_u16(at + 2) << 16;
}

static float read_half(const uint8_t *at)
{
    return kern_float(read_u16(at));
}

/* Scale number i of those that share bytes. */
static unsigned nibble(const uint8_t *at, size_t i)
{
    return at[i / 2] >> (i % 2 * 4) & 15u;
}

/* Seven signs and the one that makes them even. */
static unsigned even_signs(unsigned seven)
{
    return seven | (unsigned)__builtin_parity(seven) << 7;
}

static float sign(float x, unsigned signs, unsigned i)
{
    return signs >> i & 1 ? -x : x;
}

/* Eight weights of two bits; four of three. */
static float *put_eight(unsigned point, unsigned signs, float scale, float *out)
{
    for (unsigned i = 0; i < 8; i++)
        *out++ = scale * sign(two_bits[point >> 2 * i & 3], signs, i);
    return out;
}

static float *put_four(unsigned point, const float table[8], unsigned signs, float scale,
                       float *out)
{
    for (unsigned i = 0; i < 4; i++) *out++ = scale * sign(table[point >> 4 * i & 7], signs, i);
    return out;
}

static float *put_shifted(unsigned point, float shift, float scale, float *out)
{
    for (unsigned i = 0; i < 8; i++) *out++ = scale * ((float)(point >> 2 * i & 3) - 1 + shift);
    return out;
}

void widen_IQ2_XXS(const uint8_t *block, float *out)
{
    const float half = read_half(block);

    for (const uint8_t *at = block + 2; at < block + 66; at += 8) {
        const uint32_t rest = read_u32(at + 4);
        const float scale = half * (0.5f + (float)(rest >> 28)) * 0.25f;

        for (size_t i = 0; i < 4; i++)
            out = put_eight(widen_grid_iq2_xxs[at[i]], even_signs(rest >> 7 * i & 127), scale,
                            out);
    }
}

void widen_IQ2_XS(const uint8_t *block, float *out)
{
    const float half = read_half(block);

    for (size_t i = 0; i < 32; i++) {
        const unsigned both = read_u16(block + 2 + 2 * i);
        const float scale = half * (0.5f + (float)nibble(block + 66, i / 2)) * 0.25f;

        out = put_eight(widen_grid_iq2_xs[both & 511], even_signs(both >> 9), scale, out);
    }
}

void widen_IQ2_S(const uint8_t *block, float *out)
{
    const uint8_t *points = block + 2, *signs = block + 34, *above = block + 66;
    const float half = read_half(block);

    for (size_t i = 0; i < 32; i++) {
        const unsigned point = points[i] | (above[i / 4] >> i % 4 * 2 & 3u) << 8;
        const float scale = half * (0.5f + (float)nibble(block + 74, i / 2)) * 0.25f;

        out = put_eight(widen_grid_iq2_s[point], signs[i], scale, out);
    }
}

void widen_IQ3_XXS(const uint8_t *block, float *out)
{
    const uint8_t *points = block + 2, *rests = block + 66;
    const float half = read_half(block);

    for (size_t i = 0; i < 64; i++) {
        const uint32_t rest = read_u32(rests + i / 8 * 4);
        const unsigned signs = even_signs(rest >> i % 8 / 2 * 7 & 127) >> i % 2 * 4;
        const float scale = half * (0.5f + (float)(rest >> 28)) * 0.5f;

        out = put_four(widen_grid_iq3_xxs[points[i]], three_bits_wide, signs, scale, out);
    }
}

void widen_IQ3_S(const uint8_t *block, float *out)
{
    const uint8_t *points = block + 2, *above = block + 66, *signs = block + 74;
    const float half = read_half(block);

    for (size_t i = 0; i < 64; i++) {
        const unsigned point = points[i] | (above[i / 8] >> i % 8 & 1u) << 8;
        const float scale = half * (float)(1 + 2 * nibble(block + 106, i / 8));

        out = put_four(widen_grid_iq3_s[point], three_bits, signs[i / 2] >> i % 2 * 4, scale,
                       out);
    }
}

void widen_IQ1_S(const uint8_t *block, float *out)
{
    const float half = read_half(block);

    for (size_t i = 0; i < 32; i++) {
        const unsigned rest = read_u16(block + 34 + i / 4 * 2);
        const unsigned point = block[2 + i] | (rest >> i % 4 * 3 & 7u) << 8;
        const float scale = half * (float)(2 * (rest >> 12 & 7) + 1);

        out = put_shifted(widen_grid_iq1[point], rest & 0x8000 ? -0.125f : 0.125f, scale, out);
    }
}

/* Its half is in the upper four bits of four numbers, the lowest first. */
void widen_IQ1_M(const uint8_t *block, float *out)
{
    const uint8_t *above = block + 32, *scales = block + 48;
    unsigned bits = 0;
    float half;

    for (size_t i = 0; i < 4; i++) bits |= (read_u16(scales + 2 * i) >> 12 & 15u) << 4 * i;
    half = kern_float((uint16_t)bits);
    for (size_t i = 0; i < 32; i++) {
        const unsigned rest = nibble(above, i);
        const unsigned three = read_u16(scales + i / 8 * 2) >> i % 8 / 2 * 3 & 7u;

        out = put_shifted(widen_grid_iq1[block[i] | (rest & 7u) << 8],
                          rest & 8 ? -0.125f : 0.125f, half * (float)(2 * three + 1), out);
    }
}
