/* kern_avx512.h - what the AVX-512 twins share: numbers of any format, masks, exp.
 *
 * Lanes that are masked off are neither read nor written, so no load leaves its array. */
#ifndef ENGINE_KERN_KERN_AVX512_H
#define ENGINE_KERN_KERN_AVX512_H

#include <stddef.h>
#include <stdint.h>

#include "engine/kern/kern.h"
#include "engine/kern/kern_exp.h"

#if defined(__AVX512F__)

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum number { FLOAT, HALF, INT8 }; /* what keys and values are stored as */

INLINE __m512 load_numbers(const void *x, size_t at, enum number kind)
{
    if (kind == FLOAT) return _mm512_loadu_ps((const float *)x + at);
    if (kind == HALF)
        return _mm512_cvtph_ps(
            _mm256_loadu_si256((const __m256i *)(const void *)((const uint16_t *)x + at)));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(
        _mm_loadu_si128((const __m128i *)(const void *)((const int8_t *)x + at))));
}

INLINE __m512 load_some(const void *x, size_t at, __mmask16 some, enum number kind)
{
    if (kind == FLOAT) return _mm512_maskz_loadu_ps(some, (const float *)x + at);
    if (kind == HALF)
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(some, (const uint16_t *)x + at));
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(some, (const int8_t *)x + at)));
}

/* Of lanes j .. j+15, those below n. */
INLINE __mmask16 below(size_t n, size_t j)
{
    if (n >= j + 16) return 0xffff;
    return n > j ? (__mmask16)((1u << (n - j)) - 1) : 0;
}

/* kern_exp_one, lane by lane: the same operations in the same order. */
INLINE __m512 exp16(__m512 x)
{
    const __mmask16 live = _mm512_cmp_ps_mask(x, _mm512_set1_ps(KERN_EXP_MIN), _CMP_GE_OQ);
    __m512 n, r, p;
    __m512i bits;

    x = _mm512_min_ps(x, _mm512_set1_ps(KERN_EXP_MAX));
    n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(KERN_EXP_LOG2E)),
                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-KERN_EXP_LN2_HI), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-KERN_EXP_LN2_LO), r);
    p = _mm512_fmadd_ps(_mm512_set1_ps(KERN_EXP_C0), r, _mm512_set1_ps(KERN_EXP_C1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(KERN_EXP_C2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(KERN_EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(KERN_EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(KERN_EXP_C5));
    p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
    bits = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)),
                             23);
    return _mm512_maskz_mul_ps(live, p, _mm512_castsi512_ps(bits));
}

/* kern_cap_one, lane by lane. */
INLINE __m512 cap16(__m512 x, float cap)
{
    const __m512 e = exp16(_mm512_mul_ps(x, _mm512_set1_ps(2.0f / cap)));

    return _mm512_sub_ps(
        _mm512_set1_ps(cap),
        _mm512_div_ps(_mm512_set1_ps(2.0f * cap), _mm512_add_ps(e, _mm512_set1_ps(1.0f))));
}

#endif
#endif
