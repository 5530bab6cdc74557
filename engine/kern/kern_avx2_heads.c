/* kern_avx2_heads.c - twins of what is done to heads, for AVX2: rotation, mixing, transposition
 * of keys, and keys and values in 8 bits.
 *
 * Keys are stored transposed, 16 keys of a channel side by side, because attention has a lane
 * for each key. A prompt brings 8 keys at once, which are turned in registers, 8 x 8; decoding
 * brings one, which is scattered, 2 bytes into each channel's line. */
#if defined(__x86_64__)

#include "engine/kern/kern_avx2.h"

#include "engine/kern/kern.h"

/* Pairs are neighbours: permute swaps them, and the table has -s, +s, so that one product
 * and one fmadd turn both. */
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

void kern_rotate_halves_avx2(float *x, const float *cosine, const float *sine, size_t n)
{
    const size_t half = n / 2;

    if (half % 8) { /* no model has such heads */
        kern_rotate_halves_ref(x, cosine, sine, n);
        return;
    }
    for (size_t i = 0; i < half; i += 8) {
        const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + half + i);
        const __m256 to_a = _mm256_mul_ps(b, _mm256_loadu_ps(sine + i));
        const __m256 to_b = _mm256_mul_ps(a, _mm256_loadu_ps(sine + half + i));

        _mm256_storeu_ps(x + i, _mm256_fmadd_ps(a, _mm256_loadu_ps(cosine + i), to_a));
        _mm256_storeu_ps(x + half + i,
                         _mm256_fmadd_ps(b, _mm256_loadu_ps(cosine + half + i), to_b));
    }
}

/* Two products, then their sum, as the definition has it: an fmadd would round once less. */
void kern_mix_avx2(float *y, const float *x, size_t n, float keep, float take)
{
    const __m256 k = _mm256_set1_ps(keep), t = _mm256_set1_ps(take);
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(y + i), k),
                                              _mm256_mul_ps(_mm256_loadu_ps(x + i), t)));
    kern_mix_ref(y + i, x + i, n - i, keep, take);
}

void kern_scale_avx2(float *y, const float *by, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(by + i)));
    kern_scale_ref(y + i, by + i, n - i);
}

void kern_klt_predict_avx2(float *x, const float *slope, const float *change, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 a = _mm256_loadu_ps(x + i);
        const __m256 product = _mm256_mul_ps(a, _mm256_loadu_ps(slope + i));

        _mm256_storeu_ps(x + i,
                         _mm256_add_ps(a, _mm256_add_ps(product, _mm256_loadu_ps(change + i))));
    }
    kern_klt_predict_ref(x + i, slope + i, change + i, n - i);
}

/* Unpack, shuffle, swap lanes: three rounds of 8 instructions, none of which waits for
 * memory. */
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

INLINE __m128i halves8(const float *x)
{
    return _mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT);
}

/* One key, as decoding brings it. */
INLINE void scatter_halves(const float *x, size_t width8, uint16_t *y, size_t y_stride)
{
    for (size_t c = 0; c < width8; c += 8) {
        uint16_t h[8];

        _mm_storeu_si128((__m128i *)(void *)h, halves8(x + c));
        for (size_t i = 0; i < 8; i++) y[(c + i) * y_stride] = h[i];
    }
}

void kern_transpose_half_avx2(const float *x, size_t stride, size_t n, size_t width,
                              uint16_t *y, size_t y_stride)
{
    const size_t n8 = n / 8 * 8, width8 = width / 8 * 8;
    float turned[64];

    for (size_t j = 0; j < n8; j += 8)
        for (size_t c = 0; c < width8; c += 8) {
            transpose8(x + j * stride + c, stride, turned, 8);
            for (size_t i = 0; i < 8; i++)
                _mm_storeu_si128((__m128i *)(void *)(y + (c + i) * y_stride + j),
                                 halves8(turned + i * 8));
        }
    for (size_t j = n8; j < n; j++) scatter_halves(x + j * stride, width8, y + j, y_stride);
    kern_transpose_half_ref(x + width8, stride, n, width - width8, y + width8 * y_stride,
                            y_stride);
}

/* Steps of 8 tops as halves; returns their reciprocals, 0 for 0. A reciprocal by division,
 * exact to the last bit; rcp_ps differs between makers of CPUs. */
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

/* Clamped before the conversion: a step that is a subnormal half may be too short, and packs
 * would saturate at -128, which is no code. */
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
typedef int kern_avx2_heads_is_for_x86_64;
#endif
