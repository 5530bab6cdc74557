/* kern_quants.h - how the types of quants.def lie in a panel, for who packs it, the definition
 * and its twins.
 *
 * A weight is w = scale * s * (code - zero) - min * m: scale and min are halves of a block of
 * `groups` groups, s and m integers of a group or of half a group (1 where the type has none).
 * A panel [16 outputs, D]:
 *
 *   head   each block:  scale [16] halves | min [16] halves, where there is one
 *                       each group: s [16,scales] int8 | m [16,scales] uint8, with minima
 *          zeros        up to a multiple of 64 bytes
 *   codes  each group:  64 bytes for each bit of their width
 *
 * A group of 32 columns is 8 vectors of 4 columns, [16,4] bytes each when they are unpacked:
 * what one product of a byte dot product (VNNI, NEON's) takes for 16 outputs. Packed, codes are
 * cut in planes of 4, 2 and 1 bits, those that the binary digits of their width name, the
 * widest plane first, with the lowest bits in it. A plane of b bits is b vectors: the bits of
 * vector k stand in its vector k % b, from bit k / b * b of each byte up. A width of 5 bits,
 * for example:
 *
 *   plane of 4, vector 0..3   byte = code of vector k, bits 0-3  |  of vector k + 4, bits 0-3
 *   plane of 1, vector 0      bit k of a byte = bit 4 of the code of vector k
 *
 * So unpacking is a load, a shift and a mask for each plane, never a shuffle across bytes, and
 * one routine does for every type: a new one is a row of quants.def and a reader of its file's
 * blocks. */
#ifndef ENGINE_KERN_KERN_QUANTS_H
#define ENGINE_KERN_KERN_QUANTS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/kern/kern.h"

typedef struct kern_form {
    int bits, groups, scales, zero, minimum, levels; /* a row of quants.def */
} kern_form;

enum { KERN_BLOCK = 256, KERN_VECTOR = 64 }; /* columns of the longest block; bytes */

/* What the codes of a type with levels stand for. Source: ggml docs, type IQ4_NL. */
extern const int8_t kern_levels[16];

/* Bytes of a group's integer scales, as many of its minima. */
static inline size_t kern_scales_bytes(kern_form f)
{
    return (size_t)(KERN_PANEL * f.scales);
}

/* Bytes from one block's scales to the next one's. */
static inline size_t kern_head_bytes(kern_form f)
{
    const size_t one = KERN_PANEL * sizeof(uint16_t) + (size_t)f.groups * kern_scales_bytes(f);

    return f.minimum ? 2 * one : one;
}

/* Bytes from one group's integer scales to the next one's. */
static inline size_t kern_step_bytes(kern_form f)
{
    return kern_scales_bytes(f) << f.minimum;
}

/* Where a block's integer scales start. */
static inline size_t kern_halves_bytes(kern_form f)
{
    return KERN_PANEL * sizeof(uint16_t) << f.minimum;
}

/* Where the codes of a panel start; D is a multiple of a block. */
static inline size_t kern_codes_at(kern_form f, size_t D)
{
    return (D / (size_t)(KERN_GROUP * f.groups) * kern_head_bytes(f) + 63) / 64 * 64;
}

static inline size_t kern_group_bytes(kern_form f)
{
    return (size_t)(KERN_VECTOR * f.bits);
}

static inline size_t kern_panel_bytes(kern_form f, size_t D)
{
    return kern_codes_at(f, D) + D / KERN_GROUP * kern_group_bytes(f);
}

#endif
