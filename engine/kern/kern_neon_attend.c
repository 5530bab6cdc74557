/* kern_neon_attend.c - one head's attention over one block, for NEON: keys and values as
 * floats, halves or int8, widened as they are loaded.
 *
 * Three passes over one block, some rows of queries at once:
 *   scores        p[r][j] = q_r k_j        keys lie transposed, [n/16,C,16]: a lane is a key,
 *                                          c ascends
 *   softmax_row   m, l; p = exp(p - m)     row by row; a lane is a key, one unseen has -inf,
 *                                          whose exp is 0
 *   values        o[r][c] = sum p_j v_jc   a lane is a channel, j ascends
 *
 * In none of them does a sum cross lanes but l, whose 16 running sums the definition has too;
 * so lanes, rows and vectors at once show in no bit.
 *
 * Registers: 16 sums of all rows together (4 rows x 4 quads, 2 x 8, 1 x 16), the widened keys
 * or values of one step beside them. int8 is read by whole vectors of 16, so keys come by
 * panels. */
#if defined(__aarch64__)

#include "engine/kern/kern_neon.h"

#include <math.h>

#include "engine/kern/kern.h"

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
INLINE void softmax_row(const kern_attend *a, size_t t, float *p)
{
    const float32x4_t unseen = vdupq_n_f32(-INFINITY);
    const size_t n = keys_of(a, t);
    float32x4_t max = unseen, sum[4];
    float m;

    for (int i = 0; i < 4; i++) sum[i] = vdupq_n_f32(0.0f);
    for (size_t j = 0; j < n; j += 4) {
        const float32x4_t s = vmulq_n_f32(times_scale(vld1q_f32(p + j), a->k_scale, j),
                                          a->scale);
        const float32x4_t score = vbslq_f32(seen4(a, t, j, n),
                                            a->cap > 0.0f ? cap4(s, a->cap) : s, unseen);

        max = vmaxnmq_f32(max, score);
        vst1q_f32(p + j, score);
    }
    m = vmaxnmvq_f32(max);
    for (size_t j = 0; j < n; j += 4) {
        const float32x4_t e = exp4(vsubq_f32(vld1q_f32(p + j), vdupq_n_f32(m)));

        sum[j / 4 % 4] = vaddq_f32(sum[j / 4 % 4], e);
        vst1q_f32(p + j, times_scale(e, a->v_scale, j));
    }
    a->m[t * a->ml_stride] = m + 0.0f;
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
    for (int r = 0; r < rows; r++) softmax_row(a, t + (size_t)r, p + r * KERN_KEYS);
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
typedef int kern_neon_attend_is_for_arm64;
#endif
