/* kern_avx512.c - twins of kern_ref.c for AVX-512 (F, BW, DQ, VL, VNNI): 16 lanes. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "engine/kern.h"
#include "engine/kern_exp.h"

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

/* VNNI multiplies unsigned by signed: weights carry + 128, and the sum starts at -128
 * times the sum of the row's codes. */
INLINE void q8_rows(const kern_panel *p, size_t t, int rows)
{
    const size_t groups = p->D / KERN_GROUP;
    const uint16_t *scale = p->w;
    const uint8_t *w = (const uint8_t *)p->w + (groups * 32 + 63) / 64 * 64;
    __m512 sum[8];

    for (int r = 0; r < rows; r++) sum[r] = _mm512_setzero_ps();
    for (size_t g = 0; g < groups; g++, w += 512, scale += 16) {
        const __m512 ws = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scale));
        __m512i a[8];

        for (int r = 0; r < rows; r++)
            a[r] = _mm512_set1_epi32(-128 * p->q_sum[(t + (size_t)r) * groups + g]);
        for (size_t k = 0; k < KERN_GROUP; k += 4) {
            const __m512i v = _mm512_load_si512(w + k * 16);

            for (int r = 0; r < rows; r++) {
                int32_t four;

                memcpy(&four, p->q + (t + (size_t)r) * p->D + g * KERN_GROUP + k, 4);
                a[r] = _mm512_dpbusd_epi32(a[r], v, _mm512_set1_epi32(four));
            }
        }
        for (int r = 0; r < rows; r++) {
            const __m512 s = _mm512_set1_ps(p->q_scale[(t + (size_t)r) * groups + g]);

            sum[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a[r]), _mm512_mul_ps(ws, s), sum[r]);
        }
    }
    for (int r = 0; r < rows; r++)
        _mm512_storeu_ps(p->y + (t + (size_t)r) * p->y_stride, sum[r]);
}

void kern_panel_q8_avx512(const kern_panel *p)
{
    size_t t = 0;

    for (; t + 8 <= p->T; t += 8) q8_rows(p, t, 8);
    for (; t + 4 <= p->T; t += 4) q8_rows(p, t, 4);
    for (; t < p->T; t++) q8_rows(p, t, 1);
}

void kern_quantize_q8_avx512(const float *x, size_t n, int8_t *q, float *scale, int32_t *sum)
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
            sum[g] = 0;
            continue;
        }
        s = _mm512_set1_ps(scale[g]);
        i = _mm512_cvtps_epi32(_mm512_div_ps(a, s));
        j = _mm512_cvtps_epi32(_mm512_div_ps(b, s));
        _mm_storeu_si128((__m128i *)q, _mm512_cvtsepi32_epi8(i));
        _mm_storeu_si128((__m128i *)(q + 16), _mm512_cvtsepi32_epi8(j));
        sum[g] = _mm512_reduce_add_epi32(_mm512_add_epi32(i, j));
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

/* Scores of keys j .. j+127, the unseen ones -infinity. */
INLINE __m512 scores128(const kern_attend *a, const float *q, size_t j, size_t n, float *p,
                        __m512 top)
{
    const size_t vectors = n - j >= 128 ? 8 : (n - j + 15) / 16;
    __m512 s[8];

    for (int i = 0; i < 8; i++) s[i] = _mm512_setzero_ps();
    for (size_t c = 0; c < a->C; c++) {
        const __m512 b = _mm512_set1_ps(q[c]);
        const float *k = a->kt + c * a->kt_stride + j;

        if (vectors == 8)
            for (size_t i = 0; i < 8; i++)
                s[i] = _mm512_fmadd_ps(b, _mm512_loadu_ps(k + 16 * i), s[i]);
        else
            for (size_t i = 0; i < vectors; i++)
                s[i] = _mm512_fmadd_ps(b, _mm512_loadu_ps(k + 16 * i), s[i]);
    }
    for (size_t i = 0; i < vectors; i++) {
        const size_t left = n - j - 16 * i;
        const __mmask16 seen = left < 16 ? (__mmask16)((1u << left) - 1) : 0xffff;

        s[i] = _mm512_mask_mul_ps(_mm512_set1_ps(-INFINITY), seen, s[i],
                                  _mm512_set1_ps(a->scale));
        top = _mm512_max_ps(top, s[i]);
        _mm512_store_ps(p + j + 16 * i, s[i]);
    }
    return top;
}

/* o[c .. c+16*vectors-1] over all n keys, the last vector masked. */
INLINE void values(const kern_attend *a, const float *p, size_t n, size_t c, int vectors,
                   __mmask16 last, float *o)
{
    __m512 s[4];

    for (int i = 0; i < vectors; i++) s[i] = _mm512_setzero_ps();
    for (size_t j = 0; j < n; j++) {
        const float *v = a->v + j * a->v_stride + c;
        const __m512 b = _mm512_set1_ps(p[j]);

        for (int i = 0; i < vectors - 1; i++)
            s[i] = _mm512_fmadd_ps(b, _mm512_loadu_ps(v + 16 * i), s[i]);
        s[vectors - 1] = _mm512_fmadd_ps(b, _mm512_maskz_loadu_ps(last, v + 16 * (vectors - 1)),
                                         s[vectors - 1]);
    }
    for (int i = 0; i < vectors - 1; i++) _mm512_storeu_ps(o + c + 16 * i, s[i]);
    _mm512_mask_storeu_ps(o + c + 16 * (vectors - 1), last, s[vectors - 1]);
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

static void attend_row(const kern_attend *a, const float *q, size_t n, float *m, float *l,
                       float *o)
{
    float p[KERN_KEYS] __attribute__((aligned(64)));
    __m512 top = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
    float best;
    size_t c = 0;

    for (size_t j = 0; j < n; j += 128) top = scores128(a, q, j, n, p, top);
    best = _mm512_reduce_max_ps(top);
    for (size_t j = 0; j < n; j += 16) {
        const __m512 e = exp16(_mm512_sub_ps(_mm512_load_ps(p + j), _mm512_set1_ps(best)));

        sum = _mm512_add_ps(sum, e);
        _mm512_store_ps(p + j, e);
    }
    for (; c + 64 <= a->C; c += 64) values(a, p, n, c, 4, 0xffff, o);
    for (; c < a->C; c += 16)
        values(a, p, n, c, 1,
               a->C - c < 16 ? (__mmask16)((1u << (a->C - c)) - 1) : (__mmask16)0xffff, o);
    *m = best + 0.0f;
    *l = fold16(sum);
}

void kern_attend_avx512(const kern_attend *a)
{
    for (size_t t = 0; t < a->T; t++)
        attend_row(a, a->q + t * a->q_stride, a->first + t < a->n ? a->first + t : a->n,
                   a->m + t * a->ml_stride, a->l + t * a->ml_stride, a->o + t * a->o_stride);
}

#else
typedef int kern_avx512_is_for_x86_64;
#endif
