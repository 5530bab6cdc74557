/* kern_avx512_quants.c - twins of kern_quants.c for AVX-512 with VNNI: a vector is 16 outputs
 * of 4 columns.
 *
 * Registers (32): of 8 rows y, the block's sum and its minima's = 24, 8 dots of a group in turn
 * with them, unpacked codes and masks. Codes are unpacked once for all rows, so a single row
 * pays for that alone.
 *
 * dpbusd adds four products of a byte to 32 bits at once, unsigned codes by signed ones of x,
 * and cannot saturate. The number that a code stands for is code - zero; zero times the sums of
 * x, which quantize_q8 keeps, comes off once a group (dpwssd). Levels are signed, so they carry
 * + 128 and have 128 as their zero. Exact, then floats in the definition's order.
 *
 * A type is a kern_form that the compiler knows: always_inline makes ten functions of one, each
 * with its shifts as constants and without what its type has not. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "engine/kern/kern_quants.h"

#define INLINE static inline __attribute__((always_inline))

enum { MOST = 8 }; /* rows at once: sums of block, minimum and group stay in registers */

INLINE __m512i load(const void *at)
{
    return _mm512_load_si512(at);
}

/* The bits of vector k in a plane of b bits, moved to bit `to` of each byte. */
INLINE __m512i plane_bits(const uint8_t *w, int b, int k, int to)
{
    const int from = k / b * b;
    const __m512i raw = load(w + k % b * KERN_VECTOR);
    const __m512i mask = _mm512_set1_epi8((char)(((1 << b) - 1) << to));

    if (from >= to)
        return _mm512_and_si512(_mm512_srli_epi16(raw, (unsigned)(from - to)), mask);
    return _mm512_and_si512(_mm512_slli_epi16(raw, (unsigned)(to - from)), mask);
}

/* Vector k of a group, unsigned: numbers + zero_of(f). */
INLINE __m512i unpack(const uint8_t *w, kern_form f, int k)
{
    __m512i v = _mm512_setzero_si512();
    int to = 0;

    for (int b = 4; b; b /= 2) {
        if (!(f.bits & b)) continue;
        v = _mm512_or_si512(v, plane_bits(w, b, k, to));
        to += b;
        w += b * KERN_VECTOR;
    }
    if (f.levels) {
        const __m128i levels = _mm_xor_si128(_mm_loadu_si128((const __m128i *)kern_levels),
                                             _mm_set1_epi8((char)0x80));

        v = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(levels), v);
    }
    return v;
}

INLINE int zero_of(kern_form f)
{
    return f.levels ? 128 : f.zero;
}

INLINE __m512i four_codes(const kern_panel *p, size_t t, size_t k)
{
    int32_t four;

    memcpy(&four, p->q + t * p->D + k, sizeof four);
    return _mm512_set1_epi32(four);
}

INLINE __m512i both_sums(const kern_panel *p, size_t t, size_t g)
{
    int32_t both;

    memcpy(&both, &p->q_sum[t * (p->D / KERN_GROUP) + g], sizeof both);
    return _mm512_set1_epi32(both);
}

/* -zero times a group's scales, two of 16 bits for each output; of scales 1 where they
 * multiply later. */
INLINE __m512i negative_zeros(const uint8_t *scales, kern_form f)
{
    const __m512i less = _mm512_set1_epi16((short)-zero_of(f));

    if (f.scales < 2) return less;
    return _mm512_mullo_epi16(
        _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)scales)), less);
}

/* The integer scales of half h as 32 bits. */
INLINE __m512i scales_of(const uint8_t *scales, kern_form f, int h)
{
    __m512i both;

    if (f.scales < 2)
        return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)scales));
    both = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)scales));
    return _mm512_srai_epi32(h ? both : _mm512_slli_epi32(both, 16), 16);
}

/* Add half h of a group, exact, to part[r] of rows t .. */
INLINE void dot_half(const kern_panel *p, kern_form f, size_t t, int rows, size_t g, int h,
                     const uint8_t *w, __m512i *part)
{
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* unrolled, so that shifts are constants */
        const int k = 4 * h + i;
        const __m512i v = unpack(w, f, k);

        for (int r = 0; r < rows; r++)
            part[r] = _mm512_dpbusd_epi32(
                part[r], v, four_codes(p, t + (size_t)r, g * KERN_GROUP + 4 * (size_t)k));
    }
}

/* dot[r] = the group's exact sum for rows t .. */
INLINE void dot_group(const kern_panel *p, kern_form f, size_t t, int rows, size_t g,
                      const uint8_t *w, const uint8_t *scales, __m512i *dot)
{
    const __m512i none = _mm512_setzero_si512(), less = negative_zeros(scales, f);
    __m512i part[2][MOST];

    for (int r = 0; r < rows; r++) {
        dot[r] = part[0][r] = part[1][r] = none;
        if (zero_of(f))
            dot[r] = _mm512_dpwssd_epi32(none, less, both_sums(p, t + (size_t)r, g));
    }
    if (f.scales < 2) {
        dot_half(p, f, t, rows, g, 0, w, dot);
        dot_half(p, f, t, rows, g, 1, w, dot);
        for (int r = 0; f.scales && r < rows; r++)
            dot[r] = _mm512_mullo_epi32(dot[r], scales_of(scales, f, 0));
        return;
    }
    dot_half(p, f, t, rows, g, 0, w, part[0]);
    for (int r = 0; r < rows; r++)
        dot[r] = _mm512_add_epi32(dot[r],
                                  _mm512_mullo_epi32(part[0][r], scales_of(scales, f, 0)));
    dot_half(p, f, t, rows, g, 1, w, part[1]);
    for (int r = 0; r < rows; r++)
        dot[r] = _mm512_add_epi32(dot[r],
                                  _mm512_mullo_epi32(part[1][r], scales_of(scales, f, 1)));
}

/* x's scale times its sums, for each group of a block; both halves' where minima want them.
 * Made before the loop over groups: scalar work that would stand between the products. */
INLINE void weigh_sums(const kern_panel *p, kern_form f, size_t t, size_t g, float *out)
{
    const size_t at = t * (p->D / KERN_GROUP) + g;

    for (size_t i = 0; i < (size_t)f.groups; i++) {
        const kern_sums s = p->q_sum[at + i];

        if (f.scales < 2) {
            out[i] = (float)(s.half[0] + s.half[1]) * p->q_scale[at + i];
        } else {
            out[2 * i] = (float)s.half[0] * p->q_scale[at + i];
            out[2 * i + 1] = (float)s.half[1] * p->q_scale[at + i];
        }
    }
}

/* Minima of half h as floats. */
INLINE __m512 minima_of(const uint8_t *minima, kern_form f, int h)
{
    __m512i both;

    if (!f.scales) return _mm512_set1_ps(1.0f);
    if (f.scales < 2)
        return _mm512_cvtepi32_ps(
            _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)minima)));
    both = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)minima));
    if (h) return _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 16));
    return _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(0xffff)));
}

INLINE __m512 halves_of(const uint8_t *head, size_t i)
{
    return _mm512_cvtph_ps(
        _mm256_loadu_si256((const __m256i *)(const void *)(head + i * KERN_PANEL * 2)));
}

/* One block into y[r], rows t .. */
INLINE void add_block(const kern_panel *p, kern_form f, size_t t, int rows, size_t g,
                      const uint8_t *head, const uint8_t *w, __m512 *y)
{
    const uint8_t *scales = head + kern_halves_bytes(f);
    const int n = f.scales == 2 ? 2 : 1;
    __m512 sum[MOST], least[MOST];
    float weighed[MOST][16];

    for (int r = 0; r < rows; r++) {
        sum[r] = least[r] = _mm512_setzero_ps();
        if (f.minimum) weigh_sums(p, f, t + (size_t)r, g, weighed[r]);
    }
    for (int i = 0; i < f.groups; i++, scales += kern_step_bytes(f)) {
        __m512i dot[MOST];

        dot_group(p, f, t, rows, g + (size_t)i, w + (size_t)i * kern_group_bytes(f), scales,
                  dot);
        for (int r = 0; r < rows; r++) {
            const size_t at = (t + (size_t)r) * (p->D / KERN_GROUP) + g + (size_t)i;

            sum[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[r]), _mm512_set1_ps(p->q_scale[at]),
                                     sum[r]);
        }
        for (int h = 0; f.minimum && h < n; h++) {
            const __m512 m = minima_of(scales + kern_scales_bytes(f), f, h);

            for (int r = 0; r < rows; r++)
                least[r] = _mm512_fmadd_ps(m, _mm512_set1_ps(weighed[r][i * n + h]), least[r]);
        }
    }
    for (int r = 0; r < rows; r++) {
        y[r] = _mm512_fmadd_ps(halves_of(head, 0), sum[r], y[r]);
        if (f.minimum) y[r] = _mm512_fnmadd_ps(halves_of(head, 1), least[r], y[r]);
    }
}

INLINE void multiply_rows(const kern_panel *p, kern_form f, size_t t, int rows)
{
    const uint8_t *head = p->w, *w = head + kern_codes_at(f, p->D);
    const size_t step = (size_t)f.groups;
    __m512 y[MOST];

    for (int r = 0; r < rows; r++) y[r] = _mm512_setzero_ps();
    for (size_t g = 0; g < p->D / KERN_GROUP; g += step) {
        add_block(p, f, t, rows, g, head, w, y);
        head += kern_head_bytes(f);
        w += step * kern_group_bytes(f);
    }
    for (int r = 0; r < rows; r++) _mm512_storeu_ps(p->y + (t + (size_t)r) * p->y_stride, y[r]);
}

INLINE void multiply(const kern_panel *p, kern_form f)
{
    size_t t = 0;

    for (; t + MOST <= p->T; t += MOST) multiply_rows(p, f, t, MOST);
    for (; t + 4 <= p->T; t += 4) multiply_rows(p, f, t, 4);
    for (; t < p->T; t++) multiply_rows(p, f, t, 1);
}

#define QUANT(type, name, bits, groups, scales, zero, minimum, levels)         \
    void kern_panel_##name##_avx512(const kern_panel *p)                       \
    {                                                                          \
        multiply(p, (kern_form){bits, groups, scales, zero, minimum, levels}); \
    }
#include "engine/kern/quants.def"
#undef QUANT

#else
typedef int kern_avx512_quants_is_for_x86_64;
#endif
