/* kern_quants.c - what a product with packed codes means: the definition of panel_<quant>.
 *
 * For one output o and one row, with x = q_scale[g] * q (quantize_q8), over a block's groups g:
 *
 *   dot[g]   = sum of s * (code - zero) * q    exact int32, the integer s included
 *   codes    = fma(dot[g], q_scale[g], codes)  g ascending
 *   minimum  = fma(m, q_scale[g] * sum of q, minimum)
 *   y        = fma(scale, codes, y)            once a block, blocks ascending;
 *   y        = fma(-min, minimum, y)           where the type has minima
 *
 * The half scale multiplies once a block instead of once a group: that is what the file's two
 * levels of scales are for, and it is cheaper. The order is the contract; twins keep it to the
 * bit. A dot is at most 32 * 32 * 127 * 128 (Q6_K), far from the end of int32. */
#include "engine/kern/kern_quants.h"

#include <math.h>
#include <string.h>

const int8_t kern_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113};

/* The number that code k of a group stands for; `at` is its output and column in a vector.
 * Slow on purpose: it follows kern_quants.h word for word, so that it can be checked by
 * reading. */
static int number_of(const uint8_t *w, kern_form f, size_t k, size_t at)
{
    int code = 0, shift = 0;

    for (int plane = 4; plane; plane /= 2) {
        const size_t b = (size_t)plane;

        if (!(f.bits & plane)) continue;
        code |= (w[k % b * KERN_VECTOR + at] >> k / b * b & ((1 << plane) - 1)) << shift;
        shift += plane;
        w += b * KERN_VECTOR;
    }
    return f.levels ? kern_levels[code] : code - f.zero;
}

/* One row's codes and one output, over half a group: exact. */
static int32_t dot_half(const uint8_t *w, kern_form f, const int8_t *q, int half, size_t o)
{
    int32_t dot = 0;

    for (size_t c = (size_t)half * 16; c < (size_t)half * 16 + 16; c++)
        dot += number_of(w, f, c / 4, o * 4 + c % 4) * q[c];
    return dot;
}

typedef struct parts {
    float codes, minimum; /* of a block, before its halves multiply them */
} parts;

/* Add group g of row t to what its block has so far; `scales` are the group's integers. */
static void add_group(parts *sum, const kern_panel *p, kern_form f, const uint8_t *w,
                      const uint8_t *scales, size_t t, size_t g, size_t o)
{
    const size_t groups = p->D / KERN_GROUP, n = f.scales == 2 ? 2 : 1;
    const float scale = p->q_scale[t * groups + g];
    const kern_sums sums = p->q_sum[t * groups + g];
    const int whole = sums.half[0] + sums.half[1];
    int32_t dot = 0;

    for (size_t h = 0; h < 2; h++) {
        const size_t at = o * n + (n == 2 ? h : 0);
        const int s = f.scales ? (int8_t)scales[at] : 1;

        dot += s * dot_half(w, f, p->q + t * p->D + g * KERN_GROUP, (int)h, o);
    }
    sum->codes = fmaf((float)dot, scale, sum->codes);
    for (size_t h = 0; f.minimum && h < n; h++) {
        const float m = f.scales ? scales[kern_scales_bytes(f) + o * n + h] : 1.0f;

        sum->minimum = fmaf(m, (float)(n == 2 ? sums.half[h] : whole) * scale, sum->minimum);
    }
}

static float half_at(const uint8_t *head, size_t i)
{
    uint16_t half;

    memcpy(&half, head + i * sizeof half, sizeof half);
    return kern_float(half);
}

static float multiply_row(const kern_panel *p, kern_form f, size_t t, size_t o)
{
    const size_t n = (size_t)f.groups;
    const uint8_t *head = p->w, *w = head + kern_codes_at(f, p->D);
    float y = 0.0f;

    for (size_t g = 0; g < p->D / KERN_GROUP; g += n, head += kern_head_bytes(f)) {
        const uint8_t *scales = head + kern_halves_bytes(f);
        parts sum = {0.0f, 0.0f};

        for (size_t i = 0; i < n; i++, w += kern_group_bytes(f))
            add_group(&sum, p, f, w, scales + i * kern_step_bytes(f), t, g + i, o);
        y = fmaf(half_at(head, o), sum.codes, y);
        if (f.minimum) y = fmaf(-half_at(head, KERN_PANEL + o), sum.minimum, y);
    }
    return y;
}

#define QUANT(type, name, bits, groups, scales, zero, minimum, levels)     \
    void kern_panel_##name##_ref(const kern_panel *p)                      \
    {                                                                      \
        const kern_form f = {bits, groups, scales, zero, minimum, levels}; \
                                                                           \
        for (size_t t = 0; t < p->T; t++)                                  \
            for (size_t o = 0; o < KERN_PANEL; o++)                        \
                p->y[t * p->y_stride + o] = multiply_row(p, f, t, o);      \
    }
#include "engine/kern/quants.def"
#undef QUANT
