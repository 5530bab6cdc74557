/* kern_avx512_trellis.c - twins of kern_trellis.c for AVX-512: 16 tokens a vector, all 8 costs
 * of a state in registers. */
#if defined(__x86_64__)

#include "engine/kern/kern_trellis.h"

#include <immintrin.h>

#define INLINE     static inline __attribute__((always_inline))
#define KERN_LANES 16

typedef __m512 real;
typedef __m512i whole;
typedef __mmask16 mask;

INLINE whole w_set(int x)
{
    return _mm512_set1_epi32(x);
}

INLINE whole w_and(whole a, whole b)
{
    return _mm512_and_si512(a, b);
}

INLINE whole w_or(whole a, whole b)
{
    return _mm512_or_si512(a, b);
}

INLINE whole w_xor(whole a, whole b)
{
    return _mm512_xor_si512(a, b);
}

INLINE whole w_add(whole a, whole b)
{
    return _mm512_add_epi32(a, b);
}

INLINE whole w_double(whole a)
{
    return _mm512_slli_epi32(a, 1);
}

INLINE whole w_lower(whole a, whole by)
{
    return _mm512_srlv_epi32(a, by);
}

INLINE mask w_equal(whole a, whole b)
{
    return _mm512_cmpeq_epi32_mask(a, b);
}

INLINE whole w_pick(mask m, whole a, whole b)
{
    return _mm512_mask_mov_epi32(b, m, a);
}

INLINE whole w_of(real x)
{
    return _mm512_cvttps_epi32(x);
}

INLINE whole w_load(const int16_t *q)
{
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)q));
}

INLINE void w_store(int16_t *q, whole w)
{
    _mm256_storeu_si256((__m256i *)(void *)q, _mm512_cvtepi32_epi16(w));
}

INLINE whole w_class(int row, const int8_t *column)
{
    const whole c = _mm512_add_epi32(w_set(row), _mm512_cvtepi8_epi32(_mm_loadu_si128(
                                                     (const __m128i *)(const void *)column)));

    return _mm512_min_epi32(_mm512_max_epi32(c, w_set(0)), w_set(KERN_CLASSES - 1));
}

/* (c & 3) | 36 where c is past the last table. */
INLINE whole w_table(whole c)
{
    const mask shared = _mm512_cmpgt_epi32_mask(c, w_set(KERN_TABLES - 1));

    return _mm512_mask_ternarylogic_epi32(c, shared, w_set(3), w_set(36), 0xea);
}

INLINE real r_set(float x)
{
    return _mm512_set1_ps(x);
}

INLINE real r_load(const float *x)
{
    return _mm512_loadu_ps(x);
}

INLINE void r_store(float *to, real x)
{
    _mm512_storeu_ps(to, x);
}

INLINE real r_gather(const float *x, whole at)
{
    return _mm512_i32gather_ps(at, x, 4);
}

_Static_assert(KERN_CLASSES == 80, "r_by_class goes through all of them");

/* Five registers hold a number for each class: three permutations, where a gather would be 16
 * loads. */
INLINE real r_by_class(const float *x, whole class)
{
    const real low = _mm512_permutex2var_ps(r_load(x), class, r_load(x + 16));
    const real middle = _mm512_permutex2var_ps(r_load(x + 32), class, r_load(x + 48));
    const mask is_middle = _mm512_test_epi32_mask(class, w_set(32));
    const mask is_high = _mm512_test_epi32_mask(class, w_set(64));

    return _mm512_mask_permutexvar_ps(_mm512_mask_mov_ps(low, is_middle, middle), is_high,
                                      class, r_load(x + 64));
}

INLINE real r_of(whole w)
{
    return _mm512_cvtepi32_ps(w);
}

INLINE real r_add(real a, real b)
{
    return _mm512_add_ps(a, b);
}

INLINE real r_sub(real a, real b)
{
    return _mm512_sub_ps(a, b);
}

INLINE real r_mul(real a, real b)
{
    return _mm512_mul_ps(a, b);
}

INLINE real r_min(real a, real b)
{
    return _mm512_min_ps(a, b);
}

INLINE real r_max(real a, real b)
{
    return _mm512_max_ps(a, b);
}

INLINE real r_abs(real x)
{
    return _mm512_abs_ps(x);
}

INLINE real r_floor(real x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

INLINE real r_sign(real size, real s)
{
    return _mm512_or_ps(size, _mm512_and_ps(s, r_set(-0.0f)));
}

INLINE real r_turn(real x, whole odd)
{
    return _mm512_xor_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(odd, 31)));
}

INLINE mask r_less(real a, real b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

INLINE real r_pick(mask m, real a, real b)
{
    return _mm512_mask_mov_ps(b, m, a);
}

INLINE real r_number(real x)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, x, _CMP_ORD_Q), x);
}

#include "engine/kern/kern_trellis_lanes.h"

void kern_klt_quantize_avx512(const kern_classes *c, const float *u, const float *inverse,
                              const kern_prices *prices, int16_t *q)
{
    for (size_t t = 0; t < c->B; t += KERN_LANES) lanes_quantize(c, u, inverse, prices, q, t);
}

void kern_klt_dequantize_avx512(const kern_classes *c, const int16_t *q, const float *bias,
                                const float *step, float *out)
{
    for (size_t t = 0; t < c->B; t += KERN_LANES) lanes_dequantize(c, q, bias, step, out, t);
}

#else
typedef int kern_avx512_trellis_is_for_x86_64;
#endif
