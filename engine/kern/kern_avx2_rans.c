/* kern_avx2_rans.c - twins of kern_rans.c for AVX2: 16 states are two registers of 8.
 *
 * A step waits for a gather, a product and a comparison, one after the other; two registers
 * keep the core busy meanwhile, and the first one's words have to be known before the second
 * one's can be found. There is no expanding load, so a table of 256 permutations deals the
 * next words out to the lanes that take one. */
#if defined(__x86_64__)

#include "engine/kern/kern_rans.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* Byte j of DEAL(m): how many lanes below j take a word, lanes by the bits of m. */
#define ONES      UINT64_C(0x0101010101010100)
#define BIT(m, i) (((m) >> (i)&1) * (ONES << 8 * (i)))
#define DEAL(m) \
    (BIT(m, 0) + BIT(m, 1) + BIT(m, 2) + BIT(m, 3) + BIT(m, 4) + BIT(m, 5) + BIT(m, 6))
#define DEAL4(m)  DEAL(m), DEAL((m) + 1), DEAL((m) + 2), DEAL((m) + 3)
#define DEAL16(m) DEAL4(m), DEAL4((m) + 4), DEAL4((m) + 8), DEAL4((m) + 12)
#define DEAL64(m) DEAL16(m), DEAL16((m) + 16), DEAL16((m) + 32), DEAL16((m) + 48)
static const uint64_t deal[256] = {DEAL64(0), DEAL64(64), DEAL64(128), DEAL64(192)};

INLINE __m256i class8(int row, const int8_t *column)
{
    const __m256i c = _mm256_add_epi32(
        _mm256_set1_epi32(row),
        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)column)));

    return _mm256_min_epi32(_mm256_max_epi32(c, _mm256_setzero_si256()),
                            _mm256_set1_epi32(KERN_CLASSES - 1));
}

/* From the last table on, classes share four tables by their lowest bits: 36 + class % 4. */
INLINE __m256i table8(__m256i c)
{
    const __m256i shared = _mm256_or_si256(_mm256_and_si256(c, _mm256_set1_epi32(3)),
                                           _mm256_set1_epi32(36));

    return _mm256_blendv_epi8(c, shared,
                              _mm256_cmpgt_epi32(c, _mm256_set1_epi32(KERN_TABLES - 1)));
}

INLINE __m256i shift8(__m256i c)
{
    return _mm256_srli_epi32(
        _mm256_max_epi32(_mm256_sub_epi32(c, _mm256_set1_epi32(28)), _mm256_setzero_si256()),
        2);
}

/* 2^shift / 2, and 0 without a shift: a one that is shifted out again. */
INLINE __m256i half8(__m256i shift)
{
    return _mm256_srli_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), shift), 1);
}

/* 16-bit numbers from the lowest halves of 16 lanes. */
INLINE void store16(int16_t *q, __m256i low, __m256i high)
{
    _mm256_storeu_si256((__m256i *)(void *)q,
                        _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8));
}

INLINE __m256i load8(const int16_t *q)
{
    return _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(const void *)q));
}

/* Eight words, zeros past the end, whose last ones are copied: a stream may end at a page that
 * is not mapped behind it. */
INLINE __m128i next_words(const kern_rans_stream *s)
{
    uint16_t last[8] = {0};

    if (s->n_words >= 8) return _mm_loadu_si128((const __m128i *)(const void *)s->words);
    if (s->n_words) memcpy(last, s->words, 2 * s->n_words);
    return _mm_loadu_si128((const __m128i *)(const void *)last);
}

/* A word for each lane of `may` that is below 2^16. */
INLINE __m256i refill8(kern_rans_stream *s, __m256i x, __m256i may)
{
    const __m256i below = _mm256_cmpeq_epi32(_mm256_srli_epi32(x, 16), _mm256_setzero_si256());
    const __m256i take = _mm256_and_si256(below, may);
    const unsigned lanes = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(take));
    const size_t n = (size_t)_mm_popcnt_u32(lanes);
    const __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)deal[lanes]));
    const __m256i words = _mm256_permutevar8x32_epi32(_mm256_cvtepu16_epi32(next_words(s)),
                                                      order);
    const size_t taken = n < s->n_words ? n : s->n_words;

    s->words += 2 * taken;
    s->n_words -= taken;
    return _mm256_blendv_epi8(x, _mm256_or_si256(_mm256_slli_epi32(x, 16), words), take);
}

/* One step of 8 states. */
typedef struct eight {
    __m256i class, hi;
} eight;

INLINE __m256i decode8(const uint32_t *slots, __m256i x, eight *e)
{
    const __m256i low = _mm256_set1_epi32(0xfff);
    const __m256i at = _mm256_or_si256(_mm256_slli_epi32(table8(e->class), KERN_RANS_BITS),
                                       _mm256_and_si256(x, _mm256_set1_epi32(KERN_RANS_MASK)));
    const __m256i slot = _mm256_i32gather_epi32((const int *)(const void *)slots, at, 4);
    const __m256i freq = _mm256_and_si256(_mm256_srli_epi32(slot, 12), low);

    e->hi = _mm256_srai_epi32(slot, 24);
    return _mm256_add_epi32(_mm256_mullo_epi32(freq, _mm256_srli_epi32(x, KERN_RANS_BITS)),
                            _mm256_and_si256(slot, low));
}

/* How many raw bits follow each symbol. */
INLINE __m256i width8(eight e)
{
    return _mm256_blendv_epi8(shift8(e.class), _mm256_set1_epi32(KERN_ESCAPE_BITS),
                              _mm256_cmpeq_epi32(e.hi, _mm256_set1_epi32(KERN_ESCAPE)));
}

/* hi becomes q: its raw bits are taken out of x. */
INLINE __m256i raw8(__m256i x, __m256i width, eight *e)
{
    const __m256i shift = shift8(e->class), one = _mm256_set1_epi32(1);
    const __m256i mask = _mm256_sub_epi32(_mm256_sllv_epi32(one, width), one);
    const __m256i raw = _mm256_and_si256(x, mask);
    const __m256i q = _mm256_sub_epi32(_mm256_add_epi32(_mm256_sllv_epi32(e->hi, shift), raw),
                                       half8(shift));
    const __m256i escape = _mm256_cmpeq_epi32(e->hi, _mm256_set1_epi32(KERN_ESCAPE));

    /* only the lowest 16 bits count, and packs would saturate others */
    e->hi = _mm256_srai_epi32(_mm256_slli_epi32(_mm256_blendv_epi8(q, raw, escape), 16), 16);
    return _mm256_srlv_epi32(x, width);
}

INLINE void decode_row(kern_rans_stream *s, const uint32_t *slots, const kern_classes *c,
                       size_t i, __m256i x[2], int16_t *q)
{
    const __m256i all = _mm256_set1_epi32(-1), zero = _mm256_setzero_si256();

    for (size_t t = 0; t < c->B; t += KERN_RANS_LANES) {
        eight a = {.class = class8(c->row[i], c->column + t)},
              b = {.class = class8(c->row[i], c->column + t + 8)};
        __m256i wa, wb;

        x[0] = decode8(slots, x[0], &a);
        x[1] = decode8(slots, x[1], &b);
        x[0] = refill8(s, x[0], all);
        x[1] = refill8(s, x[1], all);
        wa = width8(a);
        wb = width8(b);
        if (!_mm256_testz_si256(_mm256_or_si256(wa, wb), _mm256_or_si256(wa, wb))) {
            x[0] = raw8(x[0], wa, &a);
            x[1] = raw8(x[1], wb, &b);
            x[0] = refill8(s, x[0], _mm256_cmpgt_epi32(wa, zero));
            x[1] = refill8(s, x[1], _mm256_cmpgt_epi32(wb, zero));
        }
        store16(q + t, a.hi, b.hi);
    }
}

void kern_rans_decode_avx2(const kern_classes *c, const uint32_t *slots, const uint8_t *bytes,
                           size_t n, int16_t *q)
{
    kern_rans_stream s;
    __m256i x[2];

    kern_rans_start(&s, bytes, n, c->n);
    memcpy(x, s.x, sizeof x);
    for (size_t i = s.alone; i < c->n; i++) decode_row(&s, slots, c, i, x, q + i * c->B);
    memcpy(s.x, x, sizeof x);
    kern_rans_alone(c, slots, &s, q);
}

/* The costs of 8 tokens. A negative column is large as an unsigned number. */
INLINE __m256i cost8(const kern_classes *c, const uint32_t *costs, size_t i, size_t t,
                     const int16_t *q)
{
    const __m256i class = class8(c->row[i], c->column + t), shift = shift8(class);
    const __m256i hi = _mm256_srav_epi32(_mm256_add_epi32(load8(q + t), half8(shift)), shift);
    const __m256i symbol = _mm256_min_epu32(_mm256_add_epi32(hi, _mm256_set1_epi32(16)),
                                            _mm256_set1_epi32(KERN_SYMBOLS - 1));
    const __m256i at = _mm256_add_epi32(
        _mm256_mullo_epi32(class, _mm256_set1_epi32(KERN_SYMBOLS)), symbol);

    return _mm256_i32gather_epi32((const int *)(const void *)costs, at, 4);
}

/* States give words one after the other, and there is no instruction that closes their ranks.
 */
size_t kern_rans_encode_avx2(const kern_classes *c, const uint32_t *codes, const int16_t *q,
                             size_t from, uint32_t *x, uint8_t *out, size_t room)
{
    return kern_rans_encode_ref(c, codes, q, from, x, out, room);
}

uint64_t kern_rans_cost_avx2(const kern_classes *c, const uint32_t *costs, const int16_t *q)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < c->n; i++, q += c->B) {
        __m256i row = _mm256_setzero_si256();
        uint32_t lane[8];

        for (size_t t = 0; t < c->B; t += 8)
            row = _mm256_add_epi32(row, cost8(c, costs, i, t, q));
        _mm256_storeu_si256((__m256i *)(void *)lane, row);
        for (int j = 0; j < 8; j++) sum += lane[j];
    }
    return sum;
}

#else
typedef int kern_avx2_rans_is_for_x86_64;
#endif
