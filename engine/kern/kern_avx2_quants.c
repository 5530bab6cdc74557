/* kern_avx2_quants.c - twins of kern_quants.c for AVX2 with FMA and F16C: a vector is 8 outputs
 * of 4 columns, half h of a panel at a time.
 *
 * Registers (16): of 4 rows a sum of pairs and one of 32 bits for the group, one of the block
 * and one of its minima: 16, with the unpacked codes and their mask beside them, so some of
 * them go to the stack between groups. Half a panel at a time, since a whole one would have
 * twice as many.
 *
 * maddubs multiplies unsigned codes by signed ones of x and adds pairs in 16 bits, which
 * saturate: every bound below is one on that, and where codes are wide pairs go to 32 bits
 * early. All of it is exact, and the floats follow in the definition's order, so twins agree to
 * the bit.
 *
 * A type is a kern_form that the compiler knows: always_inline makes ten functions of one, each
 * with its shifts as constants and without what its type has not. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "engine/kern/kern_quants.h"

#define INLINE static inline __attribute__((always_inline))

enum { MOST = 4 }; /* rows at once */

/* A panel of which one half is multiplied. */
typedef struct work {
    const kern_panel *p;
    size_t t;       /* first row */
    int rows, half; /* of the panel: outputs 8 half .. */
} work;

/* The bits of vector k in a plane of b bits, moved to bit `to` of each byte. There is no
 * shift of bytes: 16-bit lanes are shifted, and the mask drops what came over from the
 * neighbour. */
INLINE __m256i plane_bits(const uint8_t *w, int b, int k, int to)
{
    const int from = k / b * b;
    const __m256i raw = _mm256_load_si256(
        (const __m256i *)(const void *)(w + k % b * KERN_VECTOR));
    const __m256i mask = _mm256_set1_epi8((char)(((1 << b) - 1) << to));

    if (from >= to) return _mm256_and_si256(_mm256_srli_epi16(raw, from - to), mask);
    return _mm256_and_si256(_mm256_slli_epi16(raw, to - from), mask);
}

/* Vector k of a group: unsigned codes, or signed levels. */
INLINE __m256i unpack(const uint8_t *w, kern_form f, int k)
{
    __m256i v = _mm256_setzero_si256();
    int to = 0;

    for (int b = 4; b; b /= 2) {
        if (!(f.bits & b)) continue;
        v = _mm256_or_si256(v, plane_bits(w, b, k, to));
        to += b;
        w += b * KERN_VECTOR;
    }
    if (f.levels)
        v = _mm256_shuffle_epi8(
            _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)kern_levels)), v);
    return v;
}

INLINE __m256i four_codes(const kern_panel *p, size_t t, size_t k)
{
    int32_t four;

    memcpy(&four, p->q + t * p->D + k, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Both halves' sums, as pairs of 16 bits for madd: -zero times them takes the zero off a
 * whole group in one instruction. */
INLINE __m256i both_sums(const kern_panel *p, size_t t, size_t g)
{
    int32_t both;

    memcpy(&both, &p->q_sum[t * (p->D / KERN_GROUP) + g], sizeof both);
    return _mm256_set1_epi32(both);
}

/* Pairs of products of codes, 16 bits each. Signs move to the codes of x where levels have
 * them: |level| <= 127, so that nothing saturates. */
INLINE __m256i multiply_pairs(__m256i v, __m256i q, kern_form f)
{
    if (!f.levels) return _mm256_maddubs_epi16(v, q);
    return _mm256_maddubs_epi16(_mm256_abs_epi8(v), _mm256_sign_epi8(q, v));
}

/* Vectors whose pairs can be added in 16 bits: each is 2 * 127 * (2^bits - 1) at most. */
INLINE int vectors_held(kern_form f)
{
    return f.levels ? 1 : (f.bits == 6 ? 2 : 4);
}

/* part[r] = the exact sums over half h of a group. */
INLINE void dot_half(const work *o, kern_form f, size_t g, int h, const uint8_t *w,
                     __m256i *part)
{
    const int held = vectors_held(f);
    __m256i pairs[MOST];

    for (int r = 0; r < o->rows; r++) part[r] = pairs[r] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* unrolled, so that shifts are constants */
        const int k = 4 * h + i;
        const __m256i v = unpack(w, f, k);

        for (int r = 0; r < o->rows; r++) {
            const __m256i q = four_codes(o->p, o->t + (size_t)r,
                                         g * KERN_GROUP + 4 * (size_t)k);

            pairs[r] = _mm256_add_epi16(pairs[r], multiply_pairs(v, q, f));
            if ((i + 1) % held) continue;
            part[r] = _mm256_add_epi32(part[r],
                                       _mm256_madd_epi16(pairs[r], _mm256_set1_epi16(1)));
            pairs[r] = _mm256_setzero_si256();
        }
    }
}

/* A group's integer scales as pairs of 16 bits: of both halves. */
INLINE __m256i scale_pairs(const uint8_t *scales, kern_form f, int half)
{
    return _mm256_cvtepi8_epi16(
        _mm_loadu_si128((const __m128i *)(const void *)(scales + 8 * f.scales * half)));
}

INLINE __m256i scales_of(const uint8_t *scales, kern_form f, int half, int h)
{
    __m256i both;

    if (f.scales < 2)
        return _mm256_cvtepi8_epi32(
            _mm_loadl_epi64((const __m128i *)(const void *)(scales + 8 * half)));
    both = scale_pairs(scales, f, half);
    return _mm256_srai_epi32(h ? both : _mm256_slli_epi32(both, 16), 16);
}

/* dot[r] = the group's exact sum. */
INLINE void dot_group(const work *o, kern_form f, size_t g, const uint8_t *w,
                      const uint8_t *scales, __m256i *dot)
{
    __m256i less = _mm256_set1_epi16((short)-f.zero), part[2][MOST];

    if (f.scales == 2 && f.zero)
        less = _mm256_mullo_epi16(scale_pairs(scales, f, o->half), less);
    dot_half(o, f, g, 0, w, part[0]);
    dot_half(o, f, g, 1, w, part[1]);
    for (int r = 0; r < o->rows; r++) {
        if (f.scales == 2)
            for (int h = 0; h < 2; h++)
                part[h][r] = _mm256_mullo_epi32(part[h][r], scales_of(scales, f, o->half, h));
        dot[r] = _mm256_add_epi32(part[0][r], part[1][r]);
        if (f.zero)
            dot[r] = _mm256_add_epi32(
                dot[r], _mm256_madd_epi16(less, both_sums(o->p, o->t + (size_t)r, g)));
        if (f.scales == 1)
            dot[r] = _mm256_mullo_epi32(dot[r], scales_of(scales, f, o->half, 0));
    }
}

/* Minima of half h as floats. */
INLINE __m256 minima_of(const uint8_t *minima, kern_form f, int half, int h)
{
    __m256i both;

    if (!f.scales) return _mm256_set1_ps(1.0f);
    minima += 8 * f.scales * half;
    if (f.scales < 2)
        return _mm256_cvtepi32_ps(
            _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)minima)));
    both = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)minima));
    if (h) return _mm256_cvtepi32_ps(_mm256_srli_epi32(both, 16));
    return _mm256_cvtepi32_ps(_mm256_and_si256(both, _mm256_set1_epi32(0xffff)));
}

/* least[r] += minima times x's scale times its sums. */
INLINE void add_minima(const work *o, kern_form f, size_t g, const uint8_t *minima,
                       __m256 *least)
{
    const int n = f.scales == 2 ? 2 : 1;

    for (int r = 0; r < o->rows; r++) {
        const size_t at = (o->t + (size_t)r) * (o->p->D / KERN_GROUP) + g;
        const kern_sums s = o->p->q_sum[at];

        for (int h = 0; h < n; h++) {
            const int sum = n == 2 ? s.half[h] : s.half[0] + s.half[1];

            least[r] = _mm256_fmadd_ps(minima_of(minima, f, o->half, h),
                                       _mm256_set1_ps((float)sum * o->p->q_scale[at]),
                                       least[r]);
        }
    }
}

INLINE __m256 halves_of(const uint8_t *head, int i)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(head + 16 * i)));
}

/* One block into y[r]. */
INLINE void add_block(const work *o, kern_form f, size_t g, const uint8_t *head,
                      const uint8_t *w, __m256 *y)
{
    const uint8_t *scales = head + kern_halves_bytes(f);
    __m256 sum[MOST], least[MOST];

    for (int r = 0; r < o->rows; r++) sum[r] = least[r] = _mm256_setzero_ps();
    for (int i = 0; i < f.groups; i++, g++, scales += kern_step_bytes(f)) {
        __m256i dot[MOST];

        dot_group(o, f, g, w + (size_t)i * kern_group_bytes(f), scales, dot);
        for (int r = 0; r < o->rows; r++) {
            const size_t at = (o->t + (size_t)r) * (o->p->D / KERN_GROUP) + g;

            sum[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[r]),
                                     _mm256_set1_ps(o->p->q_scale[at]), sum[r]);
        }
        if (f.minimum) add_minima(o, f, g, scales + kern_scales_bytes(f), least);
    }
    for (int r = 0; r < o->rows; r++) {
        y[r] = _mm256_fmadd_ps(halves_of(head, o->half), sum[r], y[r]);
        if (f.minimum) y[r] = _mm256_fnmadd_ps(halves_of(head, 2 + o->half), least[r], y[r]);
    }
}

/* Two passes over the panel's codes, one a half: the second finds them in the first cache. */
INLINE void multiply_rows(const work *o, kern_form f)
{
    const kern_panel *p = o->p;
    const uint8_t *head = p->w, *w = head + kern_codes_at(f, p->D) + 32 * o->half;
    const size_t step = (size_t)f.groups;
    __m256 y[MOST];

    for (int r = 0; r < o->rows; r++) y[r] = _mm256_setzero_ps();
    for (size_t g = 0; g < p->D / KERN_GROUP; g += step) {
        add_block(o, f, g, head, w, y);
        head += kern_head_bytes(f);
        w += step * kern_group_bytes(f);
    }
    for (int r = 0; r < o->rows; r++)
        _mm256_storeu_ps(p->y + (o->t + (size_t)r) * p->y_stride + 8 * o->half, y[r]);
}

INLINE void multiply(const kern_panel *p, kern_form f)
{
    size_t t = 0;

    for (; t + MOST <= p->T; t += MOST)
        for (int h = 0; h < 2; h++) multiply_rows(&(work){p, t, MOST, h}, f);
    for (; t < p->T; t++)
        for (int h = 0; h < 2; h++) multiply_rows(&(work){p, t, 1, h}, f);
}

#define QUANT(type, name, bits, groups, scales, zero, minimum, levels)         \
    void kern_panel_##name##_avx2(const kern_panel *p)                         \
    {                                                                          \
        multiply(p, (kern_form){bits, groups, scales, zero, minimum, levels}); \
    }
#include "engine/kern/quants.def"
#undef QUANT

#else
typedef int kern_avx2_quants_is_for_x86_64;
#endif
