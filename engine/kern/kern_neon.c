/* kern_neon.c - twins of kern_ref.c for NEON: 4 lanes. */
#if defined(__aarch64__)

#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "engine/kern/kern.h"
#include "engine/kern/kern_exp.h"

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

INLINE void panel_rows(const kern_panel *p, size_t t, int rows, enum number kind)
{
    const float *x = p->x + t * p->D;
    float32x4_t a[4][4];

    for (int r = 0; r < rows; r++)
        for (int i = 0; i < 4; i++) a[r][i] = vdupq_n_f32(0.0f);
    for (size_t k = 0; k < p->D; k++) {
        float32x4_t w[4];

        load16(p->w, k * KERN_PANEL, kind, w);
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < 4; i++)
                a[r][i] = vfmaq_n_f32(a[r][i], w[i], x[(size_t)r * p->D + k]);
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < 4; i++)
            vst1q_f32(p->y + (t + (size_t)r) * p->y_stride + 4 * i, a[r][i]);
}

INLINE void panel_float(const kern_panel *p, enum number kind)
{
    size_t t = 0;

    for (; t + 4 <= p->T; t += 4) panel_rows(p, t, 4, kind);
    for (; t < p->T; t++) panel_rows(p, t, 1, kind);
}

void kern_panel_f32_neon(const kern_panel *p)
{
    panel_float(p, FLOAT);
}

void kern_panel_f16_neon(const kern_panel *p)
{
    panel_float(p, HALF);
}

void kern_panel_bf16_neon(const kern_panel *p)
{
    panel_float(p, BFLOAT);
}

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

/* 4 sums folded in halves: i + 2, i + 1. */
INLINE float fold4(float32x4_t v)
{
    const float32x2_t s = vadd_f32(vget_low_f32(v), vget_high_f32(v));

    return vget_lane_f32(s, 0) + vget_lane_f32(s, 1);
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

INLINE float32x4_t cap4(float32x4_t x, float cap)
{
    const float32x4_t e = exp4(vmulq_n_f32(x, 2.0f / cap));

    return vsubq_f32(vdupq_n_f32(cap),
                     vdivq_f32(vdupq_n_f32(2.0f * cap), vaddq_f32(e, vdupq_n_f32(1.0f))));
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

INLINE float load_number(const void *x, size_t at, enum number kind)
{
    if (kind == FLOAT) return ((const float *)x)[at];
    if (kind == HALF) return kern_float(((const uint16_t *)x)[at]);
    return ((const int8_t *)x)[at];
}

INLINE float32x4_t times_scale(float32x4_t x, const uint16_t *scale, size_t j)
{
    return scale ? vmulq_f32(x, load4(scale, j, HALF)) : x;
}

INLINE size_t keys_of(const kern_attend *a, size_t t)
{
    return a->first + t < a->n ? a->first + t : a->n;
}

enum { MOST_QUADS = 16 }; /* whose sums stay in registers, of all rows together */

/* p = q k of 4 * quads keys from j on, whole panels. */
INLINE void scores(const kern_attend *a, size_t t, int rows, size_t j, int quads,
                   enum number kind, float *p)
{
    float32x4_t s[KERN_ROWS][MOST_QUADS];

    for (int r = 0; r < rows; r++)
        for (int i = 0; i < quads; i++) s[r][i] = vdupq_n_f32(0.0f);
    for (size_t c = 0; c < a->C; c++) {
        float32x4_t k[MOST_QUADS];

        for (int i = 0; i < quads; i += 4)
            load16(a->kt, ((j / 16 + (size_t)i / 4) * a->C + c) * 16, kind, k + i);
        for (int r = 0; r < rows; r++) {
            const float q = a->q[(t + (size_t)r) * a->q_stride + c];

            for (int i = 0; i < quads; i++) s[r][i] = vfmaq_n_f32(s[r][i], k[i], q);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < quads; i++)
            vst1q_f32(p + (size_t)r * KERN_KEYS + j + 4 * (size_t)i, s[r][i]);
}

/* Which of keys j .. j+3 row t sees, of its first n. */
INLINE uint32x4_t seen4(const kern_attend *a, size_t t, size_t j, size_t n)
{
    static const int32_t lanes[4] = {0, 1, 2, 3};
    const ptrdiff_t hidden = a->low + (ptrdiff_t)(t * a->slide) - (ptrdiff_t)j;
    const int from = hidden < 0 ? 0 : (int)(hidden < 4 ? hidden : 4);
    const int32x4_t lane = vld1q_s32(lanes);

    return vandq_u32(vcltq_s32(lane, vdupq_n_s32((int)(n - j < 4 ? n - j : 4))),
                     vcgeq_s32(lane, vdupq_n_s32(from)));
}

/* Row t's scores become its weights of values; m and l on the way. */
INLINE void soften(const kern_attend *a, size_t t, float *p)
{
    const float32x4_t unseen = vdupq_n_f32(-INFINITY);
    const size_t n = keys_of(a, t);
    float32x4_t top = unseen, sum[4];
    float best;

    for (int i = 0; i < 4; i++) sum[i] = vdupq_n_f32(0.0f);
    for (size_t j = 0; j < n; j += 4) {
        const float32x4_t s = vmulq_n_f32(times_scale(vld1q_f32(p + j), a->k_scale, j),
                                          a->scale);
        const float32x4_t score = vbslq_f32(seen4(a, t, j, n),
                                            a->cap > 0.0f ? cap4(s, a->cap) : s, unseen);

        top = vmaxnmq_f32(top, score);
        vst1q_f32(p + j, score);
    }
    best = vmaxnmvq_f32(top);
    for (size_t j = 0; j < n; j += 4) {
        const float32x4_t e = exp4(vsubq_f32(vld1q_f32(p + j), vdupq_n_f32(best)));

        sum[j / 4 % 4] = vaddq_f32(sum[j / 4 % 4], e);
        vst1q_f32(p + j, times_scale(e, a->v_scale, j));
    }
    a->m[t * a->ml_stride] = best + 0.0f;
    a->l[t * a->ml_stride] = fold4(
        vaddq_f32(vaddq_f32(sum[0], sum[2]), vaddq_f32(sum[1], sum[3])));
}

/* o[c .. c+4*quads-1] of some rows over the first n keys; quads is 1 or a multiple of 4. */
INLINE void values(const kern_attend *a, size_t t, int rows, size_t n, size_t c, int quads,
                   enum number kind, const float *p)
{
    float32x4_t s[KERN_ROWS][MOST_QUADS];

    for (int r = 0; r < rows; r++)
        for (int i = 0; i < quads; i++) s[r][i] = vdupq_n_f32(0.0f);
    for (size_t j = 0; j < n; j++) {
        const size_t at = j * a->v_stride + c;
        float32x4_t v[MOST_QUADS];

        if (quads == 1) v[0] = load4(a->v, at, kind);
        for (int i = 0; i + 4 <= quads; i += 4) load16(a->v, at + 4 * (size_t)i, kind, v + i);
        for (int r = 0; r < rows; r++) {
            const float b = p[(size_t)r * KERN_KEYS + j];

            for (int i = 0; i < quads; i++) s[r][i] = vfmaq_n_f32(s[r][i], v[i], b);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < quads; i++)
            vst1q_f32(a->o + (t + (size_t)r) * a->o_stride + c + 4 * (size_t)i, s[r][i]);
}

/* Keys `from` .. n-1 of one row: those that the rows before it do not see. */
INLINE void own_values(const kern_attend *a, size_t t, size_t from, enum number kind,
                       const float *p)
{
    float *o = a->o + t * a->o_stride;

    for (size_t j = from; j < keys_of(a, t); j++)
        for (size_t c = 0; c + 4 <= a->C; c += 4)
            vst1q_f32(o + c, vfmaq_n_f32(vld1q_f32(o + c),
                                         load4(a->v, j * a->v_stride + c, kind), p[j]));
}

/* The last columns of one row, where the width is no multiple of 4. */
INLINE void last_values(const kern_attend *a, size_t t, size_t c, enum number kind,
                        const float *p)
{
    for (; c < a->C; c++) {
        float o = 0.0f;

        for (size_t j = 0; j < keys_of(a, t); j++)
            o = fmaf(p[j], load_number(a->v, j * a->v_stride + c, kind), o);
        a->o[t * a->o_stride + c] = o;
    }
}

/* Rows t .. t+rows-1, which share each load; `most`: quads a row whose sums stay in
 * registers. */
INLINE void attend_rows(const kern_attend *a, size_t t, int rows, int most, enum number kind)
{
    float p[KERN_ROWS * KERN_KEYS];
    const size_t end = (keys_of(a, t + (size_t)rows - 1) + 15) / 16 * 16;
    const size_t step = 4 * (size_t)most, common = keys_of(a, t), C = a->C;
    size_t j = 0, c = 0;

    for (; j + step <= end; j += step) scores(a, t, rows, j, most, kind, p);
    for (; j < end; j += 16) scores(a, t, rows, j, 4, kind, p);
    for (int r = 0; r < rows; r++) soften(a, t + (size_t)r, p + r * KERN_KEYS);
    for (; c + step <= C; c += step) values(a, t, rows, common, c, most, kind, p);
    for (; c + 16 <= C; c += 16) values(a, t, rows, common, c, 4, kind, p);
    for (; c + 4 <= C; c += 4) values(a, t, rows, common, c, 1, kind, p);
    for (int r = 0; r < rows; r++) {
        own_values(a, t + (size_t)r, common, kind, p + r * KERN_KEYS);
        last_values(a, t + (size_t)r, c, kind, p + r * KERN_KEYS);
    }
}

INLINE void attend(const kern_attend *a, enum number kind)
{
    size_t t = 0;

    for (; t + 4 <= a->T; t += 4) attend_rows(a, t, 4, MOST_QUADS / 4, kind);
    for (; t + 2 <= a->T; t += 2) attend_rows(a, t, 2, MOST_QUADS / 2, kind);
    for (; t < a->T; t++) attend_rows(a, t, 1, MOST_QUADS, kind);
}

void kern_attend_float_neon(const kern_attend *a)
{
    attend(a, FLOAT);
}

void kern_attend_half_neon(const kern_attend *a)
{
    attend(a, HALF);
}

void kern_attend_int8_neon(const kern_attend *a)
{
    attend(a, INT8);
}

#else
typedef int kern_neon_is_for_arm64;
#endif
