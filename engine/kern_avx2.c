/* kern_avx2.c - twins of kern_ref.c for AVX2 with FMA and F16C: 8 lanes. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "engine/kern.h"
#include "engine/kern_exp.h"

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
            const __m256i less = _mm256_set1_epi32(-128 * p->q_sum[at]);
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

void kern_quantize_q8_avx2(const float *x, size_t n, int8_t *q, float *scale, int32_t *sum)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);

    for (size_t g = 0; g < n / KERN_GROUP; g++, x += KERN_GROUP, q += KERN_GROUP) {
        __m256 v[4], top = _mm256_setzero_ps(), s;
        __m256i i[4], bytes, total;

        for (int j = 0; j < 4; j++) {
            v[j] = _mm256_loadu_ps(x + 8 * j);
            top = _mm256_max_ps(top, _mm256_andnot_ps(sign, v[j]));
        }
        scale[g] = max8(top) / 127.0f;
        if (!(scale[g] > 0.0f)) {
            memset(q, 0, KERN_GROUP);
            sum[g] = 0;
            continue;
        }
        s = _mm256_set1_ps(scale[g]);
        for (int j = 0; j < 4; j++) i[j] = _mm256_cvtps_epi32(_mm256_div_ps(v[j], s));
        total = _mm256_add_epi32(_mm256_add_epi32(i[0], i[1]), _mm256_add_epi32(i[2], i[3]));
        bytes = _mm256_packs_epi16(_mm256_packs_epi32(i[0], i[1]),
                                   _mm256_packs_epi32(i[2], i[3]));
        _mm256_storeu_si256((__m256i *)q, _mm256_permutevar8x32_epi32(bytes, order));
        total = _mm256_hadd_epi32(total, total);
        total = _mm256_hadd_epi32(total, total);
        sum[g] = _mm256_extract_epi32(total, 0) + _mm256_extract_epi32(total, 4);
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

void kern_rotate_avx2(float *x, const float *cosine, const float *sine, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_loadu_ps(x + i);
        const __m256 turned = _mm256_mul_ps(_mm256_permute_ps(v, 0xb1),
                                            _mm256_loadu_ps(sine + i));

        _mm256_storeu_ps(x + i, _mm256_fmadd_ps(v, _mm256_loadu_ps(cosine + i), turned));
    }
    kern_rotate_ref(x + i, cosine + i, sine + i, n - i);
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

INLINE void transpose8(const float *x, size_t stride, float *y, size_t y_stride)
{
    __m256 r[8], u[8];

    for (size_t i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(x + i * stride);
    for (int i = 0; i < 8; i += 2) {
        u[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        u[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(u[i], u[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(u[i], u[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0xee);
    }
    for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_ps(y + i * y_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(y + (i + 4) * y_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

void kern_transpose_avx2(const float *x, size_t stride, size_t n, size_t width, float *y,
                         size_t y_stride)
{
    const size_t n8 = n / 8 * 8, width8 = width / 8 * 8;

    for (size_t j = 0; j < n8; j += 8)
        for (size_t c = 0; c < width8; c += 8)
            transpose8(x + j * stride + c, stride, y + c * y_stride + j, y_stride);
    kern_transpose_ref(x + width8, stride, n8, width - width8, y + width8 * y_stride, y_stride);
    kern_transpose_ref(x + n8 * stride, stride, n - n8, width, y + n8, y_stride);
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

/* Scores of keys j .. j+31, the unseen ones -infinity. */
INLINE __m256 scores32(const kern_attend *a, const float *q, size_t j, size_t n, float *p,
                       __m256 top)
{
    __m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                   _mm256_setzero_ps()};
    const size_t vectors = n - j >= 32 ? 4 : (n - j + 7) / 8;

    for (size_t c = 0; c < a->C; c++) {
        const __m256 b = _mm256_broadcast_ss(q + c);
        const float *k = a->kt + c * a->kt_stride + j;

        for (size_t i = 0; i < vectors; i++)
            s[i] = _mm256_fmadd_ps(b, _mm256_loadu_ps(k + 8 * i), s[i]);
    }
    for (size_t i = 0; i < vectors; i++) {
        const size_t left = n - j - 8 * i;
        const __m256 seen = _mm256_castsi256_ps(mask8(left < 8 ? left : 8));

        s[i] = _mm256_blendv_ps(_mm256_set1_ps(-INFINITY),
                                _mm256_mul_ps(s[i], _mm256_set1_ps(a->scale)), seen);
        top = _mm256_max_ps(top, s[i]);
        _mm256_store_ps(p + j + 8 * i, s[i]);
    }
    return top;
}

/* o[c .. c+8*vectors-1] over all n keys. */
INLINE void values(const kern_attend *a, const float *p, size_t n, size_t c, int vectors,
                   float *o)
{
    __m256 s[4];

    for (int i = 0; i < vectors; i++) s[i] = _mm256_setzero_ps();
    for (size_t j = 0; j < n; j++) {
        const __m256 b = _mm256_broadcast_ss(p + j);

        for (int i = 0; i < vectors; i++)
            s[i] = _mm256_fmadd_ps(
                b, _mm256_loadu_ps(a->v + j * a->v_stride + c + 8 * (size_t)i), s[i]);
    }
    for (int i = 0; i < vectors; i++) _mm256_storeu_ps(o + c + 8 * i, s[i]);
}

static void attend_row(const kern_attend *a, const float *q, size_t n, float *m, float *l,
                       float *o)
{
    float p[KERN_KEYS] __attribute__((aligned(32)));
    __m256 top = _mm256_set1_ps(-INFINITY), sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    float best;
    size_t c = 0;

    for (size_t j = 0; j < n; j += 32) top = scores32(a, q, j, n, p, top);
    best = max8(top);
    for (size_t j = 0; j < n; j += 8) {
        const __m256 e = exp8(_mm256_sub_ps(_mm256_load_ps(p + j), _mm256_set1_ps(best)));

        sum[j / 8 % 2] = _mm256_add_ps(sum[j / 8 % 2], e);
        _mm256_store_ps(p + j, e);
    }
    for (; c + 32 <= a->C; c += 32) values(a, p, n, c, 4, o);
    for (; c + 8 <= a->C; c += 8) values(a, p, n, c, 1, o);
    for (; c < a->C; c++) {
        o[c] = 0.0f;
        for (size_t j = 0; j < n; j++) o[c] = fmaf(p[j], a->v[j * a->v_stride + c], o[c]);
    }
    *m = best + 0.0f;
    *l = fold8(_mm256_add_ps(sum[0], sum[1]));
}

void kern_attend_avx2(const kern_attend *a)
{
    for (size_t t = 0; t < a->T; t++)
        attend_row(a, a->q + t * a->q_stride, a->first + t < a->n ? a->first + t : a->n,
                   a->m + t * a->ml_stride, a->l + t * a->ml_stride, a->o + t * a->o_stride);
}

#else
typedef int kern_avx2_is_for_x86_64;
#endif
