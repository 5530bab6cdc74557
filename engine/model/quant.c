/* quant.c - the layouts of the file's quantized blocks. Source: ggml's format, whose numbers
 * tests/golden/dequantize.json keeps. */
#include "engine/model/quant.h"

#include <string.h>

#include "engine/gguf/gguf.h"

/* --- blocks of 32 columns: halves, then codes; column i and i + 16 share a byte --- */

static void read_nibbles(const uint8_t *in, uint8_t *codes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        codes[i] = in[i] & 15u;
        codes[i + n] = in[i] >> 4;
    }
}

/* One more bit for 32 codes, column i from bit i of 4 bytes. */
static void add_fifth_bits(const uint8_t *in, uint8_t *codes)
{
    for (size_t i = 0; i < 32; i++) codes[i] |= (uint8_t)((in[i / 8] >> i % 8 & 1u) << 4);
}

/* Such files add their minimum, ours is taken away. */
static void read_added(const uint8_t *in, quant_block *out)
{
    memcpy(&out->min, in, 2);
    out->min ^= 0x8000u;
}

static void read_Q4_0(const uint8_t *in, quant_block *out)
{
    memcpy(&out->scale, in, 2);
    read_nibbles(in + 2, out->codes, 16);
}

#define read_IQ4_NL read_Q4_0

static void read_Q4_1(const uint8_t *in, quant_block *out)
{
    memcpy(&out->scale, in, 2);
    read_added(in + 2, out);
    read_nibbles(in + 4, out->codes, 16);
}

static void read_Q5_0(const uint8_t *in, quant_block *out)
{
    memcpy(&out->scale, in, 2);
    read_nibbles(in + 6, out->codes, 16);
    add_fifth_bits(in + 2, out->codes);
}

static void read_Q5_1(const uint8_t *in, quant_block *out)
{
    memcpy(&out->scale, in, 2);
    read_added(in + 2, out);
    read_nibbles(in + 8, out->codes, 16);
    add_fifth_bits(in + 4, out->codes);
}

/* --- blocks of 256 columns, 8 groups g of 32 --- */

/* 2 bits a code: 32 bytes hold 4 groups, the first one lowest. */
static void read_pairs(const uint8_t *in, uint8_t *codes)
{
    for (size_t g = 0; g < 8; g++)
        for (size_t i = 0; i < 32; i++)
            codes[g * 32 + i] = in[g / 4 * 32 + i] >> g % 4 * 2 & 3u;
}

/* 1 bit a code: bit g of byte i belongs to column i of group g. */
static void add_high_bits(const uint8_t *in, uint8_t *codes, int to)
{
    for (size_t g = 0; g < 8; g++)
        for (size_t i = 0; i < 32; i++) codes[g * 32 + i] |= (uint8_t)((in[i] >> g & 1u) << to);
}

/* 16 bytes of scale (low) and minimum (high), 64 of codes, scale, minimum. */
static void read_Q2_K(const uint8_t *in, quant_block *out)
{
    for (size_t i = 0; i < 16; i++) {
        out->scales[i] = (int8_t)(in[i] & 15u);
        out->mins[i] = in[i] >> 4;
    }
    read_pairs(in + 16, out->codes);
    memcpy(&out->scale, in + 80, 2);
    memcpy(&out->min, in + 82, 2);
}

/* 32 bytes of high bits, 64 of low ones, 12 of 16 scales of 6 bits: 8 bytes hold the low
 * halves, 4 the rest; then the scale. Scales carry + 32. */
static void read_Q3_K(const uint8_t *in, quant_block *out)
{
    const uint8_t *low = in + 96, *high = in + 104;

    read_pairs(in + 32, out->codes);
    add_high_bits(in, out->codes, 2);
    for (size_t i = 0; i < 16; i++) {
        const unsigned bits = (low[i % 8] >> i / 8 * 4 & 15u) | (high[i % 4] >> i / 4 * 2 & 3u)
                                                                    << 4;

        out->scales[i] = (int8_t)((int)bits - 32);
    }
    memcpy(&out->scale, in + 108, 2);
}

/* 12 bytes of 8 scales and 8 minima of 6 bits: bytes 0 .. 3 and 4 .. 7 hold the first four of
 * each, and in their top bits what bytes 8 .. 11, 4 bits of the others, lack. */
static void read_sixes(const uint8_t *in, quant_block *out)
{
    for (size_t i = 0; i < 4; i++) {
        out->scales[i] = (int8_t)(in[i] & 63u);
        out->mins[i] = in[4 + i] & 63u;
        out->scales[4 + i] = (int8_t)((in[8 + i] & 15u) | in[i] >> 6 << 4);
        out->mins[4 + i] = (uint8_t)(in[8 + i] >> 4 | in[4 + i] >> 6 << 4);
    }
}

/* Scale, minimum, their integers, and 128 bytes of codes: 32 bytes for two groups. */
static void read_Q4_K(const uint8_t *in, quant_block *out)
{
    memcpy(&out->scale, in, 2);
    memcpy(&out->min, in + 2, 2);
    read_sixes(in + 4, out);
    for (size_t g = 0; g < 4; g++) read_nibbles(in + 16 + 32 * g, out->codes + 64 * g, 32);
}

/* The same with 32 bytes of fifth bits before the codes. */
static void read_Q5_K(const uint8_t *in, quant_block *out)
{
    memcpy(&out->scale, in, 2);
    memcpy(&out->min, in + 2, 2);
    read_sixes(in + 4, out);
    for (size_t g = 0; g < 4; g++) read_nibbles(in + 48 + 32 * g, out->codes + 64 * g, 32);
    add_high_bits(in + 16, out->codes, 4);
}

/* 128 bytes of low halves: 64 for four groups, the first two low; 64 bytes of 2 high bits; 16
 * scales of 8 bits; the scale. */
static void read_Q6_K(const uint8_t *in, quant_block *out)
{
    uint8_t high[KERN_BLOCK];

    read_pairs(in + 128, high);
    for (size_t h = 0; h < 2; h++) read_nibbles(in + 64 * h, out->codes + 128 * h, 64);
    for (size_t i = 0; i < KERN_BLOCK; i++) out->codes[i] |= (uint8_t)(high[i] << 4);
    memcpy(out->scales, in + 192, 16);
    memcpy(&out->scale, in + 208, 2);
}

/* --- all types --- */

typedef struct format {
    kern_form form;
    gguf_type id;
    void (*read)(const uint8_t *in, quant_block *out);
} format;

static const format formats[] = {
#define QUANT(type, name, bits, groups, scales, zero, minimum, levels) \
    {{bits, groups, scales, zero, minimum, levels}, GGUF_##type, read_##type},
#include "engine/kern/quants.def"
#undef QUANT
};

kern_form quant_form(quant type)
{
    return formats[type].form;
}

void quant_read_block(quant type, const uint8_t *block, quant_block *out)
{
    formats[type].read(block, out);
}

static size_t block_bytes(quant type)
{
    size_t elements, bytes = 0;

    (void)gguf_type_name(formats[type].id, &elements, &bytes);
    return bytes;
}

void quant_read_row(quant type, const uint8_t *row, size_t D, float *out)
{
    const kern_form f = formats[type].form;
    const size_t bytes = block_bytes(type), columns = (size_t)(KERN_GROUP * f.groups);
    quant_block b;

    for (size_t at = 0; at < D; at += columns, row += bytes) {
        formats[type].read(row, &b);
        for (size_t i = 0; i < columns; i++) {
            const size_t j = f.scales == 2 ? i / 16 : i / 32;
            const float scale = kern_float(b.scale) * (float)(f.scales ? b.scales[j] : 1);
            const int number = f.levels ? kern_levels[b.codes[i]] : b.codes[i] - f.zero;

            out[at + i] = scale * (float)number;
            if (f.minimum) out[at + i] -= kern_float(b.min) * (float)(f.scales ? b.mins[j] : 1);
        }
    }
}

/* Codes of a group, 4 columns a vector, into the planes of output o. */
static void pack_group(const uint8_t *codes, int bits, uint8_t *w, size_t o)
{
    int from = 0;

    for (int plane = 4; plane; plane /= 2) {
        const size_t b = (size_t)plane;

        if (!(bits & plane)) continue;
        for (size_t i = 0; i < b * 4; i++) { /* column i % 4 of vector i / 4 of the plane */
            unsigned byte = 0;

            for (size_t k = 0; k < 8 / b; k++)
                byte |= (codes[i + k * b * 4] >> from & ((1u << plane) - 1)) << k * b;
            w[i / 4 * KERN_VECTOR + o * 4 + i % 4] = (uint8_t)byte;
        }
        from += plane;
        w += b * KERN_VECTOR;
    }
}

static void pack_block(const quant_block *b, kern_form f, uint8_t *head, uint8_t *w, size_t o)
{
    const size_t n = (size_t)f.scales;
    uint8_t *scales = head + kern_halves_bytes(f);

    memcpy(head + o * 2, &b->scale, 2);
    if (f.minimum) memcpy(head + (KERN_PANEL + o) * 2, &b->min, 2);
    for (size_t g = 0; g < (size_t)f.groups; g++, scales += kern_step_bytes(f)) {
        memcpy(scales + o * n, b->scales + g * n, n);
        if (f.minimum) memcpy(scales + kern_scales_bytes(f) + o * n, b->mins + g * n, n);
        pack_group(b->codes + g * KERN_GROUP, f.bits, w + g * kern_group_bytes(f), o);
    }
}

void quant_pack_row(quant type, const uint8_t *row, size_t D, uint8_t *panel, size_t o)
{
    const kern_form f = formats[type].form;
    const size_t bytes = block_bytes(type), columns = (size_t)(KERN_GROUP * f.groups);
    uint8_t *w = panel + kern_codes_at(f, D);
    quant_block b;

    for (size_t at = 0; at < D; at += columns, row += bytes) {
        formats[type].read(row, &b);
        pack_block(&b, f, panel, w, o);
        panel += kern_head_bytes(f);
        w += (size_t)f.groups * kern_group_bytes(f);
    }
}
