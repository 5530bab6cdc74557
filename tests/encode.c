/* encode.c - blocks of the file's types, written: the inverse of engine/model/quant.c. */
#include "tests/encode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/model/matrix.h"
#include "engine/model/quant.h"
#include "engine/model/quantize.h"

bool encode_find_type(const char *name, gguf_type *out)
{
    for (uint32_t id = 0; id < 64; id++) {
        const char *known = gguf_type_name(id, NULL, NULL);

        if (!known || strcasecmp(known, name) != 0) continue;
        *out = (gguf_type)id;
        return true;
    }
    return false;
}

/* --- numbers of a block --- */

static float largest(const float *x, size_t n, float sign)
{
    float most = 0;

    for (size_t i = 0; i < n; i++) most = fmaxf(most, sign * x[i]);
    return most;
}

static float least(const float *x, size_t n)
{
    float low = x[0];

    for (size_t i = 1; i < n; i++) low = fminf(low, x[i]);
    return low;
}

/* The half that `limit` of them reach the largest of values [n]; its multiples in out. */
static uint16_t share_half(const float *values, size_t n, int limit, uint8_t *out)
{
    float most = 0, step;
    uint16_t half;

    for (size_t i = 0; i < n; i++) most = fmaxf(most, values[i]);
    half = kern_half(most / (float)limit);
    step = kern_float(half);
    for (size_t i = 0; i < n; i++)
        out[i] = step > 0 ? (uint8_t)fminf(rintf(values[i] / step), (float)limit) : 0;
    return half;
}

/* Scales, and minima, of a block: `limit` is the largest integer scale. */
static void choose_scales(kern_form f, int limit, const float *x, quant_block *b)
{
    const size_t n = f.scales ? (size_t)(f.groups * f.scales) : 1;
    const size_t width = (size_t)(KERN_GROUP * f.groups) / n;
    const float steps = f.levels ? 113.0f : (float)((1 << f.bits) - 1 - f.zero);
    float step[16], low[16];
    uint8_t integers[16];

    for (size_t j = 0; j < n; j++, x += width) {
        const float up = largest(x, width, 1), down = largest(x, width, -1);

        low[j] = f.scales ? down : -least(x, width);
        step[j] = (f.minimum ? up + low[j] : fmaxf(up, down)) / steps;
    }
    if (!f.scales) {
        b->scale = kern_half(step[0]);
        b->min = kern_half(low[0]);
        return;
    }
    b->scale = share_half(step, n, limit, integers);
    memcpy(b->scales, integers, n);
    if (f.minimum) b->min = share_half(low, n, limit, b->mins);
}

static uint8_t nearest_level(float x)
{
    uint8_t best = 0;

    for (uint8_t i = 1; i < 16; i++)
        if (fabsf(x - kern_levels[i]) < fabsf(x - kern_levels[best])) best = i;
    return best;
}

static void choose_codes(kern_form f, const float *x, quant_block *b)
{
    const float last = (float)((1 << f.bits) - 1);

    for (size_t i = 0; i < (size_t)(KERN_GROUP * f.groups); i++) {
        const size_t j = f.scales == 2 ? i / 16 : i / 32;
        const float step = kern_float(b->scale) * (float)(f.scales ? b->scales[j] : 1);
        const float low = kern_float(b->min) * (float)(f.scales ? b->mins[j] : 1);
        const float z = step > 0 ? (f.minimum ? x[i] + low : x[i]) / step : 0;

        b->codes[i] = f.levels ? nearest_level(z)
                               : (uint8_t)fminf(fmaxf(rintf(z) + (float)f.zero, 0), last);
    }
}

/* --- the file's layouts: out is all zeros before --- */

static void put_nibbles(uint8_t *out, const uint8_t *codes, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = (uint8_t)((codes[i] & 15) | codes[i + n] << 4);
}

static void put_fifth_bits(uint8_t *out, const uint8_t *codes)
{
    for (size_t i = 0; i < 32; i++) out[i / 8] |= (uint8_t)((codes[i] >> 4 & 1) << i % 8);
}

static void put_pairs(uint8_t *out, const uint8_t *codes, int from)
{
    for (size_t i = 0; i < KERN_BLOCK; i++)
        out[i / 128 * 32 + i % 32] |= (uint8_t)((codes[i] >> from & 3) << i / 32 % 4 * 2);
}

static void put_high_bits(uint8_t *out, const uint8_t *codes, int from)
{
    for (size_t i = 0; i < KERN_BLOCK; i++)
        out[i % 32] |= (uint8_t)((codes[i] >> from & 1) << i / 32);
}

static void put_halves(uint8_t *out, const quant_block *b, bool minimum)
{
    memcpy(out, &b->scale, 2);
    if (minimum) memcpy(out + 2, &b->min, 2);
}

/* Blocks of 32 say + minimum. */
static void put_added(uint8_t *out, const quant_block *b)
{
    const uint16_t min = b->min ^ 0x8000u;

    memcpy(out, &b->scale, 2);
    memcpy(out + 2, &min, 2);
}

static void put_Q4_0(uint8_t *out, const quant_block *b)
{
    put_halves(out, b, false);
    put_nibbles(out + 2, b->codes, 16);
}

#define put_IQ4_NL put_Q4_0

static void put_Q4_1(uint8_t *out, const quant_block *b)
{
    put_added(out, b);
    put_nibbles(out + 4, b->codes, 16);
}

static void put_Q5_0(uint8_t *out, const quant_block *b)
{
    put_halves(out, b, false);
    put_fifth_bits(out + 2, b->codes);
    put_nibbles(out + 6, b->codes, 16);
}

static void put_Q5_1(uint8_t *out, const quant_block *b)
{
    put_added(out, b);
    put_fifth_bits(out + 4, b->codes);
    put_nibbles(out + 8, b->codes, 16);
}

static void put_Q2_K(uint8_t *out, const quant_block *b)
{
    for (size_t i = 0; i < 16; i++) out[i] = (uint8_t)(b->scales[i] | b->mins[i] << 4);
    put_pairs(out + 16, b->codes, 0);
    put_halves(out + 80, b, true);
}

static void put_Q3_K(uint8_t *out, const quant_block *b)
{
    put_high_bits(out, b->codes, 2);
    put_pairs(out + 32, b->codes, 0);
    for (size_t i = 0; i < 16; i++) {
        const unsigned bits = (unsigned)(b->scales[i] + 32);

        out[96 + i % 8] |= (uint8_t)((bits & 15) << i / 8 * 4);
        out[104 + i % 4] |= (uint8_t)(bits >> 4 << i / 4 * 2);
    }
    put_halves(out + 108, b, false);
}

static void put_sixes(uint8_t *out, const quant_block *b)
{
    for (size_t i = 0; i < 4; i++) {
        const unsigned scale = (unsigned)b->scales[4 + i], min = b->mins[4 + i];

        out[i] = (uint8_t)((unsigned)b->scales[i] | scale >> 4 << 6);
        out[4 + i] = (uint8_t)(b->mins[i] | min >> 4 << 6);
        out[8 + i] = (uint8_t)((scale & 15) | min << 4);
    }
}

static void put_Q4_K(uint8_t *out, const quant_block *b)
{
    put_halves(out, b, true);
    put_sixes(out + 4, b);
    for (size_t g = 0; g < 4; g++) put_nibbles(out + 16 + 32 * g, b->codes + 64 * g, 32);
}

static void put_Q5_K(uint8_t *out, const quant_block *b)
{
    put_halves(out, b, true);
    put_sixes(out + 4, b);
    put_high_bits(out + 16, b->codes, 4);
    for (size_t g = 0; g < 4; g++) put_nibbles(out + 48 + 32 * g, b->codes + 64 * g, 32);
}

static void put_Q6_K(uint8_t *out, const quant_block *b)
{
    for (size_t h = 0; h < 2; h++) put_nibbles(out + 64 * h, b->codes + 128 * h, 64);
    put_pairs(out + 128, b->codes, 4);
    memcpy(out + 192, b->scales, 16);
    put_halves(out + 208, b, false);
}

/* --- rows --- */

typedef struct format {
    gguf_type id;
    quant type;
    int limit; /* of integer scales */
    void (*put)(uint8_t *out, const quant_block *b);
} format;

static const format *find_format(gguf_type id)
{
    static const format formats[] = {
#define QUANT(type, name, bits, groups, scales, zero, minimum, levels) \
    {GGUF_##type, QUANT_##type,                                        \
     (bits) == 2 ? 15 : ((bits) == 3 ? 31 : ((bits) == 6 ? 127 : 63)), put_##type},
#include "engine/kern/quants.def"
#undef QUANT
    };

    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (formats[i].id == id) return &formats[i];
    return NULL;
}

static void encode_Q8_0(const float *x, size_t D, uint8_t *out)
{
    for (size_t g = 0; g < D / KERN_GROUP; g++, x += KERN_GROUP, out += 34) {
        const float top = fmaxf(largest(x, KERN_GROUP, 1), largest(x, KERN_GROUP, -1));
        const uint16_t half = kern_half(top / 127);
        const float step = kern_float(half);

        memcpy(out, &half, 2);
        for (size_t i = 0; i < KERN_GROUP; i++) {
            const float z = step > 0 ? rintf(x[i] / step) : 0;

            out[2 + i] = (uint8_t)(int8_t)fminf(fmaxf(z, -127), 127);
        }
    }
}

/* A power of two that brings the largest of 32 to at most 6, and the nearest of the eight sizes
 * that four bits have. */
static void encode_MXFP4(const float *x, size_t D, uint8_t *out)
{
    static const float sizes[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};

    for (size_t g = 0; g < D / 32; g++, x += 32, out += 17) {
        float most = 0;
        int power;

        for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(x[i]));
        power = most > 0 ? (int)ceilf(log2f(most / 6)) : 0;
        memset(out, 0, 17);
        out[0] = (uint8_t)(127 + power);
        for (int i = 0; i < 32; i++) {
            const float size = ldexpf(fabsf(x[i]), -power);
            int code = 0;

            for (int k = 1; k < 8; k++)
                if (fabsf(sizes[k] - size) < fabsf(sizes[code] - size)) code = k;
            if (x[i] < 0) code |= 8;
            out[1 + i % 16] |= (uint8_t)(code << 4 * (i / 16));
        }
    }
}

void encode_row(gguf_type type, const float *x, size_t D, uint8_t *out)
{
    const format *f = find_format(type);
    size_t columns = 1, bytes = 0;

    if (type == GGUF_Q8_0) encode_Q8_0(x, D, out);
    if (type == GGUF_MXFP4) encode_MXFP4(x, D, out);
    if (type == GGUF_F32) memcpy(out, x, D * sizeof *x);
    if (type == GGUF_F16 || type == GGUF_BF16) quantize_row(type, x, D, out);
    (void)gguf_type_name(type, &columns, &bytes);
    for (size_t at = 0; f && at < D; at += columns, out += bytes) {
        const kern_form form = quant_form(f->type);
        quant_block b = {0};

        choose_scales(form, f->limit, x + at, &b);
        choose_codes(form, x + at, &b);
        memset(out, 0, bytes);
        f->put(out, &b);
    }
}
