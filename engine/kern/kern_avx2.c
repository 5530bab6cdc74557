/* kern_avx2.c - twins of kern_ref.c for AVX2 with FMA and F16C, 8 lanes: what is done to one
 * row of activations - norm, gate, cap, codes of 8 bits, halves.
 *
 * Why twins are bit-exact: a lane does what the definition's loop body does, operation for
 * operation, with the same roundings (mul, fmadd and div round as their scalar forms do; no
 * rcp, no rsqrt, no contraction). Where a result is a sum over lanes, the definition has as
 * many running sums as the widest twin needs, so each rung only groups them differently:
 *
 *   rms_norm   32 running sums: 4 registers of 8, number i in register i / 8 % 4;
 *              folded 32 > 16 > 8 > 4 > 2 > 1
 *   max        any order: it is associative, and of two zeros only +0 survives an abs
 *
 * What is left of a row is masked where a sum must see it, else given to the definition itself.
 *
 * The other files of this rung: _panels (weights times rows), _quants (packed types), _attend,
 * _heads (rotation, transposition, int8 tiles), _codes (the cache's codes). */
#if defined(__x86_64__)

#include "engine/kern/kern_avx2.h"

#include <math.h>
#include <string.h>

#include "engine/kern/kern.h"

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

/* 32 running sums in 4 registers, folded as the definition folds them. */
INLINE float fold_sums(const __m256 *a)
{
    return fold8(_mm256_add_ps(_mm256_add_ps(a[0], a[2]), _mm256_add_ps(a[1], a[3])));
}

/* Up to 8 numbers of x from i, less the mean; what lies past n counts as the mean itself. */
INLINE __m256 centered(const float *x, size_t i, size_t n, __m256 mean)
{
    const __m256i live = mask8(n - i);

    if (i + 8 <= n) return _mm256_sub_ps(_mm256_loadu_ps(x + i), mean);
    return _mm256_and_ps(_mm256_castsi256_ps(live),
                         _mm256_sub_ps(_mm256_maskload_ps(x + i, live), mean));
}

void kern_layer_norm_avx2(const float *x, const float *gain, const float *bias, size_t n,
                          float eps, float *y)
{
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                     _mm256_setzero_ps()};
    __m256 square[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                        _mm256_setzero_ps()};
    __m256 mean, inverse;

    for (size_t i = 0; i < n; i += 8)
        sum[i / 8 % 4] = _mm256_add_ps(sum[i / 8 % 4], centered(x, i, n, _mm256_setzero_ps()));
    mean = _mm256_set1_ps(fold_sums(sum) / (float)n);
    for (size_t i = 0; i < n; i += 8) {
        const __m256 d = centered(x, i, n, mean);

        square[i / 8 % 4] = _mm256_fmadd_ps(d, d, square[i / 8 % 4]);
    }
    inverse = _mm256_set1_ps(1.0f / sqrtf(fold_sums(square) / (float)n + eps));
    for (size_t i = 0; i < n; i += 8) {
        const __m256i live = i + 8 <= n ? _mm256_set1_epi32(-1) : mask8(n - i);
        __m256 v = _mm256_mul_ps(_mm256_mul_ps(centered(x, i, n, mean), inverse),
                                 _mm256_maskload_ps(gain + i, live));

        if (bias) v = _mm256_add_ps(v, _mm256_maskload_ps(bias + i, live));
        _mm256_maskstore_ps(y + i, live, v);
    }
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

/* kern_erf_gate, lane by lane. */
INLINE __m256 erf_gate8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f), size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
    const __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(_mm256_set1_ps(KERN_ERF_P), size, one));
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(KERN_ERF_A5), t, _mm256_set1_ps(KERN_ERF_A4));
    __m256 above;

    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(KERN_ERF_A3));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(KERN_ERF_A2));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(KERN_ERF_A1));
    above = exp8(_mm256_mul_ps(_mm256_mul_ps(x, x), _mm256_set1_ps(-0.5f)));
    above = _mm256_mul_ps(x, _mm256_mul_ps(_mm256_mul_ps(p, t), above));
    return _mm256_blendv_ps(_mm256_sub_ps(x, above), above,
                            _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}

void kern_erf_mul_avx2(const float *gate, const float *up, size_t n, float *y)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_mul_ps(erf_gate8(_mm256_loadu_ps(gate + i)),
                                              _mm256_loadu_ps(up + i)));
    kern_erf_mul_ref(gate + i, up + i, n - i, y + i);
}

void kern_clamp_mul_avx2(const float *gate, const float *up, size_t n, kern_clamp by, float *y)
{
    const __m256 one = _mm256_set1_ps(1.0f), limit = _mm256_set1_ps(by.limit);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 g = _mm256_min_ps(_mm256_loadu_ps(gate + i), limit);
        const __m256 u = _mm256_max_ps(_mm256_min_ps(_mm256_loadu_ps(up + i), limit),
                                       _mm256_set1_ps(-by.limit));
        const __m256 e = _mm256_add_ps(one, exp8(_mm256_mul_ps(g, _mm256_set1_ps(-by.slope))));

        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_div_ps(g, e), _mm256_add_ps(u, one)));
    }
    kern_clamp_mul_ref(gate + i, up + i, n - i, by, y + i);
}

void kern_xielu_avx2(float *x, size_t n, kern_xielu by)
{
    const __m256 zero = _mm256_setzero_ps(), one = _mm256_set1_ps(1.0f);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_loadu_ps(x + i);
        const __m256 e = exp8(_mm256_min_ps(v, _mm256_set1_ps(by.edge)));
        const __m256 above = _mm256_mul_ps(_mm256_mul_ps(v, v), _mm256_set1_ps(by.rise));
        const __m256 below = _mm256_mul_ps(_mm256_sub_ps(_mm256_sub_ps(e, one), v),
                                           _mm256_set1_ps(by.fall));
        const __m256 bent = _mm256_blendv_ps(below, above, _mm256_cmp_ps(v, zero, _CMP_GT_OQ));

        _mm256_storeu_ps(x + i, _mm256_add_ps(bent, _mm256_mul_ps(v, _mm256_set1_ps(by.line))));
    }
    kern_xielu_ref(x + i, n - i, by);
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

#else
typedef int kern_avx2_is_for_x86_64;
#endif
