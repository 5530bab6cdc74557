/* kern_neon.h - what the NEON twins share: numbers of any format, the fold of 4 lanes, exp.
 *
 * Where a NaN may come, maxima are of the form with `nm`, which takes the number, as the
 * definition's comparison does. exp's clamp keeps a NaN, but then its mask makes it 0. */
#ifndef ENGINE_KERN_KERN_NEON_H
#define ENGINE_KERN_KERN_NEON_H

#include <stddef.h>
#include <stdint.h>

#include "engine/kern/kern.h"
#include "engine/kern/kern_exp.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum number { FLOAT, HALF, BFLOAT, INT8 }; /* what weights, keys and values are stored as */

INLINE float32x4_t from_halves(uint16x4_t x)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(x));
}

INLINE float32x4_t from_bfloats(uint16x4_t x)
{
    return vreinterpretq_f32_u32(vshll_n_u16(x, 16));
}

INLINE float32x4_t from_ints(int16x4_t x)
{
    return vcvtq_f32_s32(vmovl_s16(x));
}

/* v = x[at .. at+3] */
INLINE float32x4_t load4(const void *x, size_t at, enum number kind)
{
    int32_t four;

    if (kind == FLOAT) return vld1q_f32((const float *)x + at);
    if (kind == HALF) return from_halves(vld1_u16((const uint16_t *)x + at));
    if (kind == BFLOAT) return from_bfloats(vld1_u16((const uint16_t *)x + at));
    memcpy(&four, (const int8_t *)x + at, sizeof four);
    return from_ints(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)))));
}

/* v[4] = x[at .. at+15] */
INLINE void load16(const void *x, size_t at, enum number kind, float32x4_t *v)
{
    int8x16_t all;
    int16x8_t low, high;

    if (kind != INT8) {
        for (size_t i = 0; i < 4; i++) v[i] = load4(x, at + 4 * i, kind);
        return;
    }
    all = vld1q_s8((const int8_t *)x + at);
    low = vmovl_s8(vget_low_s8(all));
    high = vmovl_high_s8(all);
    v[0] = from_ints(vget_low_s16(low));
    v[1] = from_ints(vget_high_s16(low));
    v[2] = from_ints(vget_low_s16(high));
    v[3] = from_ints(vget_high_s16(high));
}

/* 4 sums folded in halves: i + 2, i + 1. */
INLINE float fold4(float32x4_t v)
{
    const float32x2_t s = vadd_f32(vget_low_f32(v), vget_high_f32(v));

    return vget_lane_f32(s, 0) + vget_lane_f32(s, 1);
}

/* kern_exp_one, lane by lane: the same operations in the same order. */
INLINE float32x4_t exp4(float32x4_t x)
{
    const uint32x4_t live = vcgeq_f32(x, vdupq_n_f32(KERN_EXP_MIN));
    float32x4_t n, r, p;
    int32x4_t bits;

    x = vminq_f32(x, vdupq_n_f32(KERN_EXP_MAX));
    n = vrndnq_f32(vmulq_n_f32(x, KERN_EXP_LOG2E));
    r = vfmaq_n_f32(x, n, -KERN_EXP_LN2_HI);
    r = vfmaq_n_f32(r, n, -KERN_EXP_LN2_LO);
    p = vfmaq_n_f32(vdupq_n_f32(KERN_EXP_C1), r, KERN_EXP_C0);
    p = vfmaq_f32(vdupq_n_f32(KERN_EXP_C2), p, r);
    p = vfmaq_f32(vdupq_n_f32(KERN_EXP_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(KERN_EXP_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(KERN_EXP_C5), p, r);
    p = vaddq_f32(vfmaq_f32(r, p, vmulq_f32(r, r)), vdupq_n_f32(1.0f));
    bits = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    p = vmulq_f32(p, vreinterpretq_f32_s32(bits));
    return vreinterpretq_f32_u32(vandq_u32(live, vreinterpretq_u32_f32(p)));
}

/* kern_cap_one, lane by lane. */
INLINE float32x4_t cap4(float32x4_t x, float cap)
{
    const float32x4_t e = exp4(vmulq_n_f32(x, 2.0f / cap));

    return vsubq_f32(vdupq_n_f32(cap),
                     vdivq_f32(vdupq_n_f32(2.0f * cap), vaddq_f32(e, vdupq_n_f32(1.0f))));
}

#endif
#endif
