/* kern_avx512_attend.c - one head's attention over one block, for AVX-512: keys and values as
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
 * Registers: rows x vectors = 16 sums (4 x 4, 2 x 8) or 8 (1 x 8), as many vectors of keys or
 * values, one broadcast number. A single row reads every number once, so it waits for memory:
 * meanwhile it asks for the same place of the head that follows (next_kt, next_v). */
#if defined(__x86_64__)

#include "engine/kern/kern_avx512.h"

#include <math.h>

#include "engine/kern/kern.h"

INLINE __m512 times_scale(__m512 x, const uint16_t *scale, size_t j)
{
    return scale ? _mm512_mul_ps(x, load_numbers(scale, j, HALF)) : x;
}

INLINE size_t keys_of(const kern_attend *a, size_t t)
{
    return a->first + t < a->n ? a->first + t : a->n;
}

INLINE size_t bytes_of(enum number kind)
{
    return kind == FLOAT ? 4 : kind == HALF ? 2 : 1;
}

/* Ask for what lies where these numbers do, in what comes next. */
INLINE void ask_next(const void *next, size_t at, size_t n, enum number kind)
{
    const char *from = (const char *)next + at * bytes_of(kind);

    for (size_t i = 0; i < n * bytes_of(kind); i += 64) __builtin_prefetch(from + i);
}

/* p = q k of `vectors` times 16 keys from j on. */
INLINE void scores(const kern_attend *a, size_t t, int rows, size_t j, int vectors,
                   enum number kind, float *p)
{
    __m512 s[KERN_ROWS][8];

    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++) s[r][i] = _mm512_setzero_ps();
    for (size_t c = 0; c < a->C; c++) {
        __m512 k[8];

        if (a->next_kt && c * bytes_of(kind) % 4 == 0) /* a line holds 4 channels of int8 */
            for (int i = 0; i < vectors; i++)
                ask_next(a->next_kt, (j + 16 * (size_t)i) * a->C + 16 * c, 16, kind);
        for (int i = 0; i < vectors; i++)
            k[i] = load_numbers(a->kt, (j + 16 * (size_t)i) * a->C + 16 * c, kind);
        for (int r = 0; r < rows; r++) {
            const __m512 b = _mm512_set1_ps(a->q[(t + (size_t)r) * a->q_stride + c]);

            for (int i = 0; i < vectors; i++) s[r][i] = _mm512_fmadd_ps(b, k[i], s[r][i]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++)
            _mm512_store_ps(p + (size_t)r * KERN_KEYS + j + 16 * (size_t)i, s[r][i]);
}

/* 16 sums folded in halves: i + 8, i + 4, i + 2, i + 1. */
INLINE float fold16(__m512 v)
{
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_shuffle_ps(s, s, 1));
    return _mm_cvtss_f32(s);
}

/* Which of keys j .. j+15 row t sees, of its first n. */
INLINE __mmask16 seen16(const kern_attend *a, size_t t, size_t j, size_t n)
{
    const ptrdiff_t low = a->low + (ptrdiff_t)(t * a->slide);

    return low > (ptrdiff_t)j ? below(n, j) & (__mmask16)~below((size_t)low, j) : below(n, j);
}

/* Row t's scores become its weights of values; m and l on the way. */
INLINE void softmax_row(const kern_attend *a, size_t t, float *p)
{
    const __m512 scale = _mm512_set1_ps(a->scale), unseen = _mm512_set1_ps(-INFINITY);
    const size_t n = keys_of(a, t);
    __m512 max = unseen, sum = _mm512_setzero_ps();
    float m;

    for (size_t j = 0; j < n; j += 16) {
        const __m512 s = _mm512_mul_ps(times_scale(_mm512_load_ps(p + j), a->k_scale, j),
                                       scale);
        const __m512 seen = _mm512_mask_mov_ps(unseen, seen16(a, t, j, n),
                                               a->cap > 0.0f ? cap16(s, a->cap) : s);

        max = _mm512_max_ps(max, seen);
        _mm512_store_ps(p + j, seen);
    }
    m = _mm512_reduce_max_ps(max);
    for (size_t j = 0; j < n; j += 16) {
        const __m512 e = exp16(_mm512_sub_ps(_mm512_load_ps(p + j), _mm512_set1_ps(m)));

        sum = _mm512_add_ps(sum, e);
        _mm512_store_ps(p + j, times_scale(e, a->v_scale, j));
    }
    a->m[t * a->ml_stride] = m + 0.0f;
    a->l[t * a->ml_stride] = fold16(sum);
}

/* o[c .. c+16*vectors-1] of some rows over the first n keys, the last vector masked. */
INLINE void values(const kern_attend *a, size_t t, int rows, size_t n, size_t c, int vectors,
                   __mmask16 last, enum number kind, const float *p)
{
    __m512 s[KERN_ROWS][8];

    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++) s[r][i] = _mm512_setzero_ps();
    for (size_t j = 0; j < n; j++) {
        __m512 v[8];

        if (a->next_v) ask_next(a->next_v, j * a->v_stride + c, 16 * (size_t)vectors, kind);
        for (int i = 0; i < vectors; i++)
            v[i] = load_some(a->v, j * a->v_stride + c + 16 * (size_t)i,
                             i == vectors - 1 ? last : 0xffff, kind);
        for (int r = 0; r < rows; r++) {
            const __m512 b = _mm512_set1_ps(p[(size_t)r * KERN_KEYS + j]);

            for (int i = 0; i < vectors; i++) s[r][i] = _mm512_fmadd_ps(b, v[i], s[r][i]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < vectors; i++)
            _mm512_mask_storeu_ps(a->o + (t + (size_t)r) * a->o_stride + c + 16 * (size_t)i,
                                  i == vectors - 1 ? last : 0xffff, s[r][i]);
}

/* Keys `from` .. n-1 of one row: those that the rows before it do not see. */
INLINE void own_values(const kern_attend *a, size_t t, size_t from, enum number kind,
                       const float *p)
{
    float *o = a->o + t * a->o_stride;

    for (size_t j = from; j < keys_of(a, t); j++)
        for (size_t c = 0; c < a->C; c += 16) {
            const __mmask16 some = below(a->C, c);
            const __m512 v = load_some(a->v, j * a->v_stride + c, some, kind);

            _mm512_mask_storeu_ps(
                o + c, some,
                _mm512_fmadd_ps(_mm512_set1_ps(p[j]), v, _mm512_maskz_loadu_ps(some, o + c)));
        }
}

/* Rows t .. t+rows-1, which share each load; `most`: vectors a row whose sums stay in
 * registers. */
INLINE void attend_rows(const kern_attend *a, size_t t, int rows, int most, enum number kind)
{
    float p[KERN_ROWS * KERN_KEYS] __attribute__((aligned(64)));
    const size_t n = keys_of(a, t + (size_t)rows - 1), end = (n + 15) / 16 * 16;
    const size_t step = 16 * (size_t)most, common = keys_of(a, t), C = a->C;
    size_t j = 0, c = 0;

    for (; j + step <= end; j += step) scores(a, t, rows, j, most, kind, p);
    for (; most > 4 && j + 64 <= end; j += 64) scores(a, t, rows, j, 4, kind, p);
    for (; j + 32 <= end; j += 32) scores(a, t, rows, j, 2, kind, p);
    for (; j < end; j += 16) scores(a, t, rows, j, 1, kind, p);
    for (int r = 0; r < rows; r++) softmax_row(a, t + (size_t)r, p + r * KERN_KEYS);
    for (; c + step <= C; c += step) values(a, t, rows, common, c, most, 0xffff, kind, p);
    for (; most > 4 && c + 64 <= C; c += 64) values(a, t, rows, common, c, 4, 0xffff, kind, p);
    for (; c < C; c += 16) values(a, t, rows, common, c, 1, below(C, c), kind, p);
    for (int r = 1; r < rows; r++)
        own_values(a, t + (size_t)r, common, kind, p + r * KERN_KEYS);
}

INLINE void attend(const kern_attend *a, enum number kind)
{
    size_t t = 0;

    for (; t + 4 <= a->T; t += 4) attend_rows(a, t, 4, 4, kind);
    for (; t + 2 <= a->T; t += 2) attend_rows(a, t, 2, 8, kind);
    for (; t < a->T; t++) attend_rows(a, t, 1, 8, kind);
}

void kern_attend_float_avx512(const kern_attend *a)
{
    attend(a, FLOAT);
}

void kern_attend_half_avx512(const kern_attend *a)
{
    attend(a, HALF);
}

void kern_attend_int8_avx512(const kern_attend *a)
{
    attend(a, INT8);
}

#else
typedef int kern_avx512_attend_is_for_x86_64;
#endif
