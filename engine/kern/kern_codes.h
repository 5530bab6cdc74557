/* kern_codes.h - what the definition of min-max codes and its twins share, value by value.
 *
 * Not-a-numbers and infinities are part of the definition, so that twins can agree: a group
 * that starts with a NaN has a NaN scale and codes 0; any other NaN does not count for min
 * and max and has code 0, as has a quotient of 2^63 or more (an infinity in its group). */
#ifndef ENGINE_KERN_KERN_CODES_H
#define ENGINE_KERN_KERN_CODES_H

#include <math.h>
#include <stdint.h>

#define KERN_HALF_MAX 65504.0f

/* Into the range of halves; a NaN stays. */
static inline float kern_minmax_clamp(float x)
{
    return x < -KERN_HALF_MAX ? -KERN_HALF_MAX : (x > KERN_HALF_MAX ? KERN_HALF_MAX : x);
}

/* The scale of a group, before it is rounded to a half. */
static inline float kern_minmax_step(float least, float most, int bits)
{
    return kern_minmax_clamp((most - least) / (float)((1 << bits) - 1));
}

/* The code of x; scale > 0, last = 2^bits - 1. */
static inline uint8_t kern_minmax_code(float x, float zero, float scale, float last)
{
    const float q = (x - zero) / scale;

    return q > 0.0f && q < 0x1p63f ? (uint8_t)rintf(q < last ? q : last) : 0;
}

#endif
