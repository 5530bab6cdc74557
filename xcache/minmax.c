/* minmax.c - groups of values to codes and back. */
#include "xcache/minmax.h"

#include <math.h>
#include <string.h>

#include "engine/kern.h"

#define HALF_MAX 65504.0f

size_t minmax_groups(size_t n)
{
    return (n + MINMAX_GROUP - 1) / MINMAX_GROUP;
}

size_t minmax_bytes(size_t n, int bits)
{
    return (n + 7) / 8 * (size_t)bits;
}

void minmax_pack(const uint8_t *values, size_t n, int bits, uint8_t *codes)
{
    for (size_t i = 0; i < n; i += 8, codes += bits) {
        uint64_t word = 0;

        for (size_t j = 0; j < 8 && i + j < n; j++)
            word |= (uint64_t)values[i + j] << (j * (size_t)bits);
        for (int j = 0; j < bits; j++) codes[j] = (uint8_t)(word >> (8 * j));
    }
}

void minmax_unpack(const uint8_t *codes, size_t n, int bits, uint8_t *values)
{
    const unsigned mask = (1u << bits) - 1;

    for (size_t i = 0; i < n; i += 8, codes += bits) {
        uint64_t word = 0;

        for (int j = 0; j < bits; j++) word |= (uint64_t)codes[j] << (8 * j);
        for (size_t j = 0; j < 8 && i + j < n; j++)
            values[i + j] = (uint8_t)(word >> (j * (size_t)bits) & mask);
    }
}

static float clamp(float x)
{
    return x < -HALF_MAX ? -HALF_MAX : (x > HALF_MAX ? HALF_MAX : x);
}

static minmax_scale measure(const float *x, size_t n, int bits)
{
    float least = x[0], most = x[0];

    for (size_t i = 1; i < n; i++) {
        if (x[i] < least) least = x[i];
        if (x[i] > most) most = x[i];
    }
    return (minmax_scale){kern_half(clamp((most - least) / (float)((1 << bits) - 1))),
                          kern_half(clamp(least))};
}

void minmax_encode(const float *x, size_t n, int bits, uint8_t *codes, minmax_scale *scales)
{
    uint8_t values[MINMAX_GROUP];
    const long last = (1 << bits) - 1;

    for (size_t at = 0; at < n; at += MINMAX_GROUP, scales++) {
        const size_t m = n - at < MINMAX_GROUP ? n - at : MINMAX_GROUP;
        float scale, zero;

        *scales = measure(x + at, m, bits);
        scale = kern_float(scales->scale);
        zero = kern_float(scales->zero);
        for (size_t i = 0; i < m; i++) {
            const long v = scale > 0 ? lrintf((x[at + i] - zero) / scale) : 0;

            values[i] = (uint8_t)(v < 0 ? 0 : (v > last ? last : v));
        }
        minmax_pack(values, m, bits, codes + minmax_bytes(at, bits));
    }
}

void minmax_decode(const uint8_t *codes, const minmax_scale *scales, size_t n, int bits,
                   float *x)
{
    uint8_t values[MINMAX_GROUP];

    for (size_t at = 0; at < n; at += MINMAX_GROUP, scales++) {
        const size_t m = n - at < MINMAX_GROUP ? n - at : MINMAX_GROUP;
        const float scale = kern_float(scales->scale), zero = kern_float(scales->zero);

        minmax_unpack(codes + minmax_bytes(at, bits), m, bits, values);
        for (size_t i = 0; i < m; i++) x[at + i] = zero + scale * (float)values[i];
    }
}

void minmax_encode_rows(const float *x, size_t rows, size_t width, int bits, uint8_t *codes,
                        minmax_scale *scales)
{
    for (size_t t = 0; t < rows; t++)
        minmax_encode(x + t * width, width, bits, codes + t * minmax_bytes(width, bits),
                      scales + t * minmax_groups(width));
}

void minmax_decode_rows(const uint8_t *codes, const minmax_scale *scales, size_t rows,
                        size_t width, int bits, float *x)
{
    for (size_t t = 0; t < rows; t++)
        minmax_decode(codes + t * minmax_bytes(width, bits), scales + t * minmax_groups(width),
                      width, bits, x + t * width);
}
