/* kern_neon_heads.c - twins of what is done to heads, for NEON: rotation, mixing, transposition
 * of keys, and keys and values in 8 bits.
 *
 * As in kern_avx2_heads.c: a prompt's keys are turned in registers, 4 x 4, and a single key is
 * scattered. A half's scale is made by the hardware's own conversion, which is the
 * definition's. */
#if defined(__aarch64__)

#include "engine/kern/kern_neon.h"

#include "engine/kern/kern.h"

/* Pairs are neighbours: vrev64 swaps them, and the table has -s, +s, so that one product and
 * one fma turn both. */
void kern_rotate_neon(float *x, const float *cosine, const float *sine, size_t n)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const float32x4_t v = vld1q_f32(x + i);
        const float32x4_t turned = vmulq_f32(vrev64q_f32(v), vld1q_f32(sine + i));

        vst1q_f32(x + i, vfmaq_f32(turned, v, vld1q_f32(cosine + i)));
    }
    kern_rotate_ref(x + i, cosine + i, sine + i, n - i);
}

void kern_rotate_halves_neon(float *x, const float *cosine, const float *sine, size_t n)
{
    const size_t half = n / 2;

    if (half % 4) { /* no model has such heads */
        kern_rotate_halves_ref(x, cosine, sine, n);
        return;
    }
    for (size_t i = 0; i < half; i += 4) {
        const float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + half + i);
        const float32x4_t to_a = vmulq_f32(b, vld1q_f32(sine + i));
        const float32x4_t to_b = vmulq_f32(a, vld1q_f32(sine + half + i));

        vst1q_f32(x + i, vfmaq_f32(to_a, a, vld1q_f32(cosine + i)));
        vst1q_f32(x + half + i, vfmaq_f32(to_b, b, vld1q_f32(cosine + half + i)));
    }
}

/* Two products, then their sum, as the definition has it: a vfmaq would round once less. */
void kern_mix_neon(float *y, const float *x, size_t n, float keep, float take)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vaddq_f32(vmulq_n_f32(vld1q_f32(y + i), keep),
                                   vmulq_n_f32(vld1q_f32(x + i), take)));
    kern_mix_ref(y + i, x + i, n - i, keep, take);
}

void kern_scale_neon(float *y, const float *by, size_t n)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vmulq_f32(vld1q_f32(y + i), vld1q_f32(by + i)));
    kern_scale_ref(y + i, by + i, n - i);
}

void kern_klt_predict_neon(float *x, const float *slope, const float *change, size_t n)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const float32x4_t a = vld1q_f32(x + i);
        const float32x4_t product = vmulq_f32(a, vld1q_f32(slope + i));

        vst1q_f32(x + i, vaddq_f32(a, vaddq_f32(product, vld1q_f32(change + i))));
    }
    kern_klt_predict_ref(x + i, slope + i, change + i, n - i);
}

/* Two rounds of zips; there is no wider one to save. */
INLINE void transpose4(const float *x, size_t stride, float *y, size_t y_stride)
{
    float32x4_t r[4], u[4];

    for (size_t i = 0; i < 4; i++) r[i] = vld1q_f32(x + i * stride);
    u[0] = vzip1q_f32(r[0], r[2]);
    u[1] = vzip2q_f32(r[0], r[2]);
    u[2] = vzip1q_f32(r[1], r[3]);
    u[3] = vzip2q_f32(r[1], r[3]);
    vst1q_f32(y, vzip1q_f32(u[0], u[2]));
    vst1q_f32(y + y_stride, vzip2q_f32(u[0], u[2]));
    vst1q_f32(y + 2 * y_stride, vzip1q_f32(u[1], u[3]));
    vst1q_f32(y + 3 * y_stride, vzip2q_f32(u[1], u[3]));
}

void kern_transpose_neon(const float *x, size_t stride, size_t n, size_t width, float *y,
                         size_t y_stride)
{
    const size_t n4 = n / 4 * 4, width4 = width / 4 * 4;

    for (size_t j = 0; j < n4; j += 4)
        for (size_t c = 0; c < width4; c += 4)
            transpose4(x + j * stride + c, stride, y + c * y_stride + j, y_stride);
    kern_transpose_ref(x + width4, stride, n4, width - width4, y + width4 * y_stride, y_stride);
    kern_transpose_ref(x + n4 * stride, stride, n - n4, width, y + n4, y_stride);
}

INLINE uint16x4_t halves4(float32x4_t x)
{
    return vreinterpret_u16_f16(vcvt_f16_f32(x));
}

/* One key, as decoding brings it. */
INLINE void scatter_halves(const float *x, size_t width4, uint16_t *y, size_t y_stride)
{
    for (size_t c = 0; c < width4; c += 4) {
        const uint16x4_t h = halves4(vld1q_f32(x + c));

        vst1_lane_u16(y + c * y_stride, h, 0);
        vst1_lane_u16(y + (c + 1) * y_stride, h, 1);
        vst1_lane_u16(y + (c + 2) * y_stride, h, 2);
        vst1_lane_u16(y + (c + 3) * y_stride, h, 3);
    }
}

void kern_transpose_half_neon(const float *x, size_t stride, size_t n, size_t width,
                              uint16_t *y, size_t y_stride)
{
    const size_t n4 = n / 4 * 4, width4 = width / 4 * 4;
    float turned[16];

    for (size_t j = 0; j < n4; j += 4)
        for (size_t c = 0; c < width4; c += 4) {
            transpose4(x + j * stride + c, stride, turned, 4);
            for (size_t i = 0; i < 4; i++)
                vst1_u16(y + (c + i) * y_stride + j, halves4(vld1q_f32(turned + i * 4)));
        }
    for (size_t j = n4; j < n; j++) scatter_halves(x + j * stride, width4, y + j, y_stride);
    kern_transpose_half_ref(x + width4, stride, n, width - width4, y + width4 * y_stride,
                            y_stride);
}

/* Steps of 4 tops as halves; returns their reciprocals, 0 for 0. */
INLINE float32x4_t int8_steps(float32x4_t top, uint16x4_t *scale)
{
    const float16x4_t step = vcvt_f16_f32(
        vminnmq_f32(vdivq_f32(top, vdupq_n_f32(127.0f)), vdupq_n_f32(KERN_HALF_MAX)));
    const float32x4_t back = vcvt_f32_f16(step);

    *scale = vreinterpret_u16_f16(step);
    return vreinterpretq_f32_u32(
        vandq_u32(vcgtq_f32(back, vdupq_n_f32(0.0f)),
                  vreinterpretq_u32_f32(vdivq_f32(vdupq_n_f32(1.0f), back))));
}

/* Clamped before the conversion, so that narrowing cannot cut a code. */
INLINE int16x4_t codes4(float32x4_t x, float32x4_t reciprocal)
{
    const float32x4_t y = vminnmq_f32(
        vmaxnmq_f32(vmulq_f32(x, reciprocal), vdupq_n_f32(-127.0f)), vdupq_n_f32(127.0f));

    return vmovn_s32(vcvtnq_s32_f32(y));
}

/* 16 codes, 4 for each reciprocal. */
INLINE void store_codes(int8_t *q, const float *x, const float32x4_t *reciprocal)
{
    const int16x8_t low = vcombine_s16(codes4(vld1q_f32(x), reciprocal[0]),
                                       codes4(vld1q_f32(x + 4), reciprocal[1]));
    const int16x8_t high = vcombine_s16(codes4(vld1q_f32(x + 8), reciprocal[2]),
                                        codes4(vld1q_f32(x + 12), reciprocal[3]));

    vst1q_s8(q, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

/* Keys are the lanes, 16 of them in 4 registers, so a key's maximum over its channels needs
 * no fold. */
void kern_int8_keys_neon(const float *kt, size_t C, size_t n, int8_t *q, uint16_t *scale)
{
    for (size_t j = 0; j < n; j += 16, kt += 16 * C, q += 16 * C) {
        float32x4_t top[4];

        for (int i = 0; i < 4; i++) top[i] = vdupq_n_f32(0.0f);
        for (size_t c = 0; c < C; c++)
            for (size_t i = 0; i < 4; i++)
                top[i] = vmaxnmq_f32(top[i], vabsq_f32(vld1q_f32(kt + 16 * c + 4 * i)));
        for (size_t i = 0; i < 4; i++) {
            uint16x4_t halves;

            top[i] = int8_steps(top[i], &halves); /* reciprocals, from here on */
            vst1_u16(scale + j + 4 * i, halves);
        }
        for (size_t c = 0; c < C; c++) store_codes(q + 16 * c, kt + 16 * c, top);
    }
}

void kern_int8_values_neon(const float *v, size_t stride, size_t n, size_t C, int8_t *q,
                           uint16_t *scale)
{
    if (C % 16) { /* no model has such heads */
        kern_int8_values_ref(v, stride, n, C, q, scale);
        return;
    }
    for (size_t j = 0; j < n; j++, v += stride, q += C) {
        float32x4_t top = vdupq_n_f32(0.0f), same[4];
        uint16x4_t halves;

        for (size_t c = 0; c < C; c += 4) top = vmaxnmq_f32(top, vabsq_f32(vld1q_f32(v + c)));
        same[0] = int8_steps(vdupq_n_f32(vmaxnmvq_f32(top)), &halves);
        same[1] = same[2] = same[3] = same[0];
        scale[j] = vget_lane_u16(halves, 0);
        for (size_t c = 0; c < C; c += 16) store_codes(q + c, v + c, same);
    }
}

#else
typedef int kern_neon_heads_is_for_arm64;
#endif
