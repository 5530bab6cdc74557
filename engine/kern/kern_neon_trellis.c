/* kern_neon_trellis.c - twins of kern_trellis.c for NEON: 4 tokens a vector, all 8 costs of a
 * state in registers. There is no gather: prices and biases are loaded one by one. */
#if defined(__aarch64__)

#include "engine/kern/kern_trellis.h"

#include <arm_neon.h>

#define INLINE     static inline __attribute__((always_inline))
#define KERN_LANES 4

typedef float32x4_t real;
typedef int32x4_t whole;
typedef uint32x4_t mask;

INLINE whole w_set(int x)
{
    return vdupq_n_s32(x);
}

INLINE whole w_and(whole a, whole b)
{
    return vandq_s32(a, b);
}

INLINE whole w_or(whole a, whole b)
{
    return vorrq_s32(a, b);
}

INLINE whole w_xor(whole a, whole b)
{
    return veorq_s32(a, b);
}

INLINE whole w_add(whole a, whole b)
{
    return vaddq_s32(a, b);
}

INLINE whole w_double(whole a)
{
    return vshlq_n_s32(a, 1);
}

INLINE whole w_lower(whole a, whole by)
{
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vnegq_s32(by)));
}

INLINE mask w_equal(whole a, whole b)
{
    return vceqq_s32(a, b);
}

INLINE whole w_pick(mask m, whole a, whole b)
{
    return vbslq_s32(m, a, b);
}

INLINE whole w_of(real x)
{
    return vcvtq_s32_f32(x);
}

INLINE whole w_load(const int16_t *q)
{
    return vmovl_s16(vld1_s16(q));
}

INLINE void w_store(int16_t *q, whole w)
{
    vst1_s16(q, vmovn_s32(w));
}

INLINE whole w_class(int row, const int8_t *column)
{
    int8x8_t four = vdup_n_s8(0);
    whole c;

    four = vreinterpret_s8_s32(
        vld1_lane_s32((const int32_t *)(const void *)column, vreinterpret_s32_s8(four), 0));
    c = vaddw_s16(w_set(row), vget_low_s16(vmovl_s8(four)));
    return vminq_s32(vmaxq_s32(c, w_set(0)), w_set(KERN_CLASSES - 1));
}

/* (c & 3) | 36 where c is past the last table. */
INLINE whole w_table(whole c)
{
    const mask shared = vcgtq_s32(c, w_set(KERN_TABLES - 1));

    return w_pick(shared, w_or(w_and(c, w_set(3)), w_set(36)), c);
}

INLINE real r_set(float x)
{
    return vdupq_n_f32(x);
}

INLINE real r_load(const float *x)
{
    return vld1q_f32(x);
}

INLINE void r_store(float *to, real x)
{
    vst1q_f32(to, x);
}

INLINE real r_gather(const float *x, whole at)
{
    const float v[KERN_LANES] = {x[vgetq_lane_s32(at, 0)], x[vgetq_lane_s32(at, 1)],
                                 x[vgetq_lane_s32(at, 2)], x[vgetq_lane_s32(at, 3)]};

    return vld1q_f32(v);
}

INLINE real r_by_class(const float *x, whole class)
{
    return r_gather(x, class);
}

INLINE real r_of(whole w)
{
    return vcvtq_f32_s32(w);
}

INLINE real r_add(real a, real b)
{
    return vaddq_f32(a, b);
}

INLINE real r_sub(real a, real b)
{
    return vsubq_f32(a, b);
}

INLINE real r_mul(real a, real b)
{
    return vmulq_f32(a, b);
}

INLINE real r_min(real a, real b)
{
    return vminq_f32(a, b);
}

INLINE real r_max(real a, real b)
{
    return vmaxq_f32(a, b);
}

INLINE real r_abs(real x)
{
    return vabsq_f32(x);
}

INLINE real r_floor(real x)
{
    return vrndmq_f32(x);
}

INLINE real r_sign(real size, real s)
{
    return vbslq_f32(vdupq_n_u32(0x80000000u), s, size);
}

INLINE real r_turn(real x, whole odd)
{
    const uint32x4_t sign = vshlq_n_u32(vreinterpretq_u32_s32(odd), 31);

    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), sign));
}

INLINE mask r_less(real a, real b)
{
    return vcltq_f32(a, b);
}

INLINE real r_pick(mask m, real a, real b)
{
    return vbslq_f32(m, a, b);
}

INLINE real r_number(real x)
{
    return vreinterpretq_f32_u32(vandq_u32(vceqq_f32(x, x), vreinterpretq_u32_f32(x)));
}

#include "engine/kern/kern_trellis_lanes.h"

void kern_klt_quantize_neon(const kern_classes *c, const float *u, const float *inverse,
                            const kern_prices *prices, int16_t *q)
{
    for (size_t t = 0; t < c->B; t += KERN_LANES) lanes_quantize(c, u, inverse, prices, q, t);
}

void kern_klt_dequantize_neon(const kern_classes *c, const int16_t *q, const float *bias,
                              const float *step, float *out)
{
    for (size_t t = 0; t < c->B; t += KERN_LANES) lanes_dequantize(c, q, bias, step, out, t);
}

#else
typedef int kern_neon_trellis_is_for_arm64;
#endif
