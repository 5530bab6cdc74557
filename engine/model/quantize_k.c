/* quantize_k.c - the search for Q4_K and Q5_K.
 *
 * A block has 8 sub-blocks of 32 numbers, x ~ d * s_j * code - d_min * m_j:
 *
 *   1  each sub-block alone: 11 guesses of its range, codes and least-squares fit in turns
 *   2  d and d_min from the largest scale and minimum, s_j and m_j rounded to 6 bits
 *   3  s_j and m_j among their 3 x 3 neighbours, codes anew; d and d_min by least squares, in
 *      turns while the error falls
 *
 * Each turn only counts if it lowers the squared error, as it is weighed. */
#include "engine/model/quantize_k.h"

#include <math.h>
#include <string.h>

#include "engine/model/quantize_block.h"

enum { SUB = 32, SUBS = 8, STEPS = 63, TRIES = 11, ROUNDS = 3 };

/* How a sub-block is written: scale * code - minimum, neither of the two negative. */
typedef struct fit {
    float scale, minimum;
} fit;

/* Numbers, what the error of each counts, and the largest code. */
typedef struct source {
    const float *x, *w;
    int levels;
} source;

static source sub_of(source s, int j)
{
    return (source){s.x + j * SUB, s.w + j * SUB, s.levels};
}

/* The codes next to x, and what they are off by, squared and summed. The hottest of all: a
 * block asks for it some 500 times. A cast of at + 0.5 instead of lrintf lets the compiler
 * vectorize the loop. */
static float find_codes(source s, fit f, uint8_t *q)
{
    const float inverse = f.scale > 0 ? 1 / f.scale : 0;
    const float *x = s.x, *w = s.w, most = (float)s.levels;
    float error = 0;

    for (int i = 0; i < SUB; i++) {
        const float at = quantize_clamp((x[i] + f.minimum) * inverse, 0, most);
        const int code = (int)(at + 0.5f);
        const float off = f.scale * (float)code - f.minimum - x[i];

        q[i] = (uint8_t)code;
        error += w[i] * off * off;
    }
    return error;
}

/* Scale and minimum of least squared error for these codes. Two unknowns, linear: the normal
 * equations. A minimum that would be negative is held at 0, which leaves one. */
static fit fit_codes(source s, const uint8_t *q)
{
    float sum_w = 0, sum_q = 0, sum_qq = 0, sum_x = 0, sum_xq = 0, spread;
    fit f;

    for (int i = 0; i < SUB; i++) {
        const float code = q[i], w = s.w[i];

        sum_w += w;
        sum_q += w * code;
        sum_qq += w * code * code;
        sum_x += w * s.x[i];
        sum_xq += w * code * s.x[i];
    }
    spread = sum_w * sum_qq - sum_q * sum_q;
    if (!(spread > 0)) return (fit){0, sum_w > 0 ? fmaxf(-sum_x / sum_w, 0) : 0};
    f.scale = (sum_w * sum_xq - sum_q * sum_x) / spread;
    f.minimum = (f.scale * sum_q - sum_x) / sum_w;
    if (f.minimum < 0) f = (fit){sum_xq / sum_qq, 0};
    f.scale = fmaxf(f.scale, 0);
    return f;
}

/* From a first guess: codes, fit, and again while it helps. */
static void descend(source s, fit f, fit *best, float *least)
{
    uint8_t q[SUB];

    for (int round = 0; round < ROUNDS; round++) {
        const float error = find_codes(s, f, q);

        if (error < *least) {
            *least = error;
            *best = f;
        } else if (round) {
            return;
        }
        f = fit_codes(s, q);
    }
}

/* A range a little narrower than the data's clips the outermost number and serves the others
 * better; one a little wider may meet more of them. */
static fit search_sub(source s)
{
    const float *x = s.x, levels = (float)(s.levels - 1);
    float low = 0, high = x[0], least = INFINITY;
    fit best = {0, 0};

    for (int i = 0; i < SUB; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    if (!(high > low)) return (fit){0, -low};
    for (int k = 0; k < TRIES; k++)
        descend(s, (fit){(high - low) / (levels + 0.2f * (float)k), -low}, &best, &least);
    return best;
}

typedef struct block {
    float d, d_minimum; /* as halves hold them */
    uint8_t scale[SUBS], minimum[SUBS];
    uint8_t q[SUBS][SUB];
    float error;
} block;

static uint8_t round_step(float x, float unit)
{
    return unit > 0 ? (uint8_t)(quantize_clamp(x / unit, 0, STEPS) + 0.5f) : 0;
}

/* The best pair for a sub-block among those next to b's, which it becomes; its error.
 * Rounding scale and minimum apart from each other is not the best pair; nine pairs are
 * cheap to try. */
static float search_steps(block *b, source x, int j)
{
    const int scale = b->scale[j], minimum = b->minimum[j];
    float least = INFINITY;
    uint8_t q[SUB];

    for (int s = scale - 1; s <= scale + 1; s++)
        for (int m = minimum - 1; m <= minimum + 1; m++) {
            float error;

            if (s < 0 || s > STEPS || m < 0 || m > STEPS) continue;
            error = find_codes(x, (fit){b->d * (float)s, b->d_minimum * (float)m}, q);
            if (error >= least) continue;
            least = error;
            b->scale[j] = (uint8_t)s;
            b->minimum[j] = (uint8_t)m;
            memcpy(b->q[j], q, sizeof q);
        }
    return least;
}

static void search_block_steps(block *b, source x)
{
    b->error = 0;
    for (int j = 0; j < SUBS; j++) b->error += search_steps(b, sub_of(x, j), j);
}

/* The two halves of least squared error for b's steps and codes. In double: sums of 256
 * products of 6-bit steps and 4-bit codes. */
static void fit_halves(block *b, source x)
{
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0, spread;
    uint8_t half[2];

    for (int i = 0; i < SUB * SUBS; i++) {
        const int j = i / SUB;
        const double s = (double)b->scale[j] * b->q[j][i % SUB], m = b->minimum[j];

        const double w = (double)x.w[i], value = (double)x.x[i];

        aa += w * s * s;
        ab += w * s * m;
        bb += w * m * m;
        xa += w * s * value;
        xb += w * m * value;
    }
    spread = aa * bb - ab * ab;
    if (!(spread > 0)) return;
    b->d = quantize_half((float)((xa * bb - xb * ab) / spread), half);
    b->d_minimum = quantize_half((float)((xa * ab - xb * aa) / spread), half);
}

/* Both types: halves, then 6-bit steps: four pairs whole, the others in what is left of them.
 */
static void write_steps(const block *b, uint8_t *out)
{
    uint8_t *steps = out + 4;

    (void)quantize_half(b->d, out);
    (void)quantize_half(b->d_minimum, out + 2);
    for (int j = 0; j < 4; j++) {
        steps[j] = (uint8_t)(b->scale[j] | (b->scale[j + 4] >> 4) << 6);
        steps[j + 4] = (uint8_t)(b->minimum[j] | (b->minimum[j + 4] >> 4) << 6);
        steps[j + 8] = (uint8_t)((b->scale[j + 4] & 15) | (b->minimum[j + 4] & 15) << 4);
    }
}

/* Four bits of each code, two sub-blocks in a run of bytes. */
static void write_low(const block *b, uint8_t *codes)
{
    for (int j = 0; j < SUBS; j += 2)
        for (int i = 0; i < SUB; i++)
            codes[j / 2 * SUB + i] = (uint8_t)((b->q[j][i] & 15) | (b->q[j + 1][i] & 15) << 4);
}

/* The fifth bit of code i of all sub-blocks is byte i. */
static void write_high(const block *b, uint8_t *bits)
{
    memset(bits, 0, SUB);
    for (int j = 0; j < SUBS; j++)
        for (int i = 0; i < SUB; i++) bits[i] |= (uint8_t)((b->q[j][i] >> 4) << j);
}

/* The first steps of a block: each sub-block by itself, then rounded to shared units. */
static void start_block(block *b, source x)
{
    float most_scale = 0, most_minimum = 0;
    fit f[SUBS];
    uint8_t half[2];

    for (int j = 0; j < SUBS; j++) {
        f[j] = search_sub(sub_of(x, j));
        most_scale = fmaxf(most_scale, f[j].scale);
        most_minimum = fmaxf(most_minimum, f[j].minimum);
    }
    b->d = quantize_half(most_scale / STEPS, half);
    b->d_minimum = quantize_half(most_minimum / STEPS, half);
    for (int j = 0; j < SUBS; j++) {
        b->scale[j] = round_step(f[j].scale, b->d);
        b->minimum[j] = round_step(f[j].minimum, b->d_minimum);
    }
}

static void search_block(block *best, source x)
{
    block b;

    start_block(best, x);
    search_block_steps(best, x);
    b = *best;
    for (int round = 0; round < ROUNDS; round++) {
        fit_halves(&b, x);
        search_block_steps(&b, x);
        if (!(b.error < best->error)) return;
        *best = b;
    }
}

void quantize_k_write_Q4_K(const float *x, const float *w, size_t n, uint8_t *out)
{
    block b;

    for (size_t at = 0; at < n; at += SUB * SUBS, out += 144) {
        search_block(&b, (source){x + at, w + at, 15});
        write_steps(&b, out);
        write_low(&b, out + 16);
    }
}

void quantize_k_write_Q5_K(const float *x, const float *w, size_t n, uint8_t *out)
{
    block b;

    for (size_t at = 0; at < n; at += SUB * SUBS, out += 176) {
        search_block(&b, (source){x + at, w + at, 31});
        write_steps(&b, out);
        write_high(&b, out + 16);
        write_low(&b, out + 48);
    }
}
