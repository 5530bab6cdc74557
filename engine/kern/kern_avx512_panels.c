/* kern_avx512_panels.c - weights times rows for AVX-512: a panel of 16 outputs is one register,
 * floats or Q8_0.
 *
 * Registers (32 of 16 lanes):
 *   float types      12 rows: 12 sums, 1 weight; x is a broadcast operand of fmadd itself.
 *                    8 sums hide its latency (4 cycles, 2 a cycle), more save loads of weights
 *   Q8_0, 4 rows     of two panels: 8 int32 sums of a group, 8 float sums, 2 weights
 *         8 rows     of one panel: 8 int32 sums, 8 float sums, 1 weight
 *         1 row      of one panel
 *
 * Why two panels: dpbusd multiplies 16 outputs by 4 codes of x, broadcast to every lane, and
 * that broadcast is a load. Four rows of two panels take 2 + 4 loads for 8 products, eight rows
 * of one 1 + 8. Two loads a cycle are all there are, as are two products.
 *
 * VNNI multiplies unsigned by signed: weights carry + 128, and the sum starts at -128 times the
 * sum of the row's codes, which quantize_q8 keeps. All of it is exact in int32: 32 * 255 * 127
 * is far from its end; then one fmadd a group, groups ascending, as the definition has it. So
 * neither the number of rows nor of panels shows in a bit. */
#if defined(__x86_64__)

#include "engine/kern/kern_avx512.h"

#include <string.h>

#include "engine/kern/kern.h"

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

/* What some rows of one panel or two are multiplied from. */
typedef struct q8_work {
    rows8 q, scales, sums; /* x's codes; a scale and two sums for each group of them */
    const uint8_t *w[2];
    size_t head;       /* bytes of a panel's scales */
    ptrdiff_t further; /* to the panels that are multiplied next; 0: nothing is asked for */
    int rows, panels;
} q8_work;

/* a[i][r] = the exact sums of group g. */
INLINE void q8_group(const q8_work *o, size_t g, __m512i a[2][8])
{
    const __m512i bias = _mm512_set1_epi16(-128);

    for (int r = 0; r < o->rows; r++)
        for (int i = 0; i < o->panels; i++)
            a[i][r] = _mm512_madd_epi16(broadcast4(&o->sums, r, g * 4), bias);
    for (size_t k = 0; k < KERN_GROUP; k += 4) {
        __m512i v[2];

        for (int i = 0; i < o->panels; i++) {
            const uint8_t *at = o->w[i] + o->head + g * 512 + k * 16;

            v[i] = _mm512_load_si512(at);
            if (o->further) __builtin_prefetch(at + o->further);
        }
        for (int r = 0; r < o->rows; r++)
            for (int i = 0; i < o->panels; i++)
                a[i][r] = _mm512_dpbusd_epi32(a[i][r], v[i],
                                              broadcast4(&o->q, r, g * KERN_GROUP + k));
    }
}

/* sum += the group's exact sums times the scales of weights and row. */
INLINE void q8_add(const q8_work *o, size_t g, __m512i a[2][8], __m512 sum[2][8])
{
    for (int i = 0; i < o->panels; i++) {
        const __m512 ws = load_numbers(o->w[i], g * 16, HALF);

        for (int r = 0; r < o->rows; r++) {
            const __m512 s = _mm512_castsi512_ps(broadcast4(&o->scales, r, g * 4));

            sum[i][r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a[i][r]), _mm512_mul_ps(ws, s),
                                        sum[i][r]);
        }
    }
}

/* Weights of the last rows are asked for two panels ahead: a panel that was read once for all
 * rows is in the cache, the next ones are not. */
INLINE void q8_rows(const kern_panel *p, size_t t, int rows, int panels)
{
    const size_t groups = p->D / KERN_GROUP;
    const uint8_t *const first = p->w, *const second = p->second;
    const int last = panels == 2 && t + 2 * (size_t)rows > p->T;
    const q8_work o = {.q = point_rows(p->q, t, p->D, rows),
                       .scales = point_rows(p->q_scale, t, groups * 4, rows),
                       .sums = point_rows(p->q_sum, t, groups * sizeof(kern_sums), rows),
                       .w = {first, second},
                       .head = (groups * 32 + 63) / 64 * 64,
                       .further = last ? 2 * (second - first) : 0,
                       .rows = rows,
                       .panels = panels};
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

        q8_group(&o, g, a);
        q8_add(&o, g, a, sum);
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

#else
typedef int kern_avx512_panels_is_for_x86_64;
#endif
