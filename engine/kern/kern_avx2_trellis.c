/* kern_avx2_trellis.c - twins of kern_trellis.c for AVX2: 8 tokens a vector. */
#if defined(__x86_64__)

#include "engine/kern/kern_trellis.h"

#include <immintrin.h>

#define INLINE     static inline __attribute__((always_inline))
#define KERN_LANES 8

typedef __m256 real;
typedef __m256i whole;
typedef __m256i mask;

INLINE whole w_set(int x)
{
    return _mm256_set1_epi32(x);
}

INLINE whole w_and(whole a, whole b)
{
    return _mm256_and_si256(a, b);
}

INLINE whole w_or(whole a, whole b)
{
    return _mm256_or_si256(a, b);
}

INLINE whole w_xor(whole a, whole b)
{
    return _mm256_xor_si256(a, b);
}

INLINE whole w_add(whole a, whole b)
{
    return _mm256_add_epi32(a, b);
}

INLINE whole w_double(whole a)
{
    return _mm256_slli_epi32(a, 1);
}

INLINE whole w_lower(whole a, whole by)
{
    return _mm256_srlv_epi32(a, by);
}

INLINE mask w_equal(whole a, whole b)
{
    return _mm256_cmpeq_epi32(a, b);
}

INLINE whole w_pick(mask m, whole a, whole b)
{
    return _mm256_blendv_epi8(b, a, m);
}

INLINE whole w_of(real x)
{
    return _mm256_cvttps_epi32(x);
}

INLINE whole w_load(const int16_t *q)
{
    return _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(const void *)q));
}

INLINE void w_store(int16_t *q, whole w)
{
    const __m256i packed = _mm256_packs_epi32(w, w);

    _mm_storeu_si128((__m128i *)(void *)q,
                     _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0xd8)));
}

INLINE whole w_class(int row, const int8_t *column)
{
    const whole c = _mm256_add_epi32(w_set(row), _mm256_cvtepi8_epi32(_mm_loadl_epi64(
                                                     (const __m128i *)(const void *)column)));

    return _mm256_min_epi32(_mm256_max_epi32(c, w_set(0)), w_set(KERN_CLASSES - 1));
}

/* (c & 3) | 36 where c is past the last table. */
INLINE whole w_table(whole c)
{
    const mask shared = _mm256_cmpgt_epi32(c, w_set(KERN_TABLES - 1));

    return w_pick(shared, w_or(w_and(c, w_set(3)), w_set(36)), c);
}

INLINE real r_set(float x)
{
    return _mm256_set1_ps(x);
}

INLINE real r_load(const float *x)
{
    return _mm256_loadu_ps(x);
}

INLINE void r_store(float *to, real x)
{
    _mm256_storeu_ps(to, x);
}

INLINE real r_gather(const float *x, whole at)
{
    return _mm256_i32gather_ps(x, at, 4);
}

INLINE real r_by_class(const float *x, whole class)
{
    return r_gather(x, class);
}

INLINE real r_of(whole w)
{
    return _mm256_cvtepi32_ps(w);
}

INLINE real r_add(real a, real b)
{
    return _mm256_add_ps(a, b);
}

INLINE real r_sub(real a, real b)
{
    return _mm256_sub_ps(a, b);
}

INLINE real r_mul(real a, real b)
{
    return _mm256_mul_ps(a, b);
}

INLINE real r_min(real a, real b)
{
    return _mm256_min_ps(a, b);
}

INLINE real r_max(real a, real b)
{
    return _mm256_max_ps(a, b);
}

INLINE real r_abs(real x)
{
    return _mm256_andnot_ps(r_set(-0.0f), x);
}

INLINE real r_floor(real x)
{
    return _mm256_floor_ps(x);
}

INLINE real r_sign(real size, real s)
{
    return _mm256_or_ps(size, _mm256_and_ps(s, r_set(-0.0f)));
}

INLINE real r_turn(real x, whole odd)
{
    return _mm256_xor_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(odd, 31)));
}

INLINE mask r_less(real a, real b)
{
    return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

INLINE real r_pick(mask m, real a, real b)
{
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(m));
}

INLINE real r_number(real x)
{
    return _mm256_and_ps(x, _mm256_cmp_ps(x, x, _CMP_ORD_Q));
}

#include "engine/kern/kern_trellis_lanes.h"

void kern_klt_quantize_avx2(const kern_classes *c, const float *u, const float *inverse,
                            const kern_prices *prices, int16_t *q)
{
    for (size_t t = 0; t < c->B; t += KERN_LANES) lanes_quantize(c, u, inverse, prices, q, t);
}

void kern_klt_dequantize_avx2(const kern_classes *c, const int16_t *q, const float *bias,
                              const float *step, float *out)
{
    for (size_t t = 0; t < c->B; t += KERN_LANES) lanes_dequantize(c, q, bias, step, out, t);
}

#else
typedef int kern_avx2_trellis_is_for_x86_64;
#endif
