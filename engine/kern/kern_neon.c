/* kern_neon.c - twins of kern_ref.c for NEON, 4 lanes: what is done to one row of activations -
 * norm, gate, cap, codes of 8 bits, halves.
 *
 * They are bit-exact for the reason that kern_avx2.c gives: a lane does what the definition's
 * loop does, and a sum over lanes has the definition's 32 running sums, here in 8 registers of
 * 4:
 *
 *   rms_norm   register i / 4 % 8; registers are folded 8 > 4 > 2 > 1, then lanes 4 > 2 > 1
 *
 * vfmaq is one rounding, as fmaf; vcvtnq rounds to nearest even, as lrintf does; vdivq and
 * sqrtf are exact to the last bit, vrecpe and vrsqrte are not and stand nowhere.
 *
 * The other files of this rung: _panels (float weights times rows), _quants (Q8_0 and packed
 * types), _attend, _heads (rotation, transposition, int8 tiles), _codes (the cache's codes).
 * All of it was tested under emulation only: register plans follow the count of registers, not
 * a measurement. */
#if defined(__aarch64__)

#include "engine/kern/kern_neon.h"

#include <math.h>
#include <string.h>

#include "engine/kern/kern.h"

/* Narrowed by cutting, as the definition's cast does. */
INLINE int8x16_t narrow16(const int32x4_t *i)
{
    const int16x8_t low = vcombine_s16(vmovn_s32(i[0]), vmovn_s32(i[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(i[2]), vmovn_s32(i[3]));

    return vcombine_s8(vmovn_s16(low), vmovn_s16(high));
}

void kern_quantize_q8_neon(const float *x, size_t n, int8_t *q, float *scale, kern_sums *sum)
{
    for (size_t g = 0; g < n / KERN_GROUP; g++, x += KERN_GROUP, q += KERN_GROUP) {
        float32x4_t v[8], top = vdupq_n_f32(0.0f);
        int32x4_t i[8];

        for (int j = 0; j < 8; j++) {
            v[j] = vld1q_f32(x + 4 * j);
            top = vmaxnmq_f32(top, vabsq_f32(v[j]));
        }
        scale[g] = vmaxnmvq_f32(top) / 127.0f;
        if (!(scale[g] > 0.0f)) {
            memset(q, 0, KERN_GROUP);
            sum[g] = (kern_sums){{0, 0}};
            continue;
        }
        for (int j = 0; j < 8; j++)
            i[j] = vcvtnq_s32_f32(vdivq_f32(v[j], vdupq_n_f32(scale[g])));
        for (int h = 0; h < 2; h++) {
            const int32x4_t *half = i + 4 * h;

            vst1q_s8(q + 16 * h, narrow16(half));
            sum[g].half[h] = (int16_t)vaddvq_s32(
                vaddq_s32(vaddq_s32(half[0], half[1]), vaddq_s32(half[2], half[3])));
        }
    }
}

void kern_rms_norm_neon(const float *x, const float *gain, size_t n, float eps, float *y)
{
    float32x4_t a[8];
    float inverse, rest[4] = {0};
    size_t i = 0;

    for (int j = 0; j < 8; j++) a[j] = vdupq_n_f32(0.0f);
    for (; i + 32 <= n; i += 32)
        for (size_t j = 0; j < 8; j++) {
            const float32x4_t v = vld1q_f32(x + i + 4 * j);

            a[j] = vfmaq_f32(a[j], v, v);
        }
    for (; i < n; i += 4) {
        float32x4_t v;

        memcpy(rest, x + i, (n - i < 4 ? n - i : 4) * sizeof *x);
        if (n - i < 4) memset(rest + (n - i), 0, (4 - (n - i)) * sizeof *x);
        v = vld1q_f32(rest);
        a[i / 4 % 8] = vfmaq_f32(a[i / 4 % 8], v, v);
    }
    for (int half = 4; half; half /= 2)
        for (int j = 0; j < half; j++) a[j] = vaddq_f32(a[j], a[j + half]);
    inverse = 1.0f / sqrtf(fold4(a[0]) / (float)n + eps);
    for (i = 0; i + 4 <= n; i += 4)
        vst1q_f32(y + i,
                  vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), inverse), vld1q_f32(gain + i)));
    for (; i < n; i++) y[i] = x[i] * inverse * gain[i];
}

/* Up to 4 numbers of x from i, less the mean; what lies past n is 0. */
INLINE float32x4_t centered(const float *x, size_t i, size_t n, float mean)
{
    float rest[4] = {0};

    if (i + 4 <= n) return vsubq_f32(vld1q_f32(x + i), vdupq_n_f32(mean));
    for (size_t j = 0; i + j < n; j++) rest[j] = x[i + j] - mean;
    return vld1q_f32(rest);
}

/* 32 running sums in 8 registers, folded as the definition folds them. */
INLINE float fold_sums(float32x4_t *a)
{
    for (int half = 4; half; half /= 2)
        for (int j = 0; j < half; j++) a[j] = vaddq_f32(a[j], a[j + half]);
    return fold4(a[0]);
}

void kern_layer_norm_neon(const float *x, const float *gain, const float *bias, size_t n,
                          float eps, float *y)
{
    float32x4_t sum[8], square[8];
    float mean, inverse;
    size_t i = 0;

    for (int j = 0; j < 8; j++) sum[j] = square[j] = vdupq_n_f32(0.0f);
    for (i = 0; i < n; i += 4) sum[i / 4 % 8] = vaddq_f32(sum[i / 4 % 8], centered(x, i, n, 0));
    mean = fold_sums(sum) / (float)n;
    for (i = 0; i < n; i += 4) {
        const float32x4_t d = centered(x, i, n, mean);

        square[i / 4 % 8] = vfmaq_f32(square[i / 4 % 8], d, d);
    }
    inverse = 1.0f / sqrtf(fold_sums(square) / (float)n + eps);
    for (i = 0; i + 4 <= n; i += 4) {
        const float32x4_t d = centered(x, i, n, mean);
        const float32x4_t v = vmulq_f32(vmulq_n_f32(d, inverse), vld1q_f32(gain + i));

        vst1q_f32(y + i, bias ? vaddq_f32(v, vld1q_f32(bias + i)) : v);
    }
    for (; i < n; i++) {
        const float v = (x[i] - mean) * inverse * gain[i];

        y[i] = bias ? v + bias[i] : v;
    }
}

void kern_silu_mul_neon(const float *gate, const float *up, size_t n, float *y)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const float32x4_t g = vld1q_f32(gate + i);
        const float32x4_t e = vaddq_f32(one, exp4(vnegq_f32(g)));

        vst1q_f32(y + i, vmulq_f32(vdivq_f32(g, e), vld1q_f32(up + i)));
    }
    kern_silu_mul_ref(gate + i, up + i, n - i, y + i);
}

void kern_gelu_mul_neon(const float *gate, const float *up, size_t n, float *y)
{
    const float32x4_t one = vdupq_n_f32(1.0f), line = vdupq_n_f32(KERN_GELU_LINE);
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const float32x4_t g = vld1q_f32(gate + i);
        const float32x4_t slope = vfmaq_n_f32(line, vmulq_f32(g, g), KERN_GELU_CUBE);
        const float32x4_t e = vaddq_f32(one, exp4(vmulq_f32(g, slope)));

        vst1q_f32(y + i, vmulq_f32(vdivq_f32(g, e), vld1q_f32(up + i)));
    }
    kern_gelu_mul_ref(gate + i, up + i, n - i, y + i);
}

/* kern_erf_gate, lane by lane. */
INLINE float32x4_t erf_gate4(float32x4_t x)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    const float32x4_t t = vdivq_f32(one, vfmaq_n_f32(one, vabsq_f32(x), KERN_ERF_P));
    float32x4_t p = vfmaq_n_f32(vdupq_n_f32(KERN_ERF_A4), t, KERN_ERF_A5), above;

    p = vfmaq_f32(vdupq_n_f32(KERN_ERF_A3), p, t);
    p = vfmaq_f32(vdupq_n_f32(KERN_ERF_A2), p, t);
    p = vfmaq_f32(vdupq_n_f32(KERN_ERF_A1), p, t);
    above = exp4(vmulq_n_f32(vmulq_f32(x, x), -0.5f));
    above = vmulq_f32(x, vmulq_f32(vmulq_f32(p, t), above));
    return vbslq_f32(vcltq_f32(x, vdupq_n_f32(0.0f)), above, vsubq_f32(x, above));
}

void kern_erf_mul_neon(const float *gate, const float *up, size_t n, float *y)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vmulq_f32(erf_gate4(vld1q_f32(gate + i)), vld1q_f32(up + i)));
    kern_erf_mul_ref(gate + i, up + i, n - i, y + i);
}

void kern_clamp_mul_neon(const float *gate, const float *up, size_t n, kern_clamp by, float *y)
{
    const float32x4_t one = vdupq_n_f32(1.0f), limit = vdupq_n_f32(by.limit);
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const float32x4_t g = vminnmq_f32(vld1q_f32(gate + i), limit);
        const float32x4_t u = vmaxnmq_f32(vminnmq_f32(vld1q_f32(up + i), limit),
                                          vdupq_n_f32(-by.limit));
        const float32x4_t e = vaddq_f32(one, exp4(vmulq_n_f32(g, -by.slope)));

        vst1q_f32(y + i, vmulq_f32(vdivq_f32(g, e), vaddq_f32(u, one)));
    }
    kern_clamp_mul_ref(gate + i, up + i, n - i, by, y + i);
}

void kern_xielu_neon(float *x, size_t n, kern_xielu by)
{
    const float32x4_t zero = vdupq_n_f32(0.0f), one = vdupq_n_f32(1.0f);
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const float32x4_t v = vld1q_f32(x + i);
        const float32x4_t e = exp4(vminq_f32(v, vdupq_n_f32(by.edge)));
        const float32x4_t above = vmulq_n_f32(vmulq_f32(v, v), by.rise);
        const float32x4_t below = vmulq_n_f32(vsubq_f32(vsubq_f32(e, one), v), by.fall);

        vst1q_f32(x + i, vaddq_f32(vbslq_f32(vcgtq_f32(v, zero), above, below),
                                   vmulq_n_f32(v, by.line)));
    }
    kern_xielu_ref(x + i, n - i, by);
}

void kern_soft_cap_neon(float *x, size_t n, float cap)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) vst1q_f32(x + i, cap4(vld1q_f32(x + i), cap));
    kern_soft_cap_ref(x + i, n - i, cap);
}

void kern_half_to_float_neon(const uint16_t *x, size_t n, float *y)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, from_halves(vld1_u16(x + i)));
    kern_half_to_float_ref(x + i, n - i, y + i);
}

void kern_float_to_half_neon(const float *x, size_t n, uint16_t *y)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4)
        vst1_u16(y + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    kern_float_to_half_ref(x + i, n - i, y + i);
}

#else
typedef int kern_neon_is_for_arm64;
#endif
