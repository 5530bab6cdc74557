/* kern_avx2_codes.c - twins of kern_codes.c for AVX2 with F16C: 32 codes or 8 values a step.
 *
 * Packing and unpacking are exact moves of bits. Shifts by a width that is only known at run
 * time are the same for all lanes (sll with a count in a register); where lanes differ, AVX2
 * has no 16-bit shift, so a product with a power of two does it. A width is an argument, not
 * eight copies of the loop: the masks are made once a call, and a call is a row of a block. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "engine/kern/kern.h"
#include "engine/kern/kern_codes.h"

#define INLINE static inline __attribute__((always_inline))

/* Packing in three steps: codes are joined in pairs, pairs in fours, fours in eights. In each
 * lane what the upper half holds moves next to the `bits` that the lower half holds. */
INLINE __m256i join16(__m256i v, __m128i bits)
{
    return _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi16(0xff)),
                           _mm256_sll_epi16(_mm256_srli_epi16(v, 8), bits));
}

INLINE __m256i join32(__m256i v, __m128i bits)
{
    return _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)),
                           _mm256_sll_epi32(_mm256_srli_epi32(v, 16), bits));
}

INLINE __m256i join64(__m256i v, __m128i bits)
{
    return _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi64x(0xffffffff)),
                           _mm256_sll_epi64(_mm256_srli_epi64(v, 32), bits));
}

/* The lowest `bits` bytes of word; up to 8 are written where they have room before end. The
 * last words of an array are written byte by byte: what lies behind it is somebody else's. */
INLINE void put_word(uint8_t *codes, const uint8_t *end, uint64_t word, int bits)
{
    if (end - codes >= 8)
        memcpy(codes, &word, 8);
    else
        for (int j = 0; j < bits; j++) codes[j] = (uint8_t)(word >> (8 * j));
}

void kern_pack_codes_avx2(const uint8_t *values, size_t n, int bits, uint8_t *codes)
{
    const __m128i one = _mm_cvtsi32_si128(bits), two = _mm_cvtsi32_si128(2 * bits),
                  four = _mm_cvtsi32_si128(4 * bits);
    const uint8_t *end = codes + (n + 7) / 8 * (size_t)bits;
    size_t i = 0;

    for (; i + 32 <= n; i += 32) { /* each word's spill is overwritten by the next */
        const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(values + i));
        uint64_t word[4];

        _mm256_storeu_si256((__m256i *)(void *)word, join64(join32(join16(v, one), two), four));
        for (int j = 0; j < 4; j++, codes += bits) put_word(codes, end, word[j], bits);
    }
    kern_pack_codes_ref(values + i, n - i, bits, codes);
}

INLINE int32_t load_word(const uint8_t *codes)
{
    int32_t word;

    memcpy(&word, codes, sizeof word);
    return word;
}

/* 32 codes, 4*bits bytes and no byte more: lane 0 starts with the first 16 codes, lane 1 has
 * the others from byte second_half(bits) on. */
INLINE __m256i load32(const uint8_t *codes, int bits)
{
    if (bits >= 4)
        return _mm256_loadu2_m128i((const __m128i *)(const void *)(codes + 4 * bits - 16),
                                   (const __m128i *)(const void *)codes);
    return _mm256_broadcastsi128_si256(_mm_setr_epi32(load_word(codes),
                                                      bits > 1 ? load_word(codes + 4) : 0,
                                                      bits > 2 ? load_word(codes + 8) : 0, 0));
}

/* Both loads end or begin inside the 4 * bits bytes that are there, so they overlap, and
 * lane 1 has its codes further on. */
INLINE int second_half(int bits)
{
    return bits >= 4 ? 16 - 2 * bits : 2 * bits;
}

/* How to cut 8 of 16 codes out of a lane, into 16 bits each. */
typedef struct cut {
    __m256i bytes;  /* shuffle: the two bytes that hold a code */
    __m256i factor; /* moves the code to the top of its 16 bits */
} cut;

/* Codes 0, 2, .. 14 (odd = 0) or 1, 3, .. 15 (odd = 1). A byte past the lane's end belongs
 * to no code: the factor drops it. */
INLINE cut make_cut(int bits, int odd)
{
    const __m256i number = _mm256_setr_epi16(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12,
                                             14);
    const __m256i start = _mm256_mullo_epi16(
        _mm256_add_epi16(number, _mm256_set1_epi16((short)odd)),
        _mm256_set1_epi16((short)bits));
    const __m256i first = _mm256_add_epi16(
        _mm256_srli_epi16(start, 3),
        _mm256_setr_m128i(_mm_setzero_si128(), _mm_set1_epi16((short)second_half(bits))));
    const __m256i powers = _mm256_set1_epi64x(0x0102040810204080); /* 2^(7-i) at byte i */
    const __m256i shift = _mm256_or_si256(_mm256_and_si256(start, _mm256_set1_epi16(7)),
                                          _mm256_set1_epi16((short)0x8000));

    return (cut){
        _mm256_add_epi16(_mm256_mullo_epi16(first, _mm256_set1_epi16(0x0101)),
                         _mm256_set1_epi16(0x0100)),
        _mm256_sll_epi16(_mm256_shuffle_epi8(powers, shift), _mm_cvtsi32_si128(9 - bits))};
}

INLINE __m256i apply_cut(__m256i v, cut c)
{
    return _mm256_mullo_epi16(_mm256_shuffle_epi8(v, c.bytes), c.factor);
}

void kern_unpack_codes_avx2(const uint8_t *codes, size_t n, int bits, uint8_t *values)
{
    const cut even = make_cut(bits, 0), odd = make_cut(bits, 1);
    const __m128i low = _mm_cvtsi32_si128(16 - bits), high = _mm_cvtsi32_si128(8 - bits);
    const __m256i upper = _mm256_set1_epi16((short)0xff00);
    size_t i = 0;

    for (; i + 32 <= n; i += 32, codes += 4 * bits) {
        const __m256i v = load32(codes, bits);
        const __m256i a = _mm256_srl_epi16(apply_cut(v, even), low);
        const __m256i b = _mm256_and_si256(_mm256_srl_epi16(apply_cut(v, odd), high), upper);

        _mm256_storeu_si256((__m256i *)(void *)(values + i), _mm256_or_si256(a, b));
    }
    kern_unpack_codes_ref(codes, n - i, bits, values + i);
}

/* x < so_far ? x : so_far, which is how min_ps treats a NaN, in every lane. */
INLINE float fold_min(__m256 v)
{
    __m128 m = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    m = _mm_min_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_min_ss(m, _mm_shuffle_ps(m, m, 1)));
}

INLINE float fold_max(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}

INLINE kern_minmax measure(const float *x, size_t n, int bits)
{
    __m256 least = _mm256_set1_ps(x[0]), most = least;
    float a, b;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_loadu_ps(x + i);

        least = _mm256_min_ps(v, least);
        most = _mm256_max_ps(v, most);
    }
    a = fold_min(least);
    b = fold_max(most);
    for (; i < n; i++) {
        a = x[i] < a ? x[i] : a;
        b = x[i] > b ? x[i] : b;
    }
    a += 0.0f;
    b += 0.0f;
    return (kern_minmax){_cvtss_sh(kern_minmax_step(a, b, bits), _MM_FROUND_TO_NEAREST_INT),
                         _cvtss_sh(kern_minmax_clamp(a), _MM_FROUND_TO_NEAREST_INT)};
}

/* kern_minmax_code of 8 values. Rounded by cvtps, nearest even, as rintf is. max(q, 0) takes
 * 0 for a NaN, since max_ps returns its second operand then. */
INLINE __m256i codes8(const float *x, __m256 zero, __m256 scale, __m256 last)
{
    const __m256 q = _mm256_div_ps(_mm256_sub_ps(_mm256_loadu_ps(x), zero), scale);
    const __m256 held = _mm256_cmp_ps(q, _mm256_set1_ps(0x1p63f), _CMP_LT_OQ);
    const __m256 within = _mm256_min_ps(_mm256_max_ps(q, _mm256_setzero_ps()), last);

    return _mm256_cvtps_epi32(_mm256_and_ps(within, held));
}

/* packs works lane by lane, so four vectors come out as 0 4 1 5 2 6 3 7 by fours; one
 * permutation a step sets that right. */
void kern_minmax_encode_avx2(const float *x, size_t n, int bits, uint8_t *values,
                             kern_minmax *out)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const float last = (float)((1 << bits) - 1);
    __m256 s, z, top;
    float scale, zero;
    size_t i = 0;

    *out = measure(x, n, bits);
    scale = _cvtsh_ss(out->scale);
    zero = _cvtsh_ss(out->zero);
    if (!(scale > 0)) {
        memset(values, 0, n);
        return;
    }
    s = _mm256_set1_ps(scale);
    z = _mm256_set1_ps(zero);
    top = _mm256_set1_ps(last);
    for (; i + 32 <= n; i += 32) {
        const __m256i a = _mm256_packs_epi32(codes8(x + i, z, s, top),
                                             codes8(x + i + 8, z, s, top));
        const __m256i b = _mm256_packs_epi32(codes8(x + i + 16, z, s, top),
                                             codes8(x + i + 24, z, s, top));

        _mm256_storeu_si256((__m256i *)(void *)(values + i),
                            _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order));
    }
    for (; i < n; i++) values[i] = kern_minmax_code(x[i], zero, scale, last);
}

INLINE __m256i load8(const uint8_t *values)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)values));
}

void kern_minmax_decode_avx2(const uint8_t *values, size_t n, kern_minmax group, float *x)
{
    const float scale = _cvtsh_ss(group.scale), zero = _cvtsh_ss(group.zero);
    const __m256 s = _mm256_set1_ps(scale), z = _mm256_set1_ps(zero);
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(
            x + i, _mm256_add_ps(z, _mm256_mul_ps(s, _mm256_cvtepi32_ps(load8(values + i)))));
    for (; i < n; i++) x[i] = zero + scale * (float)values[i];
}

#else
typedef int kern_avx2_codes_is_for_x86_64;
#endif
