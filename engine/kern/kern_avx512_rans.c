/* kern_avx512_rans.c - twins of kern_rans.c for AVX-512: all 16 states in one register.
 *
 * Expanding deals words out to the lanes that take one, and a load is masked to what the stream
 * still holds, so its last bytes need no copy. A step waits for a gather, a product, and the
 * number of words taken, one after the other: nothing else counts, and what does not depend on
 * x (the class) is free. */
#if defined(__x86_64__)

#include "engine/kern/kern_rans.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m512i class16(int row, const int8_t *column)
{
    const __m512i c = _mm512_add_epi32(
        _mm512_set1_epi32(row),
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)column)));

    return _mm512_min_epi32(_mm512_max_epi32(c, _mm512_setzero_si512()),
                            _mm512_set1_epi32(KERN_CLASSES - 1));
}

/* (c & 3) | 36 where c is past the last table: a ternary of the bits of c, 3 and 36. */
INLINE __m512i table16(__m512i c)
{
    const __mmask16 shared = _mm512_cmpgt_epi32_mask(c, _mm512_set1_epi32(KERN_TABLES - 1));

    return _mm512_mask_ternarylogic_epi32(c, shared, _mm512_set1_epi32(3),
                                          _mm512_set1_epi32(36), 0xea);
}

INLINE __m512i shift16(__m512i c)
{
    return _mm512_srli_epi32(
        _mm512_max_epi32(_mm512_sub_epi32(c, _mm512_set1_epi32(28)), _mm512_setzero_si512()),
        2);
}

/* 2^shift / 2, and 0 without a shift: a one that is shifted out again. */
INLINE __m512i half16(__m512i shift)
{
    return _mm512_srli_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(1), shift), 1);
}

/* The lowest halves of 16 lanes. */
INLINE void store16(int16_t *q, __m512i v)
{
    _mm256_storeu_si256((__m256i *)(void *)q, _mm512_cvtepi32_epi16(v));
}

INLINE __m512i load16(const int16_t *q)
{
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)q));
}

/* 16 words, zeros past the end. Masked lanes are not touched, so a stream may end at a page
 * that is not mapped behind it. */
INLINE __m512i next_words(const kern_rans_stream *s)
{
    const __mmask16 live = s->n_words < 16 ? (__mmask16)((1u << s->n_words) - 1) : 0xffff;

    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(live, s->words));
}

/* A word for each lane of `may` that is below 2^16. */
INLINE __m512i refill16(kern_rans_stream *s, __m512i x, __mmask16 may)
{
    const __mmask16 take = _mm512_mask_cmplt_epu32_mask(may, x,
                                                        _mm512_set1_epi32(KERN_RANS_LOW));
    const __m512i words = _mm512_maskz_expand_epi32(take, next_words(s));
    const size_t n = (size_t)__builtin_popcount(take);
    const size_t taken = n < s->n_words ? n : s->n_words;

    s->words += 2 * taken;
    s->n_words -= taken;
    return _mm512_mask_or_epi32(x, take, _mm512_slli_epi32(x, 16), words);
}

INLINE __m512i decode16(const uint32_t *slots, __m512i x, __m512i class, __m512i *hi)
{
    const __m512i low = _mm512_set1_epi32(0xfff);
    const __m512i at = _mm512_or_si512(_mm512_slli_epi32(table16(class), KERN_RANS_BITS),
                                       _mm512_and_si512(x, _mm512_set1_epi32(KERN_RANS_MASK)));
    const __m512i slot = _mm512_i32gather_epi32(at, slots, 4);
    const __m512i freq = _mm512_and_si512(_mm512_srli_epi32(slot, 12), low);

    *hi = _mm512_srai_epi32(slot, 24);
    return _mm512_add_epi32(_mm512_mullo_epi32(freq, _mm512_srli_epi32(x, KERN_RANS_BITS)),
                            _mm512_and_si512(slot, low));
}

/* The raw bits of 16 symbols, where there are any: *hi becomes q. */
INLINE __m512i raw16(kern_rans_stream *s, __m512i x, __m512i class, __m512i *hi)
{
    const __m512i shift = shift16(class), one = _mm512_set1_epi32(1);
    const __mmask16 escape = _mm512_cmpeq_epi32_mask(*hi, _mm512_set1_epi32(KERN_ESCAPE));
    const __m512i width = _mm512_mask_mov_epi32(shift, escape,
                                                _mm512_set1_epi32(KERN_ESCAPE_BITS));
    const __mmask16 some = _mm512_test_epi32_mask(width, width);
    __m512i raw;

    if (!some) return x; /* most groups: a branch that predicts well skips 12 instructions */
    raw = _mm512_and_si512(x, _mm512_sub_epi32(_mm512_sllv_epi32(one, width), one));
    *hi = _mm512_sub_epi32(_mm512_add_epi32(_mm512_sllv_epi32(*hi, shift), raw), half16(shift));
    *hi = _mm512_mask_mov_epi32(*hi, escape, raw);
    return refill16(s, _mm512_srlv_epi32(x, width), some);
}

void kern_rans_decode_avx512(const kern_classes *c, const uint32_t *slots, const uint8_t *bytes,
                             size_t n, int16_t *q)
{
    kern_rans_stream s;
    __m512i x;

    kern_rans_start(&s, bytes, n, c->n);
    x = _mm512_loadu_si512(s.x);
    for (size_t i = s.alone; i < c->n; i++)
        for (size_t t = 0; t < c->B; t += KERN_RANS_LANES) {
            const __m512i class = class16(c->row[i], c->column + t);
            __m512i hi;

            x = decode16(slots, x, class, &hi);
            x = refill16(&s, x, 0xffff);
            x = raw16(&s, x, class, &hi);
            store16(q + i * c->B + t, hi);
        }
    _mm512_storeu_si512(s.x, x);
    kern_rans_alone(c, slots, &s, q);
}

/* --- encoding --- */

/* The lowest halves of lanes that are not below their limit, in front of the others. A vector
 * of room is written to at once, as long as there is one. */
INLINE __m512i give_words(kern_rans_words *w, __m512i x, __mmask16 over)
{
    const size_t n = 2 * (size_t)__builtin_popcount(over);
    const __m256i words = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(over, x));

    if (n > w->at) {
        w->full = 1;
        return x;
    }
    w->at -= n;
    _mm256_mask_storeu_epi16(w->out + w->at, (__mmask16)((1u << n / 2) - 1), words);
    return _mm512_mask_srli_epi32(x, over, x, 16);
}

/* Raw bits of lanes that have some. */
INLINE __m512i push_raw16(kern_rans_words *w, __m512i x, __m512i code, __m512i shift, __m512i q)
{
    const __m512i one = _mm512_set1_epi32(1);
    const __mmask16 escape = _mm512_movepi32_mask(code);
    const __m512i width = _mm512_mask_mov_epi32(shift, escape,
                                                _mm512_set1_epi32(KERN_ESCAPE_BITS));
    const __m512i half = _mm512_maskz_mov_epi32((__mmask16)~escape, half16(shift));
    const __mmask16 some = _mm512_test_epi32_mask(width, width);
    __m512i raw;

    if (!some) return x;
    /* what a step of `width` bits would push out at the top */
    raw = _mm512_and_si512(_mm512_add_epi32(q, half),
                           _mm512_sub_epi32(_mm512_sllv_epi32(one, width), one));
    x = give_words(
        w, x,
        _mm512_mask_cmpge_epu32_mask(
            some, x, _mm512_sllv_epi32(one, _mm512_sub_epi32(_mm512_set1_epi32(32), width))));
    return _mm512_or_si512(_mm512_sllv_epi32(x, width), raw);
}

/* x / freq of x below freq << 21. In floats it is right but for one either way: x, its quotient
 * and rounding are each off by 2^-24 of it at most, and it is less than 2^21. */
INLINE __m512i divide16(__m512i x, __m512i freq, __m512i *rest)
{
    const __m512 by = _mm512_cvtepi32_ps(freq);
    __m512i at = _mm512_cvttps_epi32(_mm512_div_ps(_mm512_cvtepu32_ps(x), by));
    __m512i left = _mm512_sub_epi32(x, _mm512_mullo_epi32(at, freq));
    const __mmask16 high = _mm512_movepi32_mask(left);
    __mmask16 low;

    at = _mm512_mask_sub_epi32(at, high, at, _mm512_set1_epi32(1));
    left = _mm512_mask_add_epi32(left, high, left, freq);
    low = _mm512_cmpge_epi32_mask(left, freq);
    *rest = _mm512_mask_sub_epi32(left, low, left, freq);
    return _mm512_mask_add_epi32(at, low, at, _mm512_set1_epi32(1));
}

INLINE __m512i push_symbol16(kern_rans_words *w, __m512i x, __m512i code)
{
    const __m512i freq = _mm512_and_si512(code, _mm512_set1_epi32(0xfff));
    const __m512i start = _mm512_and_si512(_mm512_srli_epi32(code, 12),
                                           _mm512_set1_epi32(KERN_RANS_MASK));
    /* less 1, so that the limit of all of a table, 2^32, is a number */
    const __m512i most = _mm512_sub_epi32(_mm512_slli_epi32(freq, 32 - KERN_RANS_BITS),
                                          _mm512_set1_epi32(1));
    __m512i at, rest;

    x = give_words(w, x, _mm512_cmpgt_epu32_mask(x, most));
    at = divide16(x, freq, &rest);
    return _mm512_add_epi32(_mm512_slli_epi32(at, KERN_RANS_BITS),
                            _mm512_add_epi32(rest, start));
}

INLINE __m512i encode16(kern_rans_words *w, const kern_classes *c, const uint32_t *codes,
                        const int16_t *from, size_t i, size_t t, __m512i x)
{
    const __m512i class = class16(c->row[i], c->column + t), shift = shift16(class);
    const __m512i q = load16(from);
    const __m512i hi = _mm512_srav_epi32(_mm512_add_epi32(q, half16(shift)), shift);
    const __m512i symbol = _mm512_min_epu32(_mm512_add_epi32(hi, _mm512_set1_epi32(16)),
                                            _mm512_set1_epi32(KERN_SYMBOLS - 1));
    const __m512i at = _mm512_add_epi32(
        _mm512_mullo_epi32(class, _mm512_set1_epi32(KERN_SYMBOLS)), symbol);
    const __m512i code = _mm512_i32gather_epi32(at, codes, 4);

    return push_symbol16(w, push_raw16(w, x, code, shift, q), code);
}

size_t kern_rans_encode_avx512(const kern_classes *c, const uint32_t *codes, const int16_t *q,
                               size_t from, uint32_t *states, uint8_t *out, size_t room)
{
    kern_rans_words w = {.out = out, .at = room};
    __m512i x = _mm512_loadu_si512(states);

    for (size_t i = c->n; i > from && !w.full; i--)
        for (size_t t = c->B; t > 0; t -= 16)
            x = encode16(&w, c, codes, q + (i - 1) * c->B + t - 16, i - 1, t - 16, x);
    _mm512_storeu_si512(states, x);
    return w.full ? KERN_RANS_FULL : w.at;
}

/* The costs of 16 tokens. A negative column is large as an unsigned number. */
INLINE __m512i cost16(const kern_classes *c, const uint32_t *costs, size_t i, size_t t,
                      const int16_t *q)
{
    const __m512i class = class16(c->row[i], c->column + t), shift = shift16(class);
    const __m512i hi = _mm512_srav_epi32(_mm512_add_epi32(load16(q + t), half16(shift)), shift);
    const __m512i symbol = _mm512_min_epu32(_mm512_add_epi32(hi, _mm512_set1_epi32(16)),
                                            _mm512_set1_epi32(KERN_SYMBOLS - 1));
    const __m512i at = _mm512_add_epi32(
        _mm512_mullo_epi32(class, _mm512_set1_epi32(KERN_SYMBOLS)), symbol);

    return _mm512_i32gather_epi32(at, costs, 4);
}

uint64_t kern_rans_cost_avx512(const kern_classes *c, const uint32_t *costs, const int16_t *q)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < c->n; i++, q += c->B) {
        __m512i row = _mm512_setzero_si512();

        for (size_t t = 0; t < c->B; t += 16)
            row = _mm512_add_epi32(row, cost16(c, costs, i, t, q));
        sum += (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(
            _mm512_and_si512(row, _mm512_set1_epi64(0xffffffff)), _mm512_srli_epi64(row, 32)));
    }
    return sum;
}

#else
typedef int kern_avx512_rans_is_for_x86_64;
#endif
