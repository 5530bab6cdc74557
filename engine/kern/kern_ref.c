/* kern_ref.c - what every hot loop means: clear, not fast. Orders of summation written
 * here are a contract; see kern.h. */
#include "engine/kern/kern.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine/kern/kern_exp.h"

float kern_exp(float x)
{
    return kern_exp_one(x);
}

float kern_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 31u, mantissa = half & 1023u, bits;
    float x;

    if (exponent == 31) {
        bits = sign | 0x7f800000u | mantissa << 13;
        if (mantissa) bits |= 0x400000u; /* as hardware does: a NaN becomes quiet */
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    } else {
        x = (float)mantissa * 0x1p-24f; /* subnormal or zero: exact */
        memcpy(&bits, &x, sizeof bits);
        bits |= sign;
    }
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* v >> n, rounded to nearest, ties to even. */
static uint32_t shift_nearest_even(uint32_t v, uint32_t n)
{
    const uint32_t half = 1u << (n - 1), rest = v & ((half << 1) - 1);

    v >>= n;
    return v + (rest > half || (rest == half && (v & 1u)));
}

uint16_t kern_half(float x)
{
    uint32_t bits, sign, magnitude, e;

    memcpy(&bits, &x, sizeof bits);
    sign = bits >> 16 & 0x8000u;
    magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu)); /* NaN, quiet */
    if (magnitude >= 0x47800000u) return (uint16_t)(sign | 0x7c00u);    /* 65536 and up */
    if (magnitude >= 0x38800000u) /* normal; a carry runs into the exponent, as it should */
        return (uint16_t)(sign | shift_nearest_even(magnitude - 0x38000000u, 13));
    e = magnitude >> 23;
    if (e < 102) return (uint16_t)sign; /* below half the smallest subnormal */
    return (uint16_t)(sign | shift_nearest_even((magnitude & 0x7fffffu) | 0x800000u, 126 - e));
}

/* No hardware conversion here: the definition must not depend on a flag of the compiler. */
void kern_half_to_float_ref(const uint16_t *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = kern_float(x[i]);
}

void kern_float_to_half_ref(const float *x, size_t n, uint16_t *y)
{
    for (size_t i = 0; i < n; i++) y[i] = kern_half(x[i]);
}

/* fmaf by name, not a * b + c: -ffp-contract=off keeps the compiler from fusing, and this
 * says where the one rounding is. */
void kern_panel_f32_ref(const kern_panel *p)
{
    const float *w = p->w;

    for (size_t t = 0; t < p->T; t++)
        for (size_t o = 0; o < KERN_PANEL; o++) {
            float sum = 0.0f;

            for (size_t k = 0; k < p->D; k++)
                sum = fmaf(w[k * KERN_PANEL + o], p->x[t * p->D + k], sum);
            p->y[t * p->y_stride + o] = sum;
        }
}

void kern_panel_f16_ref(const kern_panel *p)
{
    const uint16_t *w = p->w;

    for (size_t t = 0; t < p->T; t++)
        for (size_t o = 0; o < KERN_PANEL; o++) {
            float sum = 0.0f;

            for (size_t k = 0; k < p->D; k++)
                sum = fmaf(kern_float(w[k * KERN_PANEL + o]), p->x[t * p->D + k], sum);
            p->y[t * p->y_stride + o] = sum;
        }
}

static float from_bf16(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float y;

    memcpy(&y, &bits, sizeof y);
    return y;
}

void kern_panel_bf16_ref(const kern_panel *p)
{
    const uint16_t *w = p->w;

    for (size_t t = 0; t < p->T; t++)
        for (size_t o = 0; o < KERN_PANEL; o++) {
            float sum = 0.0f;

            for (size_t k = 0; k < p->D; k++)
                sum = fmaf(from_bf16(w[k * KERN_PANEL + o]), p->x[t * p->D + k], sum);
            p->y[t * p->y_stride + o] = sum;
        }
}

/* Packed Q8_0 (matrix.h): scales [D/32,16] as halves, padded to 64 bytes; then for each
 * group [8,16,4] unsigned bytes, weight + 128. */
void kern_panel_q8_ref(const kern_panel *p)
{
    const size_t groups = p->D / KERN_GROUP;
    const uint16_t *scale = p->w;
    const uint8_t *w = (const uint8_t *)p->w + (groups * 32 + 63) / 64 * 64;

    for (size_t t = 0; t < p->T; t++)
        for (size_t o = 0; o < KERN_PANEL; o++) {
            float sum = 0.0f;

            for (size_t g = 0; g < groups; g++) {
                const int8_t *q = p->q + t * p->D + g * KERN_GROUP;
                const kern_sums sums = p->q_sum[t * groups + g];
                int32_t dot = -128 * (sums.half[0] + sums.half[1]);

                for (size_t k = 0; k < KERN_GROUP; k++)
                    dot += w[g * 512 + k / 4 * 64 + o * 4 + k % 4] * q[k];
                sum = fmaf((float)dot,
                           kern_float(scale[g * 16 + o]) * p->q_scale[t * groups + g], sum);
            }
            p->y[t * p->y_stride + o] = sum;
        }
    if (p->second) {
        const kern_panel next = kern_second(p);

        kern_panel_q8_ref(&next);
    }
}

/* Groups of 32: scale = max|x| / 127, q = nearest even of x / scale; sum = sums of q. */
void kern_quantize_q8_ref(const float *x, size_t n, int8_t *q, float *scale, kern_sums *sum)
{
    assert(n % KERN_GROUP == 0);
    for (size_t g = 0; g < n / KERN_GROUP; g++) {
        const float *in = x + g * KERN_GROUP;
        float top = 0.0f;

        for (size_t i = 0; i < KERN_GROUP; i++)
            if (fabsf(in[i]) > top) top = fabsf(in[i]);
        scale[g] = top / 127.0f;
        sum[g] = (kern_sums){{0, 0}};
        for (size_t i = 0; i < KERN_GROUP; i++) {
            const long v = scale[g] > 0.0f ? lrintf(in[i] / scale[g]) : 0;
            int16_t *half = &sum[g].half[i / 16];

            q[g * KERN_GROUP + i] = (int8_t)v;
            *half = (int16_t)(*half + v);
        }
    }
}

/* Fold n sums (a power of two) in halves: sum[i] += sum[i + n/2], and so on. */
static float fold(float *sum, size_t n)
{
    for (n /= 2; n; n /= 2)
        for (size_t i = 0; i < n; i++) sum[i] += sum[i + n];
    return sum[0];
}

/* y[d] = gain[d] * (x[d] / sqrt(mean of x^2 + eps)): 32 running sums, element i in i % 32. */
void kern_rms_norm_ref(const float *x, const float *gain, size_t n, float eps, float *y)
{
    float sum[KERN_LANES] = {0}, inverse;

    for (size_t i = 0; i < n; i++) sum[i % KERN_LANES] = fmaf(x[i], x[i], sum[i % KERN_LANES]);
    inverse = 1.0f / sqrtf(fold(sum, KERN_LANES) / (float)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * inverse * gain[i];
}

/* y[d] = (x[d] - mean) / sqrt(variance + eps) * gain[d] + bias[d]; no bias where it is NULL.
 * Both sums run as rms_norm's. arXiv:1607.06450 */
void kern_layer_norm_ref(const float *x, const float *gain, const float *bias, size_t n,
                         float eps, float *y)
{
    float sum[KERN_LANES] = {0}, square[KERN_LANES] = {0}, mean, inverse;

    for (size_t i = 0; i < n; i++) sum[i % KERN_LANES] += x[i];
    mean = fold(sum, KERN_LANES) / (float)n;
    for (size_t i = 0; i < n; i++) {
        const float d = x[i] - mean;

        square[i % KERN_LANES] = fmaf(d, d, square[i % KERN_LANES]);
    }
    inverse = 1.0f / sqrtf(fold(square, KERN_LANES) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        const float v = (x[i] - mean) * inverse * gain[i];

        y[i] = bias ? v + bias[i] : v;
    }
}

/* Rotary positions on interleaved pairs: x[2i], x[2i+1] turn by one angle. cosine [n] has
 * each value twice, sine [n] as -s, +s; n is even. */
void kern_rotate_ref(float *x, const float *cosine, const float *sine, size_t n)
{
    for (size_t i = 0; i < n; i += 2) {
        const float a = x[i], b = x[i + 1];

        x[i] = fmaf(a, cosine[i], b * sine[i]);
        x[i + 1] = fmaf(b, cosine[i + 1], a * sine[i + 1]);
    }
}

/* The same on pairs half of n apart, x[i] and x[i + n/2]. */
void kern_rotate_halves_ref(float *x, const float *cosine, const float *sine, size_t n)
{
    const size_t half = n / 2;

    for (size_t i = 0; i < half; i++) {
        const float a = x[i], b = x[i + half];

        x[i] = fmaf(a, cosine[i], b * sine[i]);
        x[i + half] = fmaf(b, cosine[i + half], a * sine[i + half]);
    }
}

/* y = gate / (1 + exp(-gate)) * up */
void kern_silu_mul_ref(const float *gate, const float *up, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = gate[i] / (1.0f + kern_exp_one(-gate[i])) * up[i];
}

/* y = gate / (1 + exp(-2 u)) * up, u = sqrt(2/pi) (gate + 0.044715 gate^3): GELU in its tanh
 * form. arXiv:1606.08415 */
void kern_gelu_mul_ref(const float *gate, const float *up, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) {
        const float g = gate[i];
        const float w = g * fmaf(g * g, KERN_GELU_CUBE, KERN_GELU_LINE);

        y[i] = g / (1.0f + kern_exp_one(w)) * up[i];
    }
}

/* y = gate * (1 + erf(gate / sqrt 2)) / 2 * up, GELU itself: what is left of 1 is a polynomial
 * in t = 1 / (1 + p |x|), times exp(-x^2 / 2), within 1.5e-7. Abramowitz and Stegun, 7.1.26 */
void kern_erf_mul_ref(const float *gate, const float *up, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = kern_erf_gate(gate[i]) * up[i];
}

/* y = g / (1 + exp(-slope g)) * (u + 1), g = min(gate, limit), u = up within +-limit: the gate
 * of gpt-oss. arXiv:2508.10925 */
void kern_clamp_mul_ref(const float *gate, const float *up, size_t n, kern_clamp by, float *y)
{
    for (size_t i = 0; i < n; i++) {
        const float g = gate[i] < by.limit ? gate[i] : by.limit;
        const float most = up[i] < by.limit ? up[i] : by.limit;
        const float u = most > -by.limit ? most : -by.limit;

        y[i] = g / (1.0f + kern_exp_one(g * -by.slope)) * (u + 1.0f);
    }
}

/* x = rise x^2 + line x above 0, fall (exp(min(x, edge)) - 1 - x) + line x elsewhere.
 * arXiv:2411.13010 */
void kern_xielu_ref(float *x, size_t n, kern_xielu by)
{
    for (size_t i = 0; i < n; i++) {
        const float v = x[i], low = v < by.edge ? v : by.edge;
        const float bent = v > 0.0f ? v * v * by.rise
                                    : (kern_exp_one(low) - 1.0f - v) * by.fall;

        x[i] = bent + v * by.line;
    }
}

/* x = cap * tanh(x / cap), cap > 0. */
void kern_soft_cap_ref(float *x, size_t n, float cap)
{
    for (size_t i = 0; i < n; i++) x[i] = kern_cap_one(x[i], cap, 2.0f / cap);
}

/* y = y * keep + x * take: two products, then their sum. */
void kern_mix_ref(float *y, const float *x, size_t n, float keep, float take)
{
    for (size_t i = 0; i < n; i++) y[i] = y[i] * keep + x[i] * take;
}

/* y = y * by. */
void kern_scale_ref(float *y, const float *by, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] *= by[i];
}

/* x = x + (x * slope + change): a product, then two sums. */
void kern_klt_predict_ref(float *x, const float *slope, const float *change, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = x[i] + (x[i] * slope[i] + change[i]);
}

/* y[c, j] = x[j, c], j = 0 .. n-1: moves, no arithmetic. */
void kern_transpose_ref(const float *x, size_t stride, size_t n, size_t width, float *y,
                        size_t y_stride)
{
    for (size_t j = 0; j < n; j++)
        for (size_t c = 0; c < width; c++) y[c * y_stride + j] = x[j * stride + c];
}

void kern_transpose_half_ref(const float *x, size_t stride, size_t n, size_t width, uint16_t *y,
                             size_t y_stride)
{
    for (size_t j = 0; j < n; j++)
        for (size_t c = 0; c < width; c++) y[c * y_stride + j] = kern_half(x[j * stride + c]);
}

typedef float read_number(const void *x, size_t i);

static float read_float(const void *x, size_t i)
{
    return ((const float *)x)[i];
}

static float read_half(const void *x, size_t i)
{
    return kern_float(((const uint16_t *)x)[i]);
}

static float read_int8(const void *x, size_t i)
{
    return ((const int8_t *)x)[i];
}

static float read_scale(const uint16_t *scale, size_t j)
{
    return scale ? kern_float(scale[j]) : 1.0f;
}

/* Where channel c of key j is among keys in panels. */
static size_t key_at(size_t c, size_t j, size_t C)
{
    return (j / KERN_PANEL * C + c) * KERN_PANEL + j % KERN_PANEL;
}

/* The score of key j for one row's query. */
static float score(const kern_attend *a, const float *q, size_t j, read_number *read)
{
    float s = 0.0f;

    for (size_t c = 0; c < a->C; c++) s = fmaf(q[c], read(a->kt, key_at(c, j, a->C)), s);
    s = s * read_scale(a->k_scale, j) * a->scale;
    return a->cap > 0.0f ? kern_cap_one(s, a->cap, 2.0f / a->cap) : s;
}

static void attend(const kern_attend *a, read_number *read)
{
    assert(a->n <= KERN_KEYS && a->first >= 1);
    for (size_t t = 0; t < a->T; t++) {
        const float *q = a->q + t * a->q_stride;
        const size_t n = a->first + t < a->n ? a->first + t : a->n;
        const ptrdiff_t low = a->low + (ptrdiff_t)(t * a->slide);
        float p[KERN_KEYS], sum[16] = {0}, max = -INFINITY;

        for (size_t j = 0; j < n; j++) {
            p[j] = (ptrdiff_t)j < low ? -INFINITY : score(a, q, j, read);
            if (p[j] > max) max = p[j];
        }
        for (size_t j = 0; j < n; j++) {
            p[j] = kern_exp_one(p[j] - max);
            sum[j % 16] += p[j];
            p[j] *= read_scale(a->v_scale, j);
        }
        for (size_t c = 0; c < a->C; c++) {
            float o = 0.0f;

            for (size_t j = 0; j < n; j++) o = fmaf(p[j], read(a->v, j * a->v_stride + c), o);
            a->o[t * a->o_stride + c] = o;
        }
        a->m[t * a->ml_stride] = max + 0.0f; /* one zero, not two */
        a->l[t * a->ml_stride] = fold(sum, 16);
    }
}

void kern_attend_float_ref(const kern_attend *a)
{
    attend(a, read_float);
}

void kern_attend_half_ref(const kern_attend *a)
{
    attend(a, read_half);
}

void kern_attend_int8_ref(const kern_attend *a)
{
    attend(a, read_int8);
}

/* The step between codes of numbers up to top: top / 127 as a half, never infinite. Returns
 * its reciprocal, which codes are made by: a product is cheaper than a division, and the step
 * is a rounded one anyway. */
static float int8_step(float top, uint16_t *scale)
{
    float step;

    *scale = kern_half(fminf(top / 127.0f, KERN_HALF_MAX));
    step = kern_float(*scale);
    return step > 0.0f ? 1.0f / step : 0.0f;
}

/* Nearest even. Held within -127 .. 127: a step that is a subnormal half may be too short. */
static int8_t int8_code(float x, float reciprocal)
{
    return (int8_t)lrintf(fminf(fmaxf(x * reciprocal, -127.0f), 127.0f));
}

/* One head's keys in panels: kt and q [n/16,C,16], n a multiple of 16; scale [n] halves, one
 * a key. */
void kern_int8_keys_ref(const float *kt, size_t C, size_t n, int8_t *q, uint16_t *scale)
{
    assert(n % 16 == 0);
    for (size_t j = 0; j < n; j++) {
        float top = 0.0f, reciprocal;

        for (size_t c = 0; c < C; c++) top = fmaxf(top, fabsf(kt[key_at(c, j, C)]));
        reciprocal = int8_step(top, &scale[j]);
        for (size_t c = 0; c < C; c++)
            q[key_at(c, j, C)] = int8_code(kt[key_at(c, j, C)], reciprocal);
    }
}

/* One head's values: v [n,C], `stride` numbers from token to token; q [n,C]; scale [n] halves,
 * one a token. */
void kern_int8_values_ref(const float *v, size_t stride, size_t n, size_t C, int8_t *q,
                          uint16_t *scale)
{
    for (size_t j = 0; j < n; j++) {
        float top = 0.0f, reciprocal;

        for (size_t c = 0; c < C; c++) top = fmaxf(top, fabsf(v[j * stride + c]));
        reciprocal = int8_step(top, &scale[j]);
        for (size_t c = 0; c < C; c++) q[j * C + c] = int8_code(v[j * stride + c], reciprocal);
    }
}
