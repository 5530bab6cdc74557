/* kern_avx2.h - what the AVX2 twins share: masks, folds of 8 lanes, exp.
 *
 * Folds have the order that kern.h gives a sum: lane i and i + 4, then i + 2, then i + 1. */
#ifndef ENGINE_KERN_KERN_AVX2_H
#define ENGINE_KERN_KERN_AVX2_H

#include <stddef.h>
#include <stdint.h>

#include "engine/kern/kern.h"
#include "engine/kern/kern_exp.h"

#if defined(__AVX2__)

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

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

/* Lanes below n, n = 0 .. 8. */
INLINE __m256i mask8(size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

/* kern_exp_one, lane by lane: the same operations in the same order. */
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

/* kern_cap_one, lane by lane. */
INLINE __m256 cap8(__m256 x, float cap)
{
    const __m256 e = exp8(_mm256_mul_ps(x, _mm256_set1_ps(2.0f / cap)));

    return _mm256_sub_ps(
        _mm256_set1_ps(cap),
        _mm256_div_ps(_mm256_set1_ps(2.0f * cap), _mm256_add_ps(e, _mm256_set1_ps(1.0f))));
}

#endif
#endif
