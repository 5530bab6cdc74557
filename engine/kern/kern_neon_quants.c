/* kern_neon_quants.c - twins of panel_q8 and of kern_quants.c for NEON with its dot product: a
 * vector is a quad, 4 outputs of 4 columns.
 *
 * Registers (32 of 16 bytes): 4 rows x 2 quads, each with a y, the block's sum and a dot, are
 * 24; a single row has all 4 quads instead. vdotq multiplies signed by signed, so Q8_0's + 128
 * is undone when it is loaded, and levels need none. Exact, then floats in the definition's
 * order. */
#if defined(__aarch64__)

#include <arm_neon.h>

#include "engine/kern/kern_quants.h"

#define INLINE static inline __attribute__((always_inline))

enum { MOST = 4, QUADS = 4 }; /* rows at once; quads of a panel */

/* A panel of which some quads are multiplied: all for few rows, half for many, so that sums
 * stay in registers. */
typedef struct work {
    const kern_panel *p;
    size_t t; /* first row */
    int rows, quad, quads;
} work;

/* The bits of vector k in a plane of b bits, moved to bit `to` of each byte. */
INLINE uint8x16_t plane_bits(const uint8_t *w, int b, int k, int to)
{
    const int from = k / b * b;
    const uint8x16_t raw = vld1q_u8(w + k % b * KERN_VECTOR);
    const uint8x16_t mask = vdupq_n_u8((uint8_t)(((1 << b) - 1) << to));

    return vandq_u8(vshlq_u8(raw, vdupq_n_s8((int8_t)(to - from))), mask);
}

/* Vector k of a group: codes, or the numbers that they name. Codes of 8 bits are numbers + 128
 * and no planes. */
INLINE int8x16_t unpack(const uint8_t *w, kern_form f, int k)
{
    uint8x16_t v = vdupq_n_u8(0);
    int to = 0;

    if (f.bits == 8)
        return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w + k * KERN_VECTOR), vdupq_n_u8(128)));
    for (int b = 4; b; b /= 2) {
        if (!(f.bits & b)) continue;
        v = vorrq_u8(v, plane_bits(w, b, k, to));
        to += b;
        w += b * KERN_VECTOR;
    }
    return f.levels ? vqtbl1q_s8(vld1q_s8(kern_levels), v) : vreinterpretq_s8_u8(v);
}

/* sum + w times columns 4 lane .. of q; the instruction wants a constant. */
INLINE int32x4_t dot_four(int32x4_t sum, int8x16_t w, int8x16_t q, int lane)
{
    switch (lane) {
    case 0:
        return vdotq_laneq_s32(sum, w, q, 0);
    case 1:
        return vdotq_laneq_s32(sum, w, q, 1);
    case 2:
        return vdotq_laneq_s32(sum, w, q, 2);
    default:
        return vdotq_laneq_s32(sum, w, q, 3);
    }
}

/* Add half h of group g, exact, to part[r]. */
INLINE void dot_half(const work *o, kern_form f, size_t g, int h, const uint8_t *w,
                     int32x4_t part[][QUADS])
{
    int8x16_t q[MOST];

    for (int r = 0; r < o->rows; r++)
        q[r] = vld1q_s8(o->p->q + (o->t + (size_t)r) * o->p->D + g * KERN_GROUP +
                        16 * (size_t)h);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) /* unrolled, so that shifts and lanes are constants */
        for (int i = 0; i < o->quads; i++) {
            const int8x16_t v = unpack(w + 16 * i, f, 4 * h + k);

            for (int r = 0; r < o->rows; r++) part[r][i] = dot_four(part[r][i], v, q[r], k);
        }
}

/* part[r] = what the code that means 0 takes from a half's sums, or from a whole group's. */
INLINE void begin(const work *o, kern_form f, size_t g, int h, int32x4_t part[][QUADS])
{
    for (int r = 0; r < o->rows; r++) {
        const kern_sums s = o->p->q_sum[(o->t + (size_t)r) * (o->p->D / KERN_GROUP) + g];
        const int sum = f.scales == 2 ? s.half[h] : s.half[0] + s.half[1];

        for (int i = 0; i < o->quads; i++) part[r][i] = vdupq_n_s32(-f.zero * sum);
    }
}

INLINE int16x8_t eight_of(int8x16_t v, int i)
{
    return i ? vmovl_high_s8(v) : vmovl_s8(vget_low_s8(v));
}

/* The integer scales of half h, quad i of the panel. */
INLINE int32x4_t scales_of(const uint8_t *scales, kern_form f, int h, int i)
{
    const int8_t *at = (const int8_t *)scales;
    const int16x8_t v = eight_of(f.scales < 2 ? vld1q_s8(at) : vld2q_s8(at).val[h], i / 2);

    return i % 2 ? vmovl_high_s16(v) : vmovl_s16(vget_low_s16(v));
}

/* dot[r] = group g's exact sum. */
INLINE void dot_group(const work *o, kern_form f, size_t g, const uint8_t *w,
                      const uint8_t *scales, int32x4_t dot[][QUADS])
{
    int32x4_t part[MOST][QUADS];

    begin(o, f, g, 0, dot);
    dot_half(o, f, g, 0, w, dot);
    if (f.scales == 2) begin(o, f, g, 1, part);
    dot_half(o, f, g, 1, w, f.scales == 2 ? part : dot);
    for (int i = 0; f.scales && i < o->quads; i++) {
        const int32x4_t s = scales_of(scales, f, 0, o->quad + i);

        for (int r = 0; r < o->rows; r++) dot[r][i] = vmulq_s32(dot[r][i], s);
    }
    for (int i = 0; f.scales == 2 && i < o->quads; i++) {
        const int32x4_t s = scales_of(scales, f, 1, o->quad + i);

        for (int r = 0; r < o->rows; r++) dot[r][i] = vmlaq_s32(dot[r][i], part[r][i], s);
    }
}

/* Minima of half h as floats, quad i of the panel. */
INLINE float32x4_t minima_of(const uint8_t *minima, kern_form f, int h, int i)
{
    uint8x16_t all;
    uint16x8_t v;

    if (!f.scales) return vdupq_n_f32(1.0f);
    all = f.scales < 2 ? vld1q_u8(minima) : vld2q_u8(minima).val[h];
    v = i / 2 ? vmovl_high_u8(all) : vmovl_u8(vget_low_u8(all));
    return vcvtq_f32_u32(i % 2 ? vmovl_high_u16(v) : vmovl_u16(vget_low_u16(v)));
}

/* least[r] += minima times x's scale times its sums. */
INLINE void add_minima(const work *o, kern_form f, size_t g, const uint8_t *minima,
                       float32x4_t least[][QUADS])
{
    const int n = f.scales == 2 ? 2 : 1;

    for (int h = 0; h < n; h++)
        for (int r = 0; r < o->rows; r++) {
            const size_t at = (o->t + (size_t)r) * (o->p->D / KERN_GROUP) + g;
            const kern_sums s = o->p->q_sum[at];
            const int sum = n == 2 ? s.half[h] : s.half[0] + s.half[1];
            const float32x4_t x = vdupq_n_f32((float)sum * o->p->q_scale[at]);

            for (int i = 0; i < o->quads; i++)
                least[r][i] = vfmaq_f32(least[r][i], minima_of(minima, f, h, o->quad + i), x);
        }
}

/* Four halves; `head` need not be aligned for them. */
INLINE float32x4_t halves_of(const void *head, int i)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const uint8_t *)head + 8 * i)));
}

/* One block into y[r]. */
INLINE void add_block(const work *o, kern_form f, size_t g, const uint8_t *head,
                      const uint8_t *w, float32x4_t y[][QUADS])
{
    const uint8_t *scales = head + kern_halves_bytes(f);
    float32x4_t sum[MOST][QUADS], least[MOST][QUADS];

    for (int r = 0; r < o->rows; r++)
        for (int i = 0; i < o->quads; i++) sum[r][i] = least[r][i] = vdupq_n_f32(0.0f);
    for (int n = 0; n < f.groups; n++, g++, scales += kern_step_bytes(f)) {
        int32x4_t dot[MOST][QUADS];

        dot_group(o, f, g, w + (size_t)n * kern_group_bytes(f), scales, dot);
        for (int r = 0; r < o->rows; r++) {
            const size_t at = (o->t + (size_t)r) * (o->p->D / KERN_GROUP) + g;
            const float32x4_t x = vdupq_n_f32(o->p->q_scale[at]);

            for (int i = 0; i < o->quads; i++)
                sum[r][i] = vfmaq_f32(sum[r][i], vcvtq_f32_s32(dot[r][i]), x);
        }
        if (f.minimum) add_minima(o, f, g, scales + kern_scales_bytes(f), least);
    }
    for (int i = 0; i < o->quads; i++)
        for (int r = 0; r < o->rows; r++) {
            y[r][i] = vfmaq_f32(y[r][i], halves_of(head, o->quad + i), sum[r][i]);
            if (f.minimum)
                y[r][i] = vfmsq_f32(y[r][i], halves_of(head, QUADS + o->quad + i), least[r][i]);
        }
}

INLINE void zero(float32x4_t y[][QUADS])
{
    for (int r = 0; r < MOST; r++)
        for (int i = 0; i < QUADS; i++) y[r][i] = vdupq_n_f32(0.0f);
}

INLINE void store(const work *o, float32x4_t y[][QUADS])
{
    for (int r = 0; r < o->rows; r++)
        for (int i = 0; i < o->quads; i++)
            vst1q_f32(o->p->y + (o->t + (size_t)r) * o->p->y_stride + 4 * (o->quad + i),
                      y[r][i]);
}

INLINE void multiply_rows(const work *o, kern_form f)
{
    const kern_panel *p = o->p;
    const uint8_t *head = p->w, *w = head + kern_codes_at(f, p->D) + 16 * o->quad;
    const size_t step = (size_t)f.groups;
    float32x4_t y[MOST][QUADS];

    zero(y);
    for (size_t g = 0; g < p->D / KERN_GROUP; g += step) {
        add_block(o, f, g, head, w, y);
        head += kern_head_bytes(f);
        w += step * kern_group_bytes(f);
    }
    store(o, y);
}

/* Q8_0 (matrix.h): its scales multiply once a group, x's scale first. */
INLINE void q8_rows(const work *o, kern_form f)
{
    const kern_panel *p = o->p;
    const size_t groups = p->D / KERN_GROUP;
    const uint8_t *scale = p->w, *w = scale + (groups * 32 + 63) / 64 * 64 + 16 * o->quad;
    float32x4_t y[MOST][QUADS];

    zero(y);
    for (size_t g = 0; g < groups; g++, w += kern_group_bytes(f), scale += 2 * KERN_PANEL) {
        int32x4_t dot[MOST][QUADS];

        begin(o, f, g, 0, dot);
        dot_half(o, f, g, 0, w, dot);
        dot_half(o, f, g, 1, w, dot);
        for (int i = 0; i < o->quads; i++)
            for (int r = 0; r < o->rows; r++) {
                const float x = p->q_scale[(o->t + (size_t)r) * groups + g];
                const float32x4_t s = vmulq_n_f32(halves_of(scale, o->quad + i), x);

                y[r][i] = vfmaq_f32(y[r][i], vcvtq_f32_s32(dot[r][i]), s);
            }
    }
    store(o, y);
}

INLINE void rows_of(const work *o, kern_form f)
{
    if (f.bits == 8)
        q8_rows(o, f);
    else
        multiply_rows(o, f);
}

/* Many rows take half the panel twice: its codes are in the first cache by then, and sums of
 * all quads of 4 rows would not stay in registers. */
INLINE void multiply(const kern_panel *p, kern_form f)
{
    size_t t = 0;

    for (; t + MOST <= p->T; t += MOST)
        for (int quad = 0; quad < QUADS; quad += 2) rows_of(&(work){p, t, MOST, quad, 2}, f);
    for (; t < p->T; t++) rows_of(&(work){p, t, 1, 0, QUADS}, f);
}

void kern_panel_q8_neon(const kern_panel *p)
{
    multiply(p, (kern_form){.bits = 8});
    if (p->second) {
        const kern_panel next = kern_second(p);

        kern_panel_q8_neon(&next);
    }
}

#define QUANT(type, name, bits, groups, scales, zero, minimum, levels)         \
    void kern_panel_##name##_neon(const kern_panel *p)                         \
    {                                                                          \
        multiply(p, (kern_form){bits, groups, scales, zero, minimum, levels}); \
    }
#include "engine/kern/quants.def"
#undef QUANT

#else
typedef int kern_neon_quants_is_for_arm64;
#endif
