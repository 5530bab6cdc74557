/* kern_avx2_attend.c - one head's attention over one block, for AVX2: keys and values as
 * floats, halves or int8, widened as they are loaded.
 *
 * Three passes over one block, some rows of queries at once:
 *   scores        p[r][j] = q_r k_j        keys lie transposed, [n/16,C,16]: a lane is a key,
 *                                          c ascends
 *   softmax_row   m, l; p = exp(p - m)     row by row; a lane is a key, one unseen has -inf,
 *                                          whose exp is 0
 *   values        o[r][c] = sum p_j v_jc   a lane is a channel, j ascends
 *
 * In none of them does a sum cross lanes but l, whose 16 running sums the definition has too;
 * so lanes, rows and vectors at once show in no bit.
 *
 * Registers: rows x vectors = 8 sums (4 x 2, 2 x 4, 1 x 8), as many vectors of keys or values,
 * one broadcast number. More rows share a widened number, which is what int8 and halves cost;
 * fewer rows have more vectors, so that 8 independent sums hide the latency of fmadd either
 * way. */
#if defined(__x86_64__)

#include "engine/kern/kern_avx2.h"

#include <math.h>

#include "engine/kern/kern.h"

enum number { FLOAT, HALF, INT8 }; /* what keys and values are stored as */

INLINE __m256 load_numbers(const void *x, size_t at, enum number kind)
{
    if (kind == FLOAT) return _mm256_loadu_ps((const float *)x + at);
    if (kind == HALF)
        return _mm256_cvtph_ps(
            _mm_loadu_si128((const __m128i *)(const void *)((const uint16_t *)x + at)));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(
        _mm_loadl_epi64((const __m128i *)(const void *)((const int8_t *)x + at))));
}

INLINE float load_number(const void *x, size_t at, enum number kind)
{
    if (kind == FLOAT) return ((const float *)x)[at];
    if (kind == HALF) return kern_float(((const uint16_t *)x)[at]);
    return ((const int8_t *)x)[at];
}

INLINE __m256 times_scale(__m256 x, const uint16_t *scale, size_t j)
{
    return scale ? _mm256_mul_ps(x, load_numbers(scale, j, HALF)) : x;
}

INLINE size_t keys_of(const kern_attend *a, size_t t)
{
    return a->first + t < a->n ? a->first + t : a->n;
}

/* Where channel c of key j, a multiple of 8, is in its panel of 16. */
INLINE size_t key_at(const kern_attend *a, size_t c, size_t j)
{
    return (j / 16 * a->C + c) * 16 + j % 16;
}

/* p = q k of `vectors` times 8 keys from j on. */
INLINE void scores(const kern_attend *a, size_t t, int rows, size_t j, int vectors,
                   enum number kind, float *p)
{
    __m256 s[KERN_ROWS][8];

    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++) s[r][i] = _mm256_setzero_ps();
    for (size_t c = 0; c < a->C; c++) {
        __m256 k[8];

        for (int i = 0; i < vectors; i++)
            k[i] = load_numbers(a->kt, key_at(a, c, j + 8 * (size_t)i), kind);
        for (int r = 0; r < rows; r++) {
            const __m256 b = _mm256_broadcast_ss(a->q + (t + (size_t)r) * a->q_stride + c);

            for (int i = 0; i < vectors; i++) s[r][i] = _mm256_fmadd_ps(b, k[i], s[r][i]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++)
            _mm256_store_ps(p + (size_t)r * KERN_KEYS + j + 8 * (size_t)i, s[r][i]);
}

/* Which of keys j .. j+7 row t sees, of its first n. */
INLINE __m256i seen8(const kern_attend *a, size_t t, size_t j, size_t n)
{
    const ptrdiff_t hidden = a->low + (ptrdiff_t)(t * a->slide) - (ptrdiff_t)j;
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    return _mm256_and_si256(
        mask8(n - j < 8 ? n - j : 8),
        _mm256_cmpgt_epi32(
            lane, _mm256_set1_epi32(hidden < 0 ? -1 : (int)(hidden < 8 ? hidden : 8) - 1)));
}

/* Row t's scores become its weights of values; m and l on the way. */
INLINE void softmax_row(const kern_attend *a, size_t t, float *p)
{
    const __m256 scale = _mm256_set1_ps(a->scale), unseen = _mm256_set1_ps(-INFINITY);
    const size_t n = keys_of(a, t);
    __m256 max = unseen, sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    float m;

    for (size_t j = 0; j < n; j += 8) {
        const __m256 s = _mm256_mul_ps(times_scale(_mm256_load_ps(p + j), a->k_scale, j),
                                       scale);
        const __m256 seen = _mm256_castsi256_ps(seen8(a, t, j, n));
        const __m256 score = _mm256_blendv_ps(unseen, a->cap > 0.0f ? cap8(s, a->cap) : s,
                                              seen);

        max = _mm256_max_ps(max, score);
        _mm256_store_ps(p + j, score);
    }
    m = max8(max);
    for (size_t j = 0; j < n; j += 8) {
        const __m256 e = exp8(_mm256_sub_ps(_mm256_load_ps(p + j), _mm256_set1_ps(m)));

        sum[j / 8 % 2] = _mm256_add_ps(sum[j / 8 % 2], e);
        _mm256_store_ps(p + j, times_scale(e, a->v_scale, j));
    }
    a->m[t * a->ml_stride] = m + 0.0f;
    a->l[t * a->ml_stride] = fold8(_mm256_add_ps(sum[0], sum[1]));
}

/* o[c .. c+8*vectors-1] of some rows over the first n keys. */
INLINE void values(const kern_attend *a, size_t t, int rows, size_t n, size_t c, int vectors,
                   enum number kind, const float *p)
{
    __m256 s[KERN_ROWS][8];

    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++) s[r][i] = _mm256_setzero_ps();
    for (size_t j = 0; j < n; j++) {
        __m256 v[8];

        for (int i = 0; i < vectors; i++)
            v[i] = load_numbers(a->v, j * a->v_stride + c + 8 * (size_t)i, kind);
        for (int r = 0; r < rows; r++) {
            const __m256 b = _mm256_broadcast_ss(p + (size_t)r * KERN_KEYS + j);

            for (int i = 0; i < vectors; i++) s[r][i] = _mm256_fmadd_ps(b, v[i], s[r][i]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++)
            _mm256_storeu_ps(a->o + (t + (size_t)r) * a->o_stride + c + 8 * (size_t)i, s[r][i]);
}

/* Keys `from` .. n-1 of one row: those that the rows before it do not see. */
INLINE void own_values(const kern_attend *a, size_t t, size_t from, enum number kind,
                       const float *p)
{
    float *o = a->o + t * a->o_stride;

    for (size_t j = from; j < keys_of(a, t); j++)
        for (size_t c = 0; c + 8 <= a->C; c += 8)
            _mm256_storeu_ps(o + c,
                             _mm256_fmadd_ps(_mm256_broadcast_ss(p + j),
                                             load_numbers(a->v, j * a->v_stride + c, kind),
                                             _mm256_loadu_ps(o + c)));
}

/* The last columns of one row, where the width is no multiple of 8. */
INLINE void last_values(const kern_attend *a, size_t t, size_t c, enum number kind,
                        const float *p)
{
    for (; c < a->C; c++) {
        float o = 0.0f;

        for (size_t j = 0; j < keys_of(a, t); j++)
            o = fmaf(p[j], load_number(a->v, j * a->v_stride + c, kind), o);
        a->o[t * a->o_stride + c] = o;
    }
}

/* Rows t .. t+rows-1, which share each load; `most`: vectors a row whose sums stay in
 * registers. */
INLINE void attend_rows(const kern_attend *a, size_t t, int rows, int most, enum number kind)
{
    float p[KERN_ROWS * KERN_KEYS] __attribute__((aligned(32)));
    const size_t n = keys_of(a, t + (size_t)rows - 1), end = (n + 7) / 8 * 8;
    const size_t step = 8 * (size_t)most, common = keys_of(a, t), C = a->C;
    size_t j = 0, c = 0;

    for (; j + step <= end; j += step) scores(a, t, rows, j, most, kind, p);
    for (; j < end; j += 8) scores(a, t, rows, j, 1, kind, p);
    for (int r = 0; r < rows; r++) softmax_row(a, t + (size_t)r, p + r * KERN_KEYS);
    for (; c + step <= C; c += step) values(a, t, rows, common, c, most, kind, p);
    for (; c + 8 <= C; c += 8) values(a, t, rows, common, c, 1, kind, p);
    for (int r = 0; r < rows; r++) {
        own_values(a, t + (size_t)r, common, kind, p + r * KERN_KEYS);
        last_values(a, t + (size_t)r, c, kind, p + r * KERN_KEYS);
    }
}

INLINE void attend(const kern_attend *a, enum number kind)
{
    size_t t = 0;

    for (; t + 4 <= a->T; t += 4) attend_rows(a, t, 4, 2, kind);
    for (; t + 2 <= a->T; t += 2) attend_rows(a, t, 2, 4, kind);
    for (; t < a->T; t++) attend_rows(a, t, 1, 8, kind);
}

void kern_attend_float_avx2(const kern_attend *a)
{
    attend(a, FLOAT);
}

void kern_attend_half_avx2(const kern_attend *a)
{
    attend(a, HALF);
}

void kern_attend_int8_avx2(const kern_attend *a)
{
    attend(a, INT8);
}

#else
typedef int kern_avx2_attend_is_for_x86_64;
#endif
