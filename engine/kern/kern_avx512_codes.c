/* kern_avx512_codes.c - twins of kern_codes.c for AVX-512: 64 codes or 16 values a step,
 * what is left of a row masked. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "engine/kern/kern.h"
#include "engine/kern/kern_codes.h"

#define INLINE static inline __attribute__((always_inline))

/* Lanes or bytes below n. */
INLINE __mmask16 below16(size_t n)
{
    return n < 16 ? (__mmask16)((1u << n) - 1) : (__mmask16)0xffff;
}

INLINE __mmask64 below64(size_t n)
{
    return n < 64 ? ((__mmask64)1 << n) - 1 : ~(__mmask64)0;
}

/* Bytes of n codes, at most 64 of them. */
INLINE size_t bytes64(size_t n, int bits)
{
    return (n < 64 ? (n + 7) / 8 : 8) * (size_t)bits;
}

/* 0, 1, .. 7 as 16-bit numbers in each 128-bit lane. */
INLINE __m512i eight(void)
{
    return _mm512_broadcast_i32x4(_mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7));
}

/* From eight codes in eight bytes to `bits` bytes at the bottom of each 64-bit lane: codes
 * are joined in pairs, pairs in fours, fours in eights. */
INLINE __m512i join(__m512i v, int bits)
{
    const __m128i one = _mm_cvtsi32_si128(bits), two = _mm_cvtsi32_si128(2 * bits),
                  four = _mm_cvtsi32_si128(4 * bits);

    v = _mm512_or_si512(_mm512_and_si512(v, _mm512_set1_epi16(0xff)),
                        _mm512_sll_epi16(_mm512_srli_epi16(v, 8), one));
    v = _mm512_or_si512(_mm512_and_si512(v, _mm512_set1_epi32(0xffff)),
                        _mm512_sll_epi32(_mm512_srli_epi32(v, 16), two));
    return _mm512_or_si512(_mm512_and_si512(v, _mm512_set1_epi64(0xffffffff)),
                           _mm512_sll_epi64(_mm512_srli_epi64(v, 32), four));
}

/* In a 128-bit lane: the `bits` bytes of the upper word next to those of the lower. Eight
 * codes are `bits` bytes in each 64-bit lane; two shuffles close the gaps between them:
 * first inside 128-bit lanes, where bytes may move, then between these, by words. */
INLINE __m512i close_words(int bits)
{
    const __m512i byte = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __mmask64 upper = _mm512_cmpge_epi8_mask(byte, _mm512_set1_epi8((char)bits));

    return _mm512_mask_add_epi8(byte, upper, byte, _mm512_set1_epi8((char)(8 - bits)));
}

/* Over the whole: the `bits` 16-bit words of each lane next to those of the lane before. */
INLINE __m512i close_lanes(int bits)
{
    const __m512i word = _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19,
                                          18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4,
                                          3, 2, 1, 0);
    const __m512i skip = _mm512_set1_epi16((short)(8 - bits));
    __m512i from = word;

    for (int lane = 1; lane < 4; lane++) {
        const __m512i start = _mm512_set1_epi16((short)(lane * bits));

        from = _mm512_mask_add_epi16(from, _mm512_cmpge_epi16_mask(word, start), from, skip);
    }
    return from;
}

void kern_pack_codes_avx512(const uint8_t *values, size_t n, int bits, uint8_t *codes)
{
    const __m512i words = close_words(bits), lanes = close_lanes(bits);

    for (size_t i = 0; i < n; i += 64, codes += 8 * bits) {
        const __m512i v = join(_mm512_maskz_loadu_epi8(below64(n - i), values + i), bits);

        _mm512_mask_storeu_epi8(codes, below64(bytes64(n - i, bits)),
                                _mm512_permutexvar_epi16(lanes, _mm512_shuffle_epi8(v, words)));
    }
}

/* How to cut 8 of 16 codes out of a lane, into 16 bits each. */
typedef struct cut {
    __m512i bytes; /* shuffle: the two bytes that hold a code */
    __m512i shift; /* of its lowest bit */
} cut;

/* Codes 0, 2, .. 14 (odd = 0) or 1, 3, .. 15 (odd = 1). A code lies in two neighbouring
 * bytes at most, since none is wider than 8 bits. */
INLINE cut make_cut(int bits, int odd)
{
    const __m512i number = _mm512_add_epi16(_mm512_slli_epi16(eight(), 1),
                                            _mm512_set1_epi16((short)odd));
    const __m512i start = _mm512_mullo_epi16(number, _mm512_set1_epi16((short)bits));
    const __m512i pair = _mm512_mullo_epi16(_mm512_srli_epi16(start, 3),
                                            _mm512_set1_epi16(0x0101));

    return (cut){_mm512_add_epi16(pair, _mm512_set1_epi16(0x0100)),
                 _mm512_and_si512(start, _mm512_set1_epi16(7))};
}

INLINE __m512i apply_cut(__m512i v, cut c, __m512i mask)
{
    return _mm512_and_si512(_mm512_srlv_epi16(_mm512_shuffle_epi8(v, c.bytes), c.shift), mask);
}

void kern_unpack_codes_avx512(const uint8_t *codes, size_t n, int bits, uint8_t *values)
{
    const cut even = make_cut(bits, 0), odd = make_cut(bits, 1);
    const __m512i mask = _mm512_set1_epi16((short)((1 << bits) - 1));
    const int64_t ones = 0x0001000100010001;
    const __m512i lane = _mm512_set_epi64(3 * ones, 3 * ones, 2 * ones, 2 * ones, ones, ones, 0,
                                          0);
    const __m512i start = _mm512_mullo_epi16(lane, _mm512_set1_epi16((short)bits));
    const __m512i words = _mm512_add_epi16(start, eight()); /* where a lane's 16 codes lie */

    for (size_t i = 0; i < n; i += 64, codes += 8 * bits) {
        const __m512i v = _mm512_permutexvar_epi16(
            words, _mm512_maskz_loadu_epi8(below64(bytes64(n - i, bits)), codes));

        _mm512_mask_storeu_epi8(values + i, below64(n - i),
                                _mm512_or_si512(apply_cut(v, even, mask),
                                                _mm512_slli_epi16(apply_cut(v, odd, mask), 8)));
    }
}

/* min_ps(x, so_far) is x < so_far ? x : so_far: a NaN in x does not count. */
INLINE kern_minmax measure(const float *x, size_t n, int bits)
{
    __m512 least = _mm512_set1_ps(x[0]), most = least;
    float a, b;

    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 live = below16(n - i);
        const __m512 v = _mm512_mask_loadu_ps(least, live, x + i);

        least = _mm512_mask_min_ps(least, live, v, least);
        most = _mm512_mask_max_ps(most, live, v, most);
    }
    a = _mm512_reduce_min_ps(least) + 0.0f;
    b = _mm512_reduce_max_ps(most) + 0.0f;
    return (kern_minmax){_cvtss_sh(kern_minmax_step(a, b, bits), _MM_FROUND_TO_NEAREST_INT),
                         _cvtss_sh(kern_minmax_clamp(a), _MM_FROUND_TO_NEAREST_INT)};
}

INLINE void store_codes(uint8_t *values, __mmask16 live, __m512i codes)
{
    _mm_mask_storeu_epi8(values, live, _mm512_cvtepi32_epi8(codes));
}

/* Lanes past the end are masked in every load and store, so a row needs no loop for its
 * rest. */
void kern_minmax_encode_avx512(const float *x, size_t n, int bits, uint8_t *values,
                               kern_minmax *out)
{
    const __m512 last = _mm512_set1_ps((float)((1 << bits) - 1));
    __m512 scale, zero;

    *out = measure(x, n, bits);
    scale = _mm512_set1_ps(_cvtsh_ss(out->scale));
    zero = _mm512_set1_ps(_cvtsh_ss(out->zero));
    if (!(_mm512_cvtss_f32(scale) > 0)) {
        memset(values, 0, n);
        return;
    }
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 live = below16(n - i);
        const __m512 v = _mm512_maskz_loadu_ps(live, x + i);
        const __m512 q = _mm512_div_ps(_mm512_sub_ps(v, zero), scale);
        const __mmask16 held = _mm512_cmp_ps_mask(q, _mm512_set1_ps(0x1p63f), _CMP_LT_OQ);
        const __m512 within = _mm512_min_ps(_mm512_max_ps(q, _mm512_setzero_ps()), last);

        store_codes(values + i, live, _mm512_maskz_cvtps_epi32(held, within));
    }
}

INLINE __m512i load_codes(const uint8_t *values, __mmask16 live)
{
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(live, values));
}

void kern_minmax_decode_avx512(const uint8_t *values, size_t n, kern_minmax group, float *x)
{
    const __m512 scale = _mm512_set1_ps(_cvtsh_ss(group.scale)),
                 zero = _mm512_set1_ps(_cvtsh_ss(group.zero));

    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 live = below16(n - i);
        const __m512 v = _mm512_cvtepi32_ps(load_codes(values + i, live));

        _mm512_mask_storeu_ps(x + i, live, _mm512_add_ps(zero, _mm512_mul_ps(scale, v)));
    }
}

#else
typedef int kern_avx512_codes_is_for_x86_64;
#endif
