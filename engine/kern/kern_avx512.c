/* kern_avx512.c - twins of kern_ref.c for AVX-512 (F, BW, DQ, VL, VNNI), 16 lanes: what is done
 * to one row of activations - gate, cap, codes of 8 bits.
 *
 * They are bit-exact for the reason that kern_avx2.c gives: a lane does what the definition's
 * loop does. What has no twin here (norm, rotation, halves, transposition) was no faster with
 * 16 lanes than with 8; kern.c leaves those to the rung below.
 *
 * The other files of this rung: _panels (weights times rows), _quants (packed types), _attend,
 * _heads (int8 tiles), _codes (the cache's codes). */
#if defined(__x86_64__)

#include "engine/kern/kern_avx512.h"

#include <string.h>

#include "engine/kern/kern.h"

/* The sum of 16 codes: unsigned bytes are added by eights. */
static inline int16_t sum_codes(__m128i q)
{
    const __m128i turned = _mm_xor_si128(q, _mm_set1_epi8(-128));
    const __m128i two = _mm_sad_epu8(turned, _mm_setzero_si128());

    return (int16_t)(_mm_cvtsi128_si32(two) + _mm_extract_epi16(two, 4) - 16 * 128);
}

void kern_quantize_q8_avx512(const float *x, size_t n, int8_t *q, float *scale, kern_sums *sum)
{
    for (size_t g = 0; g < n / KERN_GROUP; g++, x += KERN_GROUP, q += KERN_GROUP) {
        const __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
        const float top = _mm512_reduce_max_ps(
            _mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
        __m512 s;
        __m128i i, j;

        scale[g] = top / 127.0f;
        if (!(scale[g] > 0.0f)) {
            memset(q, 0, KERN_GROUP);
            sum[g] = (kern_sums){{0, 0}};
            continue;
        }
        s = _mm512_set1_ps(scale[g]);
        i = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_div_ps(a, s)));
        j = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_div_ps(b, s)));
        _mm_storeu_si128((__m128i *)q, i);
        _mm_storeu_si128((__m128i *)(q + 16), j);
        sum[g] = (kern_sums){{sum_codes(i), sum_codes(j)}};
    }
}

void kern_silu_mul_avx512(const float *gate, const float *up, size_t n, float *y)
{
    const __m512 one = _mm512_set1_ps(1.0f), sign = _mm512_set1_ps(-0.0f);
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        const __m512 g = _mm512_loadu_ps(gate + i);
        const __m512 e = _mm512_add_ps(one, exp16(_mm512_xor_ps(g, sign)));

        _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_div_ps(g, e), _mm512_loadu_ps(up + i)));
    }
    kern_silu_mul_ref(gate + i, up + i, n - i, y + i);
}

void kern_gelu_mul_avx512(const float *gate, const float *up, size_t n, float *y)
{
    const __m512 one = _mm512_set1_ps(1.0f), cube = _mm512_set1_ps(KERN_GELU_CUBE);
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        const __m512 g = _mm512_loadu_ps(gate + i);
        const __m512 slope = _mm512_fmadd_ps(_mm512_mul_ps(g, g), cube,
                                             _mm512_set1_ps(KERN_GELU_LINE));
        const __m512 e = _mm512_add_ps(one, exp16(_mm512_mul_ps(g, slope)));

        _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_div_ps(g, e), _mm512_loadu_ps(up + i)));
    }
    kern_gelu_mul_ref(gate + i, up + i, n - i, y + i);
}

/* kern_erf_gate, lane by lane. */
INLINE __m512 erf_gate16(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f), size = _mm512_abs_ps(x);
    const __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(_mm512_set1_ps(KERN_ERF_P), size, one));
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(KERN_ERF_A5), t, _mm512_set1_ps(KERN_ERF_A4));
    __m512 above;

    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(KERN_ERF_A3));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(KERN_ERF_A2));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(KERN_ERF_A1));
    above = exp16(_mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.5f)));
    above = _mm512_mul_ps(x, _mm512_mul_ps(_mm512_mul_ps(p, t), above));
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ),
                                _mm512_sub_ps(x, above), above);
}

void kern_erf_mul_avx512(const float *gate, const float *up, size_t n, float *y)
{
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i, _mm512_mul_ps(erf_gate16(_mm512_loadu_ps(gate + i)),
                                              _mm512_loadu_ps(up + i)));
    kern_erf_mul_ref(gate + i, up + i, n - i, y + i);
}

void kern_clamp_mul_avx512(const float *gate, const float *up, size_t n, kern_clamp by,
                           float *y)
{
    const __m512 one = _mm512_set1_ps(1.0f), limit = _mm512_set1_ps(by.limit);
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        const __m512 g = _mm512_min_ps(_mm512_loadu_ps(gate + i), limit);
        const __m512 u = _mm512_max_ps(_mm512_min_ps(_mm512_loadu_ps(up + i), limit),
                                       _mm512_set1_ps(-by.limit));
        const __m512 e = _mm512_add_ps(one, exp16(_mm512_mul_ps(g, _mm512_set1_ps(-by.slope))));

        _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_div_ps(g, e), _mm512_add_ps(u, one)));
    }
    kern_clamp_mul_ref(gate + i, up + i, n - i, by, y + i);
}

void kern_xielu_avx512(float *x, size_t n, kern_xielu by)
{
    const __m512 zero = _mm512_setzero_ps(), one = _mm512_set1_ps(1.0f);
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        const __m512 v = _mm512_loadu_ps(x + i);
        const __m512 e = exp16(_mm512_min_ps(v, _mm512_set1_ps(by.edge)));
        const __m512 above = _mm512_mul_ps(_mm512_mul_ps(v, v), _mm512_set1_ps(by.rise));
        const __m512 below = _mm512_mul_ps(_mm512_sub_ps(_mm512_sub_ps(e, one), v),
                                           _mm512_set1_ps(by.fall));
        const __m512 bent = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(v, zero, _CMP_GT_OQ), below,
                                                 above);

        _mm512_storeu_ps(x + i, _mm512_add_ps(bent, _mm512_mul_ps(v, _mm512_set1_ps(by.line))));
    }
    kern_xielu_ref(x + i, n - i, by);
}

void kern_soft_cap_avx512(float *x, size_t n, float cap)
{
    size_t i = 0;

    for (; i + 16 <= n; i += 16) _mm512_storeu_ps(x + i, cap16(_mm512_loadu_ps(x + i), cap));
    kern_soft_cap_ref(x + i, n - i, cap);
}

#else
typedef int kern_avx512_is_for_x86_64;
#endif
