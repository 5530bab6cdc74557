/* kern_avx512.c - twins of kern_ref.c for AVX-512 (F, BW, DQ, VL, VNNI): 16 lanes. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "engine/kern/kern.h"
#include "engine/kern/kern_exp.h"

#define INLINE static inline __attribute__((always_inline))

enum weight_kind { W_F32, W_F16, W_BF16 };

INLINE __m512 load_weights(const void *w, size_t k, enum weight_kind kind)
{
    const size_t at = k * KERN_PANEL;
    __m256i raw;

    if (kind == W_F32) return _mm512_load_ps((const float *)w + at);
    raw = _mm256_load_si256((const __m256i *)((const uint16_t *)w + at));
    if (kind == W_F16) return _mm512_cvtph_ps(raw);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
}

INLINE void panel_rows(const kern_panel *p, size_t t, int rows, enum weight_kind kind)
{
    const float *x = p->x + t * p->D;
    __m512 a[12];

    for (int r = 0; r < rows; r++) a[r] = _mm512_setzero_ps();
    for (size_t k = 0; k < p->D; k++) {
        const __m512 w = load_weights(p->w, k, kind);

        for (int r = 0; r < rows; r++)
            a[r] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[(size_t)r * p->D + k]), a[r]);
    }
    for (int r = 0; r < rows; r++) _mm512_storeu_ps(p->y + (t + (size_t)r) * p->y_stride, a[r]);
}

INLINE void panel_float(const kern_panel *p, enum weight_kind kind)
{
    size_t t = 0;

    for (; t + 12 <= p->T; t += 12) panel_rows(p, t, 12, kind);
    for (; t + 4 <= p->T; t += 4) panel_rows(p, t, 4, kind);
    for (; t < p->T; t++) panel_rows(p, t, 1, kind);
}

void kern_panel_f32_avx512(const kern_panel *p)
{
    panel_float(p, W_F32);
}

void kern_panel_f16_avx512(const kern_panel *p)
{
    panel_float(p, W_F16);
}

void kern_panel_bf16_avx512(const kern_panel *p)
{
    panel_float(p, W_BF16);
}

enum number { FLOAT, HALF, INT8 }; /* what keys and values are stored as */

INLINE __m512 load_numbers(const void *x, size_t at, enum number kind)
{
    if (kind == FLOAT) return _mm512_loadu_ps((const float *)x + at);
    if (kind == HALF)
        return _mm512_cvtph_ps(
            _mm256_loadu_si256((const __m256i *)(const void *)((const uint16_t *)x + at)));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(
        _mm_loadu_si128((const __m128i *)(const void *)((const int8_t *)x + at))));
}

/* Up to 8 rows from three of them: with a pointer each, registers would not do. Numbers of four
 * bytes, or bytes read by fours. */
typedef struct rows8 {
    const char *first, *third, *sixth;
    size_t stride; /* bytes */
} rows8;

INLINE rows8 point_rows(const void *x, size_t t, size_t stride, int rows)
{
    const char *first = (const char *)x + t * stride;

    return (rows8){first, rows > 3 ? first + 3 * stride : NULL,
                   rows > 6 ? first + 6 * stride : NULL, stride};
}

/* The four bytes at `at` of row r in all lanes. */
INLINE __m512i broadcast4(const rows8 *x, int r, size_t at)
{
    static const size_t further[] = {0, 1, 2, 0, 4, 2, 0, 4}; /* rows from that pointer */
    const char *from = r < 3 || r == 4 ? x->first : r == 6 ? x->sixth : x->third;
    int32_t four;

    memcpy(&four, from + further[r] * x->stride + at, 4);
    return _mm512_set1_epi32(four);
}

/* VNNI multiplies unsigned by signed: weights carry + 128, and the sum starts at -128
 * times the sum of the row's codes. */
INLINE void q8_rows(const kern_panel *p, size_t t, int rows, int panels)
{
    const size_t groups = p->D / KERN_GROUP, head = (groups * 32 + 63) / 64 * 64;
    const rows8 q = point_rows(p->q, t, p->D, rows),
                scales = point_rows(p->q_scale, t, groups * 4, rows),
                sums = point_rows(p->q_sum, t, groups * sizeof(kern_sums), rows);
    const __m512i bias = _mm512_set1_epi16(-128);
    const uint8_t *const w[] = {p->w, p->second};
    const ptrdiff_t further = panels == 2 && t + 2 * (size_t)rows > p->T ? 2 * (w[1] - w[0])
                                                                         : 0;
    float *y = p->y + t * p->y_stride;
    __m512 sum[2][8];

    for (int r = 0; r < rows; r++)
        for (int i = 0; i < panels; i++) {
            sum[i][r] = _mm512_setzero_ps();
            __builtin_prefetch(y + (size_t)r * p->y_stride + 16 * i,
                               1); /* others read it last */
        }
    for (size_t g = 0; g < groups; g++) {
        __m512i a[2][8];

        for (int r = 0; r < rows; r++)
            for (int i = 0; i < panels; i++)
                a[i][r] = _mm512_madd_epi16(broadcast4(&sums, r, g * 4), bias);
        for (size_t k = 0; k < KERN_GROUP; k += 4) {
            __m512i v[2];

            for (int i = 0; i < panels; i++) {
                const uint8_t *at = w[i] + head + g * 512 + k * 16;

                v[i] = _mm512_load_si512(at);
                if (further) __builtin_prefetch(at + further);
            }
            for (int r = 0; r < rows; r++)
                for (int i = 0; i < panels; i++)
                    a[i][r] = _mm512_dpbusd_epi32(a[i][r], v[i],
                                                  broadcast4(&q, r, g * KERN_GROUP + k));
        }
        for (int i = 0; i < panels; i++) {
            const __m512 ws = load_numbers(w[i], g * 16, HALF);

            for (int r = 0; r < rows; r++) {
                const __m512 s = _mm512_castsi512_ps(broadcast4(&scales, r, g * 4));

                sum[i][r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a[i][r]), _mm512_mul_ps(ws, s),
                                            sum[i][r]);
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < panels; i++)
            _mm512_storeu_ps(y + (size_t)r * p->y_stride + 16 * i, sum[i][r]);
}

/* A broadcast number serves two panels: four rows of both take fewer loads than eight of one.
 * The last four, whose weights are at hand, ask for those of the next two panels. */
void kern_panel_q8_avx512(const kern_panel *p)
{
    size_t t = 0;

    for (; p->second && t + 4 <= p->T; t += 4) q8_rows(p, t, 4, 2);
    for (; t + 8 <= p->T; t += 8) q8_rows(p, t, 8, 1);
    for (; t + 4 <= p->T; t += 4) q8_rows(p, t, 4, 1);
    for (size_t one = t; one < p->T; one++) q8_rows(p, one, 1, 1);
    for (; p->second && t < p->T; t++) {
        const kern_panel next = kern_second(p);

        q8_rows(&next, t, 1, 1);
    }
}

void kern_quantize_q8_avx512(const float *x, size_t n, int8_t *q, float *scale, kern_sums *sum)
{
    for (size_t g = 0; g < n / KERN_GROUP; g++, x += KERN_GROUP, q += KERN_GROUP) {
        const __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
        const float top = _mm512_reduce_max_ps(
            _mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
        __m512 s;
        __m512i i, j;

        scale[g] = top / 127.0f;
        if (!(scale[g] > 0.0f)) {
            memset(q, 0, KERN_GROUP);
            sum[g] = (kern_sums){{0, 0}};
            continue;
        }
        s = _mm512_set1_ps(scale[g]);
        i = _mm512_cvtps_epi32(_mm512_div_ps(a, s));
        j = _mm512_cvtps_epi32(_mm512_div_ps(b, s));
        _mm_storeu_si128((__m128i *)q, _mm512_cvtsepi32_epi8(i));
        _mm_storeu_si128((__m128i *)(q + 16), _mm512_cvtsepi32_epi8(j));
        sum[g].half[0] = (int16_t)_mm512_reduce_add_epi32(i);
        sum[g].half[1] = (int16_t)_mm512_reduce_add_epi32(j);
    }
}

INLINE __m512 exp16(__m512 x)
{
    const __mmask16 live = _mm512_cmp_ps_mask(x, _mm512_set1_ps(KERN_EXP_MIN), _CMP_GE_OQ);
    __m512 n, r, p;
    __m512i bits;

    x = _mm512_min_ps(x, _mm512_set1_ps(KERN_EXP_MAX));
    n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(KERN_EXP_LOG2E)),
                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-KERN_EXP_LN2_HI), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-KERN_EXP_LN2_LO), r);
    p = _mm512_fmadd_ps(_mm512_set1_ps(KERN_EXP_C0), r, _mm512_set1_ps(KERN_EXP_C1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(KERN_EXP_C2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(KERN_EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(KERN_EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(KERN_EXP_C5));
    p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
    bits = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)),
                             23);
    return _mm512_maskz_mul_ps(live, p, _mm512_castsi512_ps(bits));
}

void kern_silu_mul_avx512(const float *gate, const float *up, size_t n, float *y)
{
    const __m512 one = _mm512_set1_ps(1.0f), sign = _mm512_set1_ps(-0.0f);
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        const __m512 g = _mm512_loadu_ps(gate + i);
        const __m512 e = _mm512_add_ps(one, exp16(_mm512_xor_ps(g, sign)));

        _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_div_ps(g, e), _mm512_loadu_ps(up + i)));
    }
    kern_silu_mul_ref(gate + i, up + i, n - i, y + i);
}

void kern_gelu_mul_avx512(const float *gate, const float *up, size_t n, float *y)
{
    const __m512 one = _mm512_set1_ps(1.0f), cube = _mm512_set1_ps(KERN_GELU_CUBE);
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        const __m512 g = _mm512_loadu_ps(gate + i);
        const __m512 slope = _mm512_fmadd_ps(_mm512_mul_ps(g, g), cube,
                                             _mm512_set1_ps(KERN_GELU_LINE));
        const __m512 e = _mm512_add_ps(one, exp16(_mm512_mul_ps(g, slope)));

        _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_div_ps(g, e), _mm512_loadu_ps(up + i)));
    }
    kern_gelu_mul_ref(gate + i, up + i, n - i, y + i);
}

INLINE __m512 cap16(__m512 x, float cap)
{
    const __m512 e = exp16(_mm512_mul_ps(x, _mm512_set1_ps(2.0f / cap)));

    return _mm512_sub_ps(
        _mm512_set1_ps(cap),
        _mm512_div_ps(_mm512_set1_ps(2.0f * cap), _mm512_add_ps(e, _mm512_set1_ps(1.0f))));
}

void kern_soft_cap_avx512(float *x, size_t n, float cap)
{
    size_t i = 0;

    for (; i + 16 <= n; i += 16) _mm512_storeu_ps(x + i, cap16(_mm512_loadu_ps(x + i), cap));
    kern_soft_cap_ref(x + i, n - i, cap);
}

INLINE __m512 load_some(const void *x, size_t at, __mmask16 some, enum number kind)
{
    if (kind == FLOAT) return _mm512_maskz_loadu_ps(some, (const float *)x + at);
    if (kind == HALF)
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(some, (const uint16_t *)x + at));
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(some, (const int8_t *)x + at)));
}

INLINE __m512 times_scale(__m512 x, const uint16_t *scale, size_t j)
{
    return scale ? _mm512_mul_ps(x, load_numbers(scale, j, HALF)) : x;
}

/* Of lanes j .. j+15, those below n. */
INLINE __mmask16 below(size_t n, size_t j)
{
    if (n >= j + 16) return 0xffff;
    return n > j ? (__mmask16)((1u << (n - j)) - 1) : 0;
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
INLINE void soften(const kern_attend *a, size_t t, float *p)
{
    const __m512 scale = _mm512_set1_ps(a->scale), unseen = _mm512_set1_ps(-INFINITY);
    const size_t n = keys_of(a, t);
    __m512 top = unseen, sum = _mm512_setzero_ps();
    float best;

    for (size_t j = 0; j < n; j += 16) {
        const __m512 s = _mm512_mul_ps(times_scale(_mm512_load_ps(p + j), a->k_scale, j),
                                       scale);
        const __m512 seen = _mm512_mask_mov_ps(unseen, seen16(a, t, j, n),
                                               a->cap > 0.0f ? cap16(s, a->cap) : s);

        top = _mm512_max_ps(top, seen);
        _mm512_store_ps(p + j, seen);
    }
    best = _mm512_reduce_max_ps(top);
    for (size_t j = 0; j < n; j += 16) {
        const __m512 e = exp16(_mm512_sub_ps(_mm512_load_ps(p + j), _mm512_set1_ps(best)));

        sum = _mm512_add_ps(sum, e);
        _mm512_store_ps(p + j, times_scale(e, a->v_scale, j));
    }
    a->m[t * a->ml_stride] = best + 0.0f;
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
    for (int r = 0; r < rows; r++) soften(a, t + (size_t)r, p + r * KERN_KEYS);
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

/* Steps of 16 tops as halves; returns their reciprocals, 0 for 0. */
INLINE __m512 int8_steps(__m512 top, __m256i *scale)
{
    const __m512 step = _mm512_min_ps(_mm512_div_ps(top, _mm512_set1_ps(127.0f)),
                                      _mm512_set1_ps(KERN_HALF_MAX));
    __m512 back;

    *scale = _mm512_cvtps_ph(step, _MM_FROUND_TO_NEAREST_INT);
    back = _mm512_cvtph_ps(*scale);
    return _mm512_maskz_div_ps(_mm512_cmp_ps_mask(back, _mm512_setzero_ps(), _CMP_GT_OQ),
                               _mm512_set1_ps(1.0f), back);
}

INLINE __m128i int8_codes(__m512 x, __m512 reciprocal)
{
    const __m512 y = _mm512_min_ps(
        _mm512_max_ps(_mm512_mul_ps(x, reciprocal), _mm512_set1_ps(-127.0f)),
        _mm512_set1_ps(127.0f));

    return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(y));
}

void kern_int8_keys_avx512(const float *kt, size_t C, size_t n, int8_t *q, uint16_t *scale)
{
    for (size_t j = 0; j < n; j += 16, kt += 16 * C, q += 16 * C) {
        __m512 top = _mm512_setzero_ps(), reciprocal;
        __m256i halves;

        for (size_t c = 0; c < C; c++)
            top = _mm512_max_ps(top, _mm512_abs_ps(_mm512_loadu_ps(kt + 16 * c)));
        reciprocal = int8_steps(top, &halves);
        _mm256_storeu_si256((__m256i *)(void *)(scale + j), halves);
        for (size_t c = 0; c < C; c++)
            _mm_storeu_si128((__m128i *)(void *)(q + 16 * c),
                             int8_codes(_mm512_loadu_ps(kt + 16 * c), reciprocal));
    }
}

void kern_int8_values_avx512(const float *v, size_t stride, size_t n, size_t C, int8_t *q,
                             uint16_t *scale)
{
    for (size_t j = 0; j < n; j++, v += stride, q += C) {
        __m512 top = _mm512_setzero_ps(), reciprocal;
        __m256i halves;

        for (size_t c = 0; c < C; c += 16)
            top = _mm512_max_ps(top, _mm512_abs_ps(load_some(v, c, below(C, c), FLOAT)));
        reciprocal = int8_steps(_mm512_set1_ps(_mm512_reduce_max_ps(top)), &halves);
        scale[j] = (uint16_t)_mm256_extract_epi16(halves, 0);
        for (size_t c = 0; c < C; c += 16)
            _mm_mask_storeu_epi8(q + c, below(C, c),
                                 int8_codes(load_some(v, c, below(C, c), FLOAT), reciprocal));
    }
}

#else
typedef int kern_avx512_is_for_x86_64;
#endif
