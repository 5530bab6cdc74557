/* quantize_q6.c - the search for Q6_K.
 *
 * A block has 16 sub-blocks of 16 numbers, x ~ d * s_j * code, s_j of 8 bits and codes of -32
 * .. 31: one more below 0 than above, so a scale may be negative, which turns that round.
 *
 *   1  each sub-block alone: 19 scales around the one that makes its largest number -32, each
 *      with the scale of least error for its codes
 *   2  d from the largest scale; s_j rounded, and among its neighbours the best
 *   3  d by least squares for these codes, and 2 again while the error falls */
#include "engine/model/quantize_q6.h"

#include <math.h>
#include <string.h>

#include "engine/model/quantize_block.h"

enum { SUB = 16, SUBS = 16, LOW = -32, HIGH = 31, STEPS = 127, TRIES = 9, ROUNDS = 3 };

typedef struct block {
    float d; /* as a half holds it */
    int scale[SUBS];
    int8_t q[SUBS][SUB];
    float error;
} block;

/* The codes next to x, and what they are off by. */
static float find_codes(const float *x, const float *w, float scale, int8_t *q)
{
    const float inverse = scale > 0 || scale < 0 ? 1 / scale : 0;
    float error = 0;

    for (int i = 0; i < SUB; i++) {
        const float at = quantize_clamp(x[i] * inverse, LOW, HIGH);
        /* a cast of what is above 0 rounds, and compilers make vectors of it */
        const int code = (int)(at + 32.5f) - 32;
        const float off = scale * (float)code - x[i];

        q[i] = (int8_t)code;
        error += w[i] * off * off;
    }
    return error;
}

static float fit_scale(const float *x, const float *w, const int8_t *q)
{
    float sum_xq = 0, sum_qq = 0;

    for (int i = 0; i < SUB; i++) {
        sum_xq += w[i] * x[i] * (float)q[i];
        sum_qq += w[i] * (float)(q[i] * q[i]);
    }
    return sum_qq > 0 ? sum_xq / sum_qq : 0;
}

static float search_sub(const float *x, const float *w)
{
    float most = 0, least = INFINITY, best = 0;
    int8_t q[SUB];

    for (int i = 0; i < SUB; i++)
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    for (int k = -TRIES; k <= TRIES && most != 0; k++) {
        float scale = most / (LOW - 0.1f * (float)k), error;

        (void)find_codes(x, w, scale, q);
        scale = fit_scale(x, w, q);
        error = find_codes(x, w, scale, q);
        if (!(error < least)) continue;
        least = error;
        best = scale;
    }
    return best;
}

/* The best of a sub-block's step and its two neighbours, which becomes b's; its error. */
static float search_step(block *b, const float *x, const float *w, int j)
{
    const int step = b->scale[j];
    float least = INFINITY;
    int8_t q[SUB];

    for (int s = step - 1; s <= step + 1; s++) {
        float error;

        if (s < -STEPS - 1 || s > STEPS) continue;
        error = find_codes(x, w, b->d * (float)s, q);
        if (!(error < least)) continue;
        least = error;
        b->scale[j] = s;
        memcpy(b->q[j], q, sizeof q);
    }
    return least;
}

static void search_steps(block *b, const float *x, const float *w)
{
    b->error = 0;
    for (int j = 0; j < SUBS; j++) b->error += search_step(b, x + j * SUB, w + j * SUB, j);
}

/* The half of least error for b's steps and codes; 8 and 6 bits of them, 256 times: in double.
 */
static void fit_half(block *b, const float *x, const float *w)
{
    double sum_xs = 0, sum_ss = 0;
    uint8_t half[2];

    for (int i = 0; i < SUB * SUBS; i++) {
        const double s = (double)(b->scale[i / SUB] * b->q[i / SUB][i % SUB]);

        sum_xs += (double)w[i] * s * (double)x[i];
        sum_ss += (double)w[i] * s * s;
    }
    if (sum_ss > 0) b->d = quantize_half((float)(sum_xs / sum_ss), half);
}

/* The largest scale becomes the lowest step, of whichever sign it is. */
static void start_block(block *b, const float *x, const float *w)
{
    float scale[SUBS], most = 0, inverse;
    uint8_t half[2];

    for (int j = 0; j < SUBS; j++) {
        scale[j] = search_sub(x + j * SUB, w + j * SUB);
        if (fabsf(scale[j]) > fabsf(most)) most = scale[j];
    }
    b->d = quantize_half(most / (-STEPS - 1), half);
    inverse = b->d > 0 || b->d < 0 ? 1 / b->d : 0;
    for (int j = 0; j < SUBS; j++)
        b->scale[j] = (int)lrintf(quantize_clamp(scale[j] * inverse, -STEPS - 1, STEPS));
}

/* Four low bits of a code, two high ones: halves of 128 numbers, each 4 runs of 32. */
static void write_block(const block *b, uint8_t *out)
{
    uint8_t *low = out, *high = out + 128, *scales = out + 192;

    memset(out, 0, 192);
    for (int i = 0; i < SUB * SUBS; i++) {
        const unsigned code = (unsigned)(b->q[i / SUB][i % SUB] + 32);
        const int half = i / 128, run = i % 128 / 32, at = i % 32;

        low[64 * half + 32 * (run % 2) + at] |= (uint8_t)((code & 15) << 4 * (run / 2));
        high[32 * half + at] |= (uint8_t)(code >> 4 << 2 * run);
    }
    for (int j = 0; j < SUBS; j++) scales[j] = (uint8_t)(int8_t)b->scale[j];
    (void)quantize_half(b->d, out + 208);
}

void quantize_q6_write(const float *x, const float *w, size_t n, uint8_t *out)
{
    for (size_t at = 0; at < n; at += SUB * SUBS, out += 210) {
        block best, b;

        start_block(&best, x + at, w + at);
        search_steps(&best, x + at, w + at);
        b = best;
        for (int round = 0; round < ROUNDS; round++) {
            fit_half(&b, x + at, w + at);
            search_steps(&b, x + at, w + at);
            if (!(b.error < best.error)) break;
            best = b;
        }
        write_block(&best, out);
    }
}
