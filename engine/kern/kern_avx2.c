/* kern_avx2.c - twins of kern_ref.c for AVX2 with FMA and F16C: 8 lanes. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "engine/kern/kern.h"
#include "engine/kern/kern_exp.h"

#define INLINE static inline __attribute__((always_inline))

enum weight_kind { W_F32, W_F16, W_BF16 };

/* Weights k of the panel, outputs 8h .. 8h+7, as floats. */
INLINE __m256 load_weights(const void *w, size_t k, int h, enum weight_kind kind)
{
    const size_t at = k * KERN_PANEL + 8 * (size_t)h;
    __m128i raw;

    if (kind == W_F32) return _mm256_load_ps((const float *)w + at);
    raw = _mm_load_si128((const __m128i *)((const uint16_t *)w + at));
    if (kind == W_F16) return _mm256_cvtph_ps(raw);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
}

INLINE void panel_rows(const kern_panel *p, size_t t, int rows, enum weight_kind kind)
{
    const float *x = p->x + t * p->D;
    __m256 a[4][2];

    for (int r = 0; r < rows; r++) a[r][0] = a[r][1] = _mm256_setzero_ps();
    for (size_t k = 0; k < p->D; k++) {
        const __m256 w0 = load_weights(p->w, k, 0, kind), w1 = load_weights(p->w, k, 1, kind);

        for (int r = 0; r < rows; r++) {
            const __m256 b = _mm256_broadcast_ss(x + (size_t)r * p->D + k);

            a[r][0] = _mm256_fmadd_ps(w0, b, a[r][0]);
            a[r][1] = _mm256_fmadd_ps(w1, b, a[r][1]);
        }
    }
    for (int r = 0; r < rows; r++) {
        float *y = p->y + (t + (size_t)r) * p->y_stride;

        _mm256_storeu_ps(y, a[r][0]);
        _mm256_storeu_ps(y + 8, a[r][1]);
    }
}

INLINE void panel_float(const kern_panel *p, enum weight_kind kind)
{
    size_t t = 0;

    for (; t + 4 <= p->T; t += 4) panel_rows(p, t, 4, kind);
    for (; t < p->T; t++) panel_rows(p, t, 1, kind);
}

void kern_panel_f32_avx2(const kern_panel *p)
{
    panel_float(p, W_F32);
}

void kern_panel_f16_avx2(const kern_panel *p)
{
    panel_float(p, W_F16);
}

void kern_panel_bf16_avx2(const kern_panel *p)
{
    panel_float(p, W_BF16);
}

/* maddubs would saturate: widen to 16 bits. A quarter of a group's step holds 4 outputs
 * of 4 columns; pairs of columns are added at the group's end. */
INLINE void q8_rows(const kern_panel *p, size_t t, int rows)
{
    const size_t groups = p->D / KERN_GROUP;
    const uint16_t *scale = p->w;
    const uint8_t *w = (const uint8_t *)p->w + (groups * 32 + 63) / 64 * 64;
    __m256 sum[2][2];

    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    for (size_t g = 0; g < groups; g++, w += 512, scale += 16) {
        __m256i a[2][4];

        for (int r = 0; r < rows; r++)
            for (int i = 0; i < 4; i++) a[r][i] = _mm256_setzero_si256();
        for (size_t k = 0; k < KERN_GROUP; k += 4) {
            __m256i b[2];

            for (int r = 0; r < rows; r++) {
                int32_t four;

                memcpy(&four, p->q + (t + (size_t)r) * p->D + g * KERN_GROUP + k, 4);
                b[r] = _mm256_cvtepi8_epi16(_mm_set1_epi32(four));
            }
            for (int i = 0; i < 4; i++) {
                const __m256i v = _mm256_cvtepu8_epi16(
                    _mm_load_si128((const __m128i *)(w + k * 16 + (size_t)i * 16)));

                for (int r = 0; r < rows; r++)
                    a[r][i] = _mm256_add_epi32(a[r][i], _mm256_madd_epi16(v, b[r]));
            }
        }
        for (int r = 0; r < rows; r++) {
            const size_t at = (t + (size_t)r) * groups + g;
            const __m256i less = _mm256_set1_epi32(
                -128 * (p->q_sum[at].half[0] + p->q_sum[at].half[1]));
            const __m256 s = _mm256_set1_ps(p->q_scale[at]);

            for (int h = 0; h < 2; h++) { /* hadd leaves 64-bit pairs in the order 0 2 1 3 */
                const __m256i d = _mm256_permute4x64_epi64(
                    _mm256_hadd_epi32(a[r][2 * h], a[r][2 * h + 1]), 0xd8);
                const __m256 f = _mm256_cvtepi32_ps(_mm256_add_epi32(d, less));
                const __m256 ws = _mm256_cvtph_ps(
                    _mm_load_si128((const __m128i *)(scale + 8 * h)));

                sum[r][h] = _mm256_fmadd_ps(f, _mm256_mul_ps(ws, s), sum[r][h]);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        float *y = p->y + (t + (size_t)r) * p->y_stride;

        _mm256_storeu_ps(y, sum[r][0]);
        _mm256_storeu_ps(y + 8, sum[r][1]);
    }
}

void kern_panel_q8_avx2(const kern_panel *p)
{
    size_t t = 0;

    for (; t + 2 <= p->T; t += 2) q8_rows(p, t, 2);
    for (; t < p->T; t++) q8_rows(p, t, 1);
    if (p->second) {
        const kern_panel next = kern_second(p);

        kern_panel_q8_avx2(&next);
    }
}

INLINE float max8(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    m = _mm_max_ss(m, _mm_shuffle_ps(m, m, 1));
    return _mm_cvtss_f32(m);
}

/* 8 sums folded in halves: i + 4, i + 2, i + 1. */
INLINE float fold8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_shuffle_ps(s, s, 1));
    return _mm_cvtss_f32(s);
}

void kern_quantize_q8_avx2(const float *x, size_t n, int8_t *q, float *scale, kern_sums *sum)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);

    for (size_t g = 0; g < n / KERN_GROUP; g++, x += KERN_GROUP, q += KERN_GROUP) {
        __m256 v[4], top = _mm256_setzero_ps(), s;
        __m256i i[4], bytes, total;
        __m128i pair;

        for (int j = 0; j < 4; j++) {
            v[j] = _mm256_loadu_ps(x + 8 * j);
            top = _mm256_max_ps(top, _mm256_andnot_ps(sign, v[j]));
        }
        scale[g] = max8(top) / 127.0f;
        if (!(scale[g] > 0.0f)) {
            memset(q, 0, KERN_GROUP);
            sum[g] = (kern_sums){{0, 0}};
            continue;
        }
        s = _mm256_set1_ps(scale[g]);
        for (int j = 0; j < 4; j++) i[j] = _mm256_cvtps_epi32(_mm256_div_ps(v[j], s));
        total = _mm256_hadd_epi32(_mm256_add_epi32(i[0], i[1]), _mm256_add_epi32(i[2], i[3]));
        bytes = _mm256_packs_epi16(_mm256_packs_epi32(i[0], i[1]),
                                   _mm256_packs_epi32(i[2], i[3]));
        _mm256_storeu_si256((__m256i *)q, _mm256_permutevar8x32_epi32(bytes, order));
        total = _mm256_hadd_epi32(total, total); /* halves: lanes 0 and 4, 1 and 5 */
        pair = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
        sum[g].half[0] = (int16_t)_mm_extract_epi32(pair, 0);
        sum[g].half[1] = (int16_t)_mm_extract_epi32(pair, 1);
    }
}

/* Lanes below n, n = 0 .. 8. */
INLINE __m256i mask8(size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

void kern_rms_norm_avx2(const float *x, const float *gain, size_t n, float eps, float *y)
{
    __m256 a[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                   _mm256_setzero_ps()};
    float inverse;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_loadu_ps(x + i);

        a[i / 8 % 4] = _mm256_fmadd_ps(v, v, a[i / 8 % 4]);
    }
    if (i < n) {
        const __m256 v = _mm256_maskload_ps(x + i, mask8(n - i));

        a[i / 8 % 4] = _mm256_fmadd_ps(v, v, a[i / 8 % 4]);
    }
    a[0] = _mm256_add_ps(_mm256_add_ps(a[0], a[2]), _mm256_add_ps(a[1], a[3]));
    inverse = 1.0f / sqrtf(fold8(a[0]) / (float)n + eps);
    for (i = 0; i + 8 <= n; i += 8)
        _mm256_storeu_ps(
            y + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(inverse)),
                                 _mm256_loadu_ps(gain + i)));
    for (; i < n; i++) y[i] = x[i] * inverse * gain[i];
}

INLINE __m256 exp8(__m256 x)
{
    const __m256 live = _mm256_cmp_ps(x, _mm256_set1_ps(KERN_EXP_MIN), _CMP_GE_OQ);
    __m256 n, r, p;
    __m256i bits;

    x = _mm256_min_ps(x, _mm256_set1_ps(KERN_EXP_MAX));
    n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(KERN_EXP_LOG2E)),
                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-KERN_EXP_LN2_HI), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-KERN_EXP_LN2_LO), r);
    p = _mm256_fmadd_ps(_mm256_set1_ps(KERN_EXP_C0), r, _mm256_set1_ps(KERN_EXP_C1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(KERN_EXP_C2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(KERN_EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(KERN_EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(KERN_EXP_C5));
    p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
    bits = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)),
                             23);
    return _mm256_and_ps(live, _mm256_mul_ps(p, _mm256_castsi256_ps(bits)));
}

void kern_silu_mul_avx2(const float *gate, const float *up, size_t n, float *y)
{
    const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 g = _mm256_loadu_ps(gate + i);
        const __m256 e = _mm256_add_ps(one, exp8(_mm256_xor_ps(g, sign)));

        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_div_ps(g, e), _mm256_loadu_ps(up + i)));
    }
    kern_silu_mul_ref(gate + i, up + i, n - i, y + i);
}

void kern_gelu_mul_avx2(const float *gate, const float *up, size_t n, float *y)
{
    const __m256 one = _mm256_set1_ps(1.0f), cube = _mm256_set1_ps(KERN_GELU_CUBE);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 g = _mm256_loadu_ps(gate + i);
        const __m256 slope = _mm256_fmadd_ps(_mm256_mul_ps(g, g), cube,
                                             _mm256_set1_ps(KERN_GELU_LINE));
        const __m256 e = _mm256_add_ps(one, exp8(_mm256_mul_ps(g, slope)));

        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_div_ps(g, e), _mm256_loadu_ps(up + i)));
    }
    kern_gelu_mul_ref(gate + i, up + i, n - i, y + i);
}

INLINE __m256 cap8(__m256 x, float cap)
{
    const __m256 e = exp8(_mm256_mul_ps(x, _mm256_set1_ps(2.0f / cap)));

    return _mm256_sub_ps(
        _mm256_set1_ps(cap),
        _mm256_div_ps(_mm256_set1_ps(2.0f * cap), _mm256_add_ps(e, _mm256_set1_ps(1.0f))));
}

void kern_soft_cap_avx2(float *x, size_t n, float cap)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(x + i, cap8(_mm256_loadu_ps(x + i), cap));
    kern_soft_cap_ref(x + i, n - i, cap);
}

void kern_half_to_float_avx2(const uint16_t *x, size_t n, float *y)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + i))));
    kern_half_to_float_ref(x + i, n - i, y + i);
}

void kern_float_to_half_avx2(const float *x, size_t n, uint16_t *y)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(y + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    kern_float_to_half_ref(x + i, n - i, y + i);
}

enum number { FLOAT, HALF, INT8 }; /* what keys and values are stored as */

INLINE __m256 load_numbers(const void *x, size_t at, enum number kind)
{
    if (kind == FLOAT) return _mm256_loadu_ps((const float *)x + at);
    if (kind == HALF)
        return _mm256_cvtph_ps(
            _mm_loadu_si128((const __m128i *)(const void *)((const uint16_t *)x + at)));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(
        _mm_loadl_epi64((const __m128i *)(const void *)((const int8_t *)x + at))));
}

INLINE float load_number(const void *x, size_t at, enum number kind)
{
    if (kind == FLOAT) return ((const float *)x)[at];
    if (kind == HALF) return kern_float(((const uint16_t *)x)[at]);
    return ((const int8_t *)x)[at];
}

INLINE __m256 times_scale(__m256 x, const uint16_t *scale, size_t j)
{
    return scale ? _mm256_mul_ps(x, load_numbers(scale, j, HALF)) : x;
}

INLINE size_t keys_of(const kern_attend *a, size_t t)
{
    return a->first + t < a->n ? a->first + t : a->n;
}

/* Where channel c of key j, a multiple of 8, is in its panel of 16. */
INLINE size_t key_at(const kern_attend *a, size_t c, size_t j)
{
    return (j / 16 * a->C + c) * 16 + j % 16;
}

/* p = q k of `vectors` times 8 keys from j on. */
INLINE void scores(const kern_attend *a, size_t t, int rows, size_t j, int vectors,
                   enum number kind, float *p)
{
    __m256 s[KERN_ROWS][8];

    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++) s[r][i] = _mm256_setzero_ps();
    for (size_t c = 0; c < a->C; c++) {
        __m256 k[8];

        for (int i = 0; i < vectors; i++)
            k[i] = load_numbers(a->kt, key_at(a, c, j + 8 * (size_t)i), kind);
        for (int r = 0; r < rows; r++) {
            const __m256 b = _mm256_broadcast_ss(a->q + (t + (size_t)r) * a->q_stride + c);

            for (int i = 0; i < vectors; i++) s[r][i] = _mm256_fmadd_ps(b, k[i], s[r][i]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++)
            _mm256_store_ps(p + (size_t)r * KERN_KEYS + j + 8 * (size_t)i, s[r][i]);
}

/* Which of keys j .. j+7 row t sees, of its first n. */
INLINE __m256i seen8(const kern_attend *a, size_t t, size_t j, size_t n)
{
    const ptrdiff_t hidden = a->low + (ptrdiff_t)(t * a->slide) - (ptrdiff_t)j;
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    return _mm256_and_si256(
        mask8(n - j < 8 ? n - j : 8),
        _mm256_cmpgt_epi32(
            lane, _mm256_set1_epi32(hidden < 0 ? -1 : (int)(hidden < 8 ? hidden : 8) - 1)));
}

/* Row t's scores become its weights of values; m and l on the way. */
INLINE void soften(const kern_attend *a, size_t t, float *p)
{
    const __m256 scale = _mm256_set1_ps(a->scale), unseen = _mm256_set1_ps(-INFINITY);
    const size_t n = keys_of(a, t);
    __m256 top = unseen, sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    float best;

    for (size_t j = 0; j < n; j += 8) {
        const __m256 s = _mm256_mul_ps(times_scale(_mm256_load_ps(p + j), a->k_scale, j),
                                       scale);
        const __m256 seen = _mm256_castsi256_ps(seen8(a, t, j, n));
        const __m256 score = _mm256_blendv_ps(unseen, a->cap > 0.0f ? cap8(s, a->cap) : s,
                                              seen);

        top = _mm256_max_ps(top, score);
        _mm256_store_ps(p + j, score);
    }
    best = max8(top);
    for (size_t j = 0; j < n; j += 8) {
        const __m256 e = exp8(_mm256_sub_ps(_mm256_load_ps(p + j), _mm256_set1_ps(best)));

        sum[j / 8 % 2] = _mm256_add_ps(sum[j / 8 % 2], e);
        _mm256_store_ps(p + j, times_scale(e, a->v_scale, j));
    }
    a->m[t * a->ml_stride] = best + 0.0f;
    a->l[t * a->ml_stride] = fold8(_mm256_add_ps(sum[0], sum[1]));
}

/* o[c .. c+8*vectors-1] of some rows over the first n keys. */
INLINE void values(const kern_attend *a, size_t t, int rows, size_t n, size_t c, int vectors,
                   enum number kind, const float *p)
{
    __m256 s[KERN_ROWS][8];

    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++) s[r][i] = _mm256_setzero_ps();
    for (size_t j = 0; j < n; j++) {
        __m256 v[8];

        for (int i = 0; i < vectors; i++)
            v[i] = load_numbers(a->v, j * a->v_stride + c + 8 * (size_t)i, kind);
        for (int r = 0; r < rows; r++) {
            const __m256 b = _mm256_broadcast_ss(p + (size_t)r * KERN_KEYS + j);

            for (int i = 0; i < vectors; i++) s[r][i] = _mm256_fmadd_ps(b, v[i], s[r][i]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++)
            _mm256_storeu_ps(a->o + (t + (size_t)r) * a->o_stride + c + 8 * (size_t)i, s[r][i]);
}

/* Keys `from` .. n-1 of one row: those that the rows before it do not see. */
INLINE void own_values(const kern_attend *a, size_t t, size_t from, enum number kind,
                       const float *p)
{
    float *o = a->o + t * a->o_stride;

    for (size_t j = from; j < keys_of(a, t); j++)
        for (size_t c = 0; c + 8 <= a->C; c += 8)
            _mm256_storeu_ps(o + c,
                             _mm256_fmadd_ps(_mm256_broadcast_ss(p + j),
                                             load_numbers(a->v, j * a->v_stride + c, kind),
                                             _mm256_loadu_ps(o + c)));
}

/* The last columns of one row, where the width is no multiple of 8. */
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

/* Rows t .. t+rows-1, which share each load; `most`: vectors a row whose sums stay in
 * registers. */
INLINE void attend_rows(const kern_attend *a, size_t t, int rows, int most, enum number kind)
{
    float p[KERN_ROWS * KERN_KEYS] __attribute__((aligned(32)));
    const size_t n = keys_of(a, t + (size_t)rows - 1), end = (n + 7) / 8 * 8;
    const size_t step = 8 * (size_t)most, common = keys_of(a, t), C = a->C;
    size_t j = 0, c = 0;

    for (; j + step <= end; j += step) scores(a, t, rows, j, most, kind, p);
    for (; j < end; j += 8) scores(a, t, rows, j, 1, kind, p);
    for (int r = 0; r < rows; r++) soften(a, t + (size_t)r, p + r * KERN_KEYS);
    for (; c + step <= C; c += step) values(a, t, rows, common, c, most, kind, p);
    for (; c + 8 <= C; c += 8) values(a, t, rows, common, c, 1, kind, p);
    for (int r = 0; r < rows; r++) {
        own_values(a, t + (size_t)r, common, kind, p + r * KERN_KEYS);
        last_values(a, t + (size_t)r, c, kind, p + r * KERN_KEYS);
    }
}

INLINE void attend(const kern_attend *a, enum number kind)
{
    size_t t = 0;

    for (; t + 4 <= a->T; t += 4) attend_rows(a, t, 4, 2, kind);
    for (; t + 2 <= a->T; t += 2) attend_rows(a, t, 2, 4, kind);
    for (; t < a->T; t++) attend_rows(a, t, 1, 8, kind);
}

void kern_attend_float_avx2(const kern_attend *a)
{
    attend(a, FLOAT);
}

void kern_attend_half_avx2(const kern_attend *a)
{
    attend(a, HALF);
}

void kern_attend_int8_avx2(const kern_attend *a)
{
    attend(a, INT8);
}

/* Steps of 8 tops as halves; returns their reciprocals, 0 for 0. */
INLINE __m256 int8_steps(__m256 top, __m128i *scale)
{
    const __m256 step = _mm256_min_ps(_mm256_div_ps(top, _mm256_set1_ps(127.0f)),
                                      _mm256_set1_ps(KERN_HALF_MAX));
    __m256 back;

    *scale = _mm256_cvtps_ph(step, _MM_FROUND_TO_NEAREST_INT);
    back = _mm256_cvtph_ps(*scale);
    return _mm256_and_ps(_mm256_cmp_ps(back, _mm256_setzero_ps(), _CMP_GT_OQ),
                         _mm256_div_ps(_mm256_set1_ps(1.0f), back));
}

INLINE void store_codes(int8_t *q, __m256 x, __m256 reciprocal)
{
    const __m256 y = _mm256_min_ps(
        _mm256_max_ps(_mm256_mul_ps(x, reciprocal), _mm256_set1_ps(-127.0f)),
        _mm256_set1_ps(127.0f));
    const __m256i i = _mm256_cvtps_epi32(y);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(i),
                                          _mm256_extracti128_si256(i, 1));

    _mm_storel_epi64((__m128i *)(void *)q, _mm_packs_epi16(words, words));
}

void kern_int8_keys_avx2(const float *kt, size_t C, size_t n, int8_t *q, uint16_t *scale)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);

    for (size_t j = 0; j < n; j += 8) {
        const size_t at = j / 16 * 16 * C + j % 16;
        __m256 top = _mm256_setzero_ps(), reciprocal;
        __m128i halves;

        for (size_t c = 0; c < C; c++)
            top = _mm256_max_ps(top, _mm256_andnot_ps(sign, _mm256_loadu_ps(kt + at + 16 * c)));
        reciprocal = int8_steps(top, &halves);
        _mm_storeu_si128((__m128i *)(void *)(scale + j), halves);
        for (size_t c = 0; c < C; c++)
            store_codes(q + at + 16 * c, _mm256_loadu_ps(kt + at + 16 * c), reciprocal);
    }
}

void kern_int8_values_avx2(const float *v, size_t stride, size_t n, size_t C, int8_t *q,
                           uint16_t *scale)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);

    if (C % 8) { /* no model has such heads */
        kern_int8_values_ref(v, stride, n, C, q, scale);
        return;
    }
    for (size_t j = 0; j < n; j++, v += stride, q += C) {
        __m256 top = _mm256_setzero_ps(), reciprocal;
        __m128i halves;

        for (size_t c = 0; c < C; c += 8)
            top = _mm256_max_ps(top, _mm256_andnot_ps(sign, _mm256_loadu_ps(v + c)));
        reciprocal = int8_steps(_mm256_set1_ps(max8(top)), &halves);
        scale[j] = (uint16_t)_mm_extract_epi16(halves, 0);
        for (size_t c = 0; c < C; c += 8)
            store_codes(q + c, _mm256_loadu_ps(v + c), reciprocal);
    }
}

#else
typedef int kern_avx2_is_for_x86_64;
#endif
