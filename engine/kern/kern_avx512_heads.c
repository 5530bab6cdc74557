/* kern_avx512_heads.c - keys and values in 8 bits, for AVX-512.
 *
 * A key's scale is over its channels, and keys are the lanes: 16 keys have 16 maxima in one
 * register and no fold. A value's channels are the lanes, so its maximum is folded; max is
 * associative. */
#if defined(__x86_64__)

#include "engine/kern/kern_avx512.h"

#include "engine/kern/kern.h"

/* Steps of 16 tops as halves; returns their reciprocals, 0 for 0. */
INLINE __m512 int8_steps(__m512 top, __m256i *scale)
{
    const __m512 step = _mm512_min_ps(_mm512_div_ps(top, _mm512_set1_ps(127.0f)),
                                      _mm512_set1_ps(KERN_HALF_MAX));
    __m512 back;

    *scale = _mm512_cvtps_ph(step, _MM_FROUND_TO_NEAREST_INT);
    back = _mm512_cvtph_ps(*scale);
    return _mm512_maskz_div_ps(_mm512_cmp_ps_mask(back, _mm512_setzero_ps(), _CMP_GT_OQ),
                               _mm512_set1_ps(1.0f), back);
}

INLINE __m128i int8_codes(__m512 x, __m512 reciprocal)
{
    const __m512 y = _mm512_min_ps(
        _mm512_max_ps(_mm512_mul_ps(x, reciprocal), _mm512_set1_ps(-127.0f)),
        _mm512_set1_ps(127.0f));

    return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(y));
}

void kern_int8_keys_avx512(const float *kt, size_t C, size_t n, int8_t *q, uint16_t *scale)
{
    for (size_t j = 0; j < n; j += 16, kt += 16 * C, q += 16 * C) {
        __m512 top = _mm512_setzero_ps(), reciprocal;
        __m256i halves;

        for (size_t c = 0; c < C; c++)
            top = _mm512_max_ps(top, _mm512_abs_ps(_mm512_loadu_ps(kt + 16 * c)));
        reciprocal = int8_steps(top, &halves);
        _mm256_storeu_si256((__m256i *)(void *)(scale + j), halves);
        for (size_t c = 0; c < C; c++)
            _mm_storeu_si128((__m128i *)(void *)(q + 16 * c),
                             int8_codes(_mm512_loadu_ps(kt + 16 * c), reciprocal));
    }
}

void kern_int8_values_avx512(const float *v, size_t stride, size_t n, size_t C, int8_t *q,
                             uint16_t *scale)
{
    for (size_t j = 0; j < n; j++, v += stride, q += C) {
        __m512 top = _mm512_setzero_ps(), reciprocal;
        __m256i halves;

        for (size_t c = 0; c < C; c += 16)
            top = _mm512_max_ps(top, _mm512_abs_ps(load_some(v, c, below(C, c), FLOAT)));
        reciprocal = int8_steps(_mm512_set1_ps(_mm512_reduce_max_ps(top)), &halves);
        scale[j] = (uint16_t)_mm256_extract_epi16(halves, 0);
        for (size_t c = 0; c < C; c += 16)
            _mm_mask_storeu_epi8(q + c, below(C, c),
                                 int8_codes(load_some(v, c, below(C, c), FLOAT), reciprocal));
    }
}

#else
typedef int kern_avx512_heads_is_for_x86_64;
#endif
