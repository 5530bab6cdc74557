/* quantize_block.h - what the searches for blocks share. Internal to quantize.c and its parts.
 */
#ifndef ENGINE_MODEL_QUANTIZE_BLOCK_H
#define ENGINE_MODEL_QUANTIZE_BLOCK_H

#include <stdint.h>
#include <string.h>

#include "engine/kern/kern.h"

/* Between low and high; of what is no number, low. Not fminf, which is a call. */
static inline float quantize_clamp(float x, float low, float high)
{
    x = x > low ? x : low;
    return x < high ? x : high;
}

/* A scale as the file has it, which is what codes must be by; one too large for a half is cut.
 */
static inline float quantize_half(float scale, uint8_t *out)
{
    const uint16_t half = kern_half(quantize_clamp(scale, -KERN_HALF_MAX, KERN_HALF_MAX));

    memcpy(out, &half, 2);
    return kern_float(half);
}

#endif
