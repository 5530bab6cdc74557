/* kern_avx2_panels.c - weights times rows for AVX2: a panel of 16 outputs, floats or Q8_0.
 *
 * Registers (16 of 8 lanes):
 *   float types   4 rows x 2 halves of the panel = 8 sums, 2 weights, 1 number of x: a weight
 *                 that was loaded (and widened) serves 4 rows, a broadcast number 16 outputs
 *   Q8_0          2 rows x 4 quarters = 8 int32 sums, 2 x 2 float sums, 1 weight, 2 of x; a
 *                 quarter is 4 outputs of 4 columns, widened to 16 bits: madd adds pairs, and
 *                 hadd the pairs of pairs at a group's end
 *
 * Rows that are left go one at a time through the same code: each output of each row has a sum
 * of its own, k ascending, one fmadd each, so how many rows share the registers shows in no
 * bit. Integers are exact in any order as long as nothing saturates, which maddubs on bytes
 * would: 255 * 127 * 2 does not fit into 16 bits. Hence the widening: two instructions where
 * VNNI has one.
 *
 * A second panel is simply run after the first: with 16 registers, rows of both would not stay
 * in them. */
#if defined(__x86_64__)

#include "engine/kern/kern_avx2.h"

#include <string.h>

#include "engine/kern/kern.h"

enum weight_kind { W_F32, W_F16, W_BF16 };

/* Weights k of the panel, outputs 8h .. 8h+7, as floats. */
INLINE __m256 load_weights(const void *w, size_t k, int h, enum weight_kind kind)
{
    const size_t at = k * KERN_PANEL + 8 * (size_t)h;
    __m128i raw;

    if (kind == W_F32) return _mm256_load_ps((const float *)w + at);
    raw = _mm_load_si128((const __m128i *)((const uint16_t *)w + at));
    if (kind == W_F16) return _mm256_cvtph_ps(raw);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
}

INLINE void panel_rows(const kern_panel *p, size_t t, int rows, enum weight_kind kind)
{
    const float *x = p->x + t * p->D;
    __m256 a[4][2];

    for (int r = 0; r < rows; r++) a[r][0] = a[r][1] = _mm256_setzero_ps();
    for (size_t k = 0; k < p->D; k++) {
        const __m256 w0 = load_weights(p->w, k, 0, kind), w1 = load_weights(p->w, k, 1, kind);

        for (int r = 0; r < rows; r++) {
            const __m256 b = _mm256_broadcast_ss(x + (size_t)r * p->D + k);

            a[r][0] = _mm256_fmadd_ps(w0, b, a[r][0]);
            a[r][1] = _mm256_fmadd_ps(w1, b, a[r][1]);
        }
    }
    for (int r = 0; r < rows; r++) {
        float *y = p->y + (t + (size_t)r) * p->y_stride;

        _mm256_storeu_ps(y, a[r][0]);
        _mm256_storeu_ps(y + 8, a[r][1]);
    }
}

INLINE void panel_float(const kern_panel *p, enum weight_kind kind)
{
    size_t t = 0;

    for (; t + 4 <= p->T; t += 4) panel_rows(p, t, 4, kind);
    for (; t < p->T; t++) panel_rows(p, t, 1, kind);
}

void kern_panel_f32_avx2(const kern_panel *p)
{
    panel_float(p, W_F32);
}

void kern_panel_f16_avx2(const kern_panel *p)
{
    panel_float(p, W_F16);
}

void kern_panel_bf16_avx2(const kern_panel *p)
{
    panel_float(p, W_BF16);
}

/* a[r][i] = the exact sums of a group, quarter i; its four outputs' pairs of columns are still
 * apart. */
INLINE void q8_group(const kern_panel *p, size_t t, int rows, size_t g, const uint8_t *w,
                     __m256i a[2][4])
{
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < 4; i++) a[r][i] = _mm256_setzero_si256();
    for (size_t k = 0; k < KERN_GROUP; k += 4) {
        __m256i b[2];

        for (int r = 0; r < rows; r++) {
            int32_t four;

            memcpy(&four, p->q + (t + (size_t)r) * p->D + g * KERN_GROUP + k, 4);
            b[r] = _mm256_cvtepi8_epi16(_mm_set1_epi32(four));
        }
        for (int i = 0; i < 4; i++) {
            const __m256i v = _mm256_cvtepu8_epi16(
                _mm_load_si128((const __m128i *)(w + k * 16 + (size_t)i * 16)));

            for (int r = 0; r < rows; r++)
                a[r][i] = _mm256_add_epi32(a[r][i], _mm256_madd_epi16(v, b[r]));
        }
    }
}

/* sum += the group's exact sums times the scales of weights and row. Weights carry + 128, which
 * comes off here, once a group: -128 times the sum of the row's codes. */
INLINE void q8_add(const kern_panel *p, size_t t, int rows, size_t g, const uint16_t *scale,
                   __m256i a[2][4], __m256 sum[2][2])
{
    for (int r = 0; r < rows; r++) {
        const size_t at = (t + (size_t)r) * (p->D / KERN_GROUP) + g;
        const __m256i less = _mm256_set1_epi32(-128 *
                                               (p->q_sum[at].half[0] + p->q_sum[at].half[1]));
        const __m256 s = _mm256_set1_ps(p->q_scale[at]);

        for (int h = 0; h < 2; h++) { /* hadd leaves 64-bit pairs in the order 0 2 1 3 */
            const __m256i d = _mm256_permute4x64_epi64(
                _mm256_hadd_epi32(a[r][2 * h], a[r][2 * h + 1]), 0xd8);
            const __m256 f = _mm256_cvtepi32_ps(_mm256_add_epi32(d, less));
            const __m256 ws = _mm256_cvtph_ps(_mm_load_si128((const __m128i *)(scale + 8 * h)));

            sum[r][h] = _mm256_fmadd_ps(f, _mm256_mul_ps(ws, s), sum[r][h]);
        }
    }
}

INLINE void q8_rows(const kern_panel *p, size_t t, int rows)
{
    const size_t groups = p->D / KERN_GROUP;
    const uint16_t *scale = p->w;
    const uint8_t *w = (const uint8_t *)p->w + (groups * 32 + 63) / 64 * 64;
    __m256 sum[2][2];

    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    for (size_t g = 0; g < groups; g++, w += 512, scale += 16) {
        __m256i a[2][4];

        q8_group(p, t, rows, g, w, a);
        q8_add(p, t, rows, g, scale, a, sum);
    }
    for (int r = 0; r < rows; r++) {
        float *y = p->y + (t + (size_t)r) * p->y_stride;

        _mm256_storeu_ps(y, sum[r][0]);
        _mm256_storeu_ps(y + 8, sum[r][1]);
    }
}

void kern_panel_q8_avx2(const kern_panel *p)
{
    size_t t = 0;

    for (; t + 2 <= p->T; t += 2) q8_rows(p, t, 2);
    for (; t < p->T; t++) q8_rows(p, t, 1);
    if (p->second) {
        const kern_panel next = kern_second(p);

        kern_panel_q8_avx2(&next);
    }
}

#else
typedef int kern_avx2_panels_is_for_x86_64;
#endif
