/* quantize.c - weights into blocks: rounding for floats, a search for Q4_K.
 *
 * A Q4_K block has 8 sub-blocks of 32 numbers, x ~ d * s_j * code - d_min * m_j:
 *
 *   1  each sub-block alone: 11 guesses of its range, codes and least-squares fit in turns
 *   2  d and d_min from the largest scale and minimum, s_j and m_j rounded to 6 bits
 *   3  s_j and m_j among their 3 x 3 neighbours, codes anew; d and d_min by least squares, in
 *      turns while the error falls
 *
 * Each turn only counts if it lowers the squared error. No importance matrix: a converter has
 * the weights and nothing that runs through them. */
#include "engine/model/quantize.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "engine/kern/kern.h"

/* Between low and high; of what is no number, low. Not fminf, which is a call. */
static inline float clamp(float x, float low, float high)
{
    x = x > low ? x : low;
    return x < high ? x : high;
}

/* --- types without a search --- */

static void write_F32(const float *x, size_t n, uint8_t *out)
{
    memcpy(out, x, n * sizeof *x);
}

static void write_F16(const float *x, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint16_t half = kern_half(x[i]);

        memcpy(out + 2 * i, &half, 2);
    }
}

/* Nearest even by hand: half of the last place is added, and one more where the last bit
 * kept is odd. */
static void write_BF16(const float *x, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        uint16_t top;

        memcpy(&bits, &x[i], 4);
        top = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
        memcpy(out + 2 * i, &top, 2);
    }
}

/* A scale as the file has it; one too large for a half is cut. */
static float half_scale(float scale, uint8_t *out)
{
    const uint16_t half = kern_half(clamp(scale, -KERN_HALF_MAX, KERN_HALF_MAX));

    memcpy(out, &half, 2);
    return kern_float(half);
}

/* Codes are by the scale as the file will have it, or the reader would multiply by another. */
static void write_Q8_0(const float *x, size_t n, uint8_t *out)
{
    for (size_t g = 0; g < n / 32; g++, x += 32, out += 34) {
        float most = 0, scale;

        for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(x[i]));
        scale = half_scale(most / 127, out);
        for (int i = 0; i < 32; i++) {
            const long q = scale > 0 ? lrintf(clamp(x[i] / scale, -127, 127)) : 0;

            out[2 + i] = (uint8_t)(int8_t)q;
        }
    }
}

/* --- Q4_K --- */

enum { SUB = 32, SUBS = 8, LEVELS = 15, STEPS = 63, TRIES = 11, ROUNDS = 3 };

/* How a sub-block is written: scale * code - minimum, neither of the two negative. */
typedef struct fit {
    float scale, minimum;
} fit;

/* The codes next to x, and what they are off by, squared and summed. The hottest of all: a
 * block asks for it some 500 times. A cast of at + 0.5 instead of lrintf lets the compiler
 * vectorize the loop. */
static float find_codes(const float *x, fit f, uint8_t *q)
{
    const float inverse = f.scale > 0 ? 1 / f.scale : 0;
    float error = 0;

    for (int i = 0; i < SUB; i++) {
        const float at = clamp((x[i] + f.minimum) * inverse, 0, LEVELS);
        const int code = (int)(at + 0.5f);
        const float off = f.scale * (float)code - f.minimum - x[i];

        q[i] = (uint8_t)code;
        error += off * off;
    }
    return error;
}

/* Scale and minimum of least squared error for these codes. Two unknowns, linear: the normal
 * equations. A minimum that would be negative is held at 0, which leaves one. */
static fit fit_codes(const float *x, const uint8_t *q)
{
    float sum_q = 0, sum_qq = 0, sum_x = 0, sum_xq = 0, spread;
    fit f;

    for (int i = 0; i < SUB; i++) {
        const float code = q[i];

        sum_q += code;
        sum_qq += code * code;
        sum_x += x[i];
        sum_xq += code * x[i];
    }
    spread = SUB * sum_qq - sum_q * sum_q;
    if (!(spread > 0)) return (fit){0, fmaxf(-sum_x / SUB, 0)};
    f.scale = (SUB * sum_xq - sum_q * sum_x) / spread;
    f.minimum = (f.scale * sum_q - sum_x) / SUB;
    if (f.minimum < 0) f = (fit){sum_xq / sum_qq, 0};
    f.scale = fmaxf(f.scale, 0);
    return f;
}

/* From a first guess: codes, fit, and again while it helps. */
static void descend(const float *x, fit f, fit *best, float *least)
{
    uint8_t q[SUB];

    for (int round = 0; round < ROUNDS; round++) {
        const float error = find_codes(x, f, q);

        if (error < *least) {
            *least = error;
            *best = f;
        } else if (round) {
            return;
        }
        f = fit_codes(x, q);
    }
}

/* A range a little narrower than the data's clips the outermost number and serves the others
 * better; one a little wider may meet more of them. */
static fit search_sub(const float *x)
{
    float low = 0, high = x[0], least = INFINITY;
    fit best = {0, 0};

    for (int i = 0; i < SUB; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    if (!(high > low)) return (fit){0, -low};
    for (int k = 0; k < TRIES; k++)
        descend(x, (fit){(high - low) / (LEVELS - 1 + 0.2f * (float)k), -low}, &best, &least);
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
    return unit > 0 ? (uint8_t)(clamp(x / unit, 0, STEPS) + 0.5f) : 0;
}

/* The best pair for a sub-block among those next to b's, which it becomes; its error.
 * Rounding scale and minimum apart from each other is not the best pair; nine pairs are
 * cheap to try. */
static float search_steps(block *b, const float *x, int j)
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

static void search_block_steps(block *b, const float *x)
{
    b->error = 0;
    for (int j = 0; j < SUBS; j++) b->error += search_steps(b, x + j * SUB, j);
}

/* The two halves of least squared error for b's steps and codes. In double: sums of 256
 * products of 6-bit steps and 4-bit codes. */
static void fit_halves(block *b, const float *x)
{
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0, spread;
    uint8_t half[2];

    for (int i = 0; i < SUB * SUBS; i++) {
        const int j = i / SUB;
        const double s = (double)b->scale[j] * b->q[j][i % SUB], m = b->minimum[j];

        aa += s * s;
        ab += s * m;
        bb += m * m;
        xa += s * (double)x[i];
        xb += m * (double)x[i];
    }
    spread = aa * bb - ab * ab;
    if (!(spread > 0)) return;
    b->d = half_scale((float)((xa * bb - xb * ab) / spread), half);
    b->d_minimum = half_scale((float)((xa * ab - xb * aa) / spread), half);
}

static void write_block(const block *b, uint8_t *out)
{
    uint8_t *steps = out + 4, *codes = out + 16;

    (void)half_scale(b->d, out);
    (void)half_scale(b->d_minimum, out + 2);
    for (int j = 0; j < 4; j++) { /* six bits: four pairs whole, the others in what is left */
        steps[j] = (uint8_t)(b->scale[j] | (b->scale[j + 4] >> 4) << 6);
        steps[j + 4] = (uint8_t)(b->minimum[j] | (b->minimum[j + 4] >> 4) << 6);
        steps[j + 8] = (uint8_t)((b->scale[j + 4] & 15) | (b->minimum[j + 4] & 15) << 4);
    }
    for (int j = 0; j < SUBS; j += 2)
        for (int i = 0; i < SUB; i++)
            codes[j / 2 * SUB + i] = (uint8_t)(b->q[j][i] | b->q[j + 1][i] << 4);
}

/* The first steps of a block: each sub-block by itself, then rounded to shared units. */
static void start_block(block *b, const float *x)
{
    float most_scale = 0, most_minimum = 0;
    fit f[SUBS];
    uint8_t half[2];

    for (int j = 0; j < SUBS; j++) {
        f[j] = search_sub(x + j * SUB);
        most_scale = fmaxf(most_scale, f[j].scale);
        most_minimum = fmaxf(most_minimum, f[j].minimum);
    }
    b->d = half_scale(most_scale / STEPS, half);
    b->d_minimum = half_scale(most_minimum / STEPS, half);
    for (int j = 0; j < SUBS; j++) {
        b->scale[j] = round_step(f[j].scale, b->d);
        b->minimum[j] = round_step(f[j].minimum, b->d_minimum);
    }
}

static void write_Q4_K(const float *x, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n / (SUB * SUBS); i++, x += SUB * SUBS, out += 144) {
        block best, b;

        start_block(&best, x);
        search_block_steps(&best, x);
        b = best;
        for (int round = 0; round < ROUNDS; round++) {
            fit_halves(&b, x);
            search_block_steps(&b, x);
            if (!(b.error < best.error)) break;
            best = b;
        }
        write_block(&best, out);
    }
}

/* --- the table --- */

typedef struct writer {
    gguf_type type;
    void (*write)(const float *x, size_t n, uint8_t *out);
} writer;

static const writer writers[] = {{GGUF_F32, write_F32},
                                 {GGUF_F16, write_F16},
                                 {GGUF_BF16, write_BF16},
                                 {GGUF_Q8_0, write_Q8_0},
                                 {GGUF_Q4_K, write_Q4_K}};

/* As many rows as a converter offers; what it cannot write it refuses before it reads a
 * weight. */
static const writer *find_writer(gguf_type type)
{
    for (size_t i = 0; i < sizeof writers / sizeof writers[0]; i++)
        if (writers[i].type == type) return &writers[i];
    return NULL;
}

bool quantize_fits(gguf_type type, size_t n)
{
    size_t elements = 1;

    return find_writer(type) && gguf_type_name(type, &elements, NULL) && n % elements == 0;
}

void quantize_row(gguf_type type, const float *x, size_t n, void *out)
{
    assert(quantize_fits(type, n));
    find_writer(type)->write(x, n, out);
}
