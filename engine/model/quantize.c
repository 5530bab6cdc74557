/* quantize.c - weights into blocks: rounding for floats, a search for the rest.
 *
 * What a search lowers is the squared error, each number's times its weight: how large the
 * square of what it is multiplied with is on the average, where that is known (imatrix.h of the
 * converter), else 1. Rounding needs no weights, and Q8_0 has so many steps that it is not
 * searched for. */
#include "engine/model/quantize.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "engine/kern/kern.h"
#include "engine/model/quantize_block.h"
#include "engine/model/quantize_k.h"
#include "engine/model/quantize_q6.h"

enum { MOST = 256 /* numbers of a block */ };

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

/* Codes are by the scale as the file will have it, or the reader would multiply by another. */
static void write_Q8_0(const float *x, size_t n, uint8_t *out)
{
    for (size_t g = 0; g < n / 32; g++, x += 32, out += 34) {
        float most = 0, scale;

        for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(x[i]));
        scale = quantize_half(most / 127, out);
        for (int i = 0; i < 32; i++) {
            const long q = scale > 0 ? lrintf(quantize_clamp(x[i] / scale, -127, 127)) : 0;

            out[2 + i] = (uint8_t)(int8_t)q;
        }
    }
}

/* Sixteen even steps through 0, of which one more is below it than above. The largest number
 * may be the lowest step, and be it of either sign; 19 steps around that one are tried, each
 * with the scale of least error for its codes, as a half. */
static float try_step(const float *x, const float *w, float inverse, uint8_t *best, float least)
{
    float sum_xq = 0, sum_qq = 0, error = 0, d;
    uint8_t half[2];
    float q[32];

    for (int i = 0; i < 32; i++) {
        /* a cast of what is above 0 rounds, and compilers make vectors of it */
        q[i] = (float)((int)(quantize_clamp(x[i] * inverse, -8, 7) + 8.5f) - 8);
        sum_xq += w[i] * x[i] * q[i];
        sum_qq += w[i] * q[i] * q[i];
    }
    d = quantize_half(sum_qq > 0 ? sum_xq / sum_qq : 0, half);
    for (int i = 0; i < 32; i++) {
        const float off = d * q[i] - x[i];

        error += w[i] * off * off;
    }
    if (!(error < least)) return least;
    memcpy(best, half, 2);
    for (int i = 0; i < 16; i++)
        best[2 + i] = (uint8_t)((int)(q[i] + 8) | (int)(q[i + 16] + 8) << 4);
    return error;
}

static void write_Q4_0(const float *x, const float *w, size_t n, uint8_t *out)
{
    for (size_t g = 0; g < n / 32; g++, x += 32, w += 32, out += 18) {
        float most = 0, least = INFINITY;

        for (int i = 0; i < 32; i++)
            if (fabsf(x[i]) > fabsf(most)) most = x[i];
        memset(out, 0, 2);
        memset(out + 2, 0x88, 16); /* all 0 */
        for (int k = -9; k <= 9 && most != 0; k++)
            least = try_step(x, w, -(8 + 0.1f * (float)k) / most, out, least);
    }
}

/* --- the table --- */

typedef struct writer {
    gguf_type type;
    void (*round)(const float *x, size_t n, uint8_t *out);
    void (*search)(const float *x, const float *w, size_t n, uint8_t *out);
} writer;

static const writer writers[] = {{GGUF_F32, write_F32, NULL},
                                 {GGUF_F16, write_F16, NULL},
                                 {GGUF_BF16, write_BF16, NULL},
                                 {GGUF_Q8_0, write_Q8_0, NULL},
                                 {GGUF_Q4_0, NULL, write_Q4_0},
                                 {GGUF_Q4_K, NULL, quantize_k_write_Q4_K},
                                 {GGUF_Q5_K, NULL, quantize_k_write_Q5_K},
                                 {GGUF_Q6_K, NULL, quantize_q6_write}};

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

/* Block by block, so that what is searched for needs no weights of a whole row. */
static void search_evenly(const writer *to, const float *x, size_t n, uint8_t *out)
{
    static const float ones[MOST] = {
#define EIGHT      1, 1, 1, 1, 1, 1, 1, 1,
#define SIXTY_FOUR EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT
        SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR
#undef SIXTY_FOUR
#undef EIGHT
    };
    size_t elements = 1, bytes = 0;

    (void)gguf_type_name(to->type, &elements, &bytes);
    for (size_t at = 0; at < n; at += elements, out += bytes)
        to->search(x + at, ones, elements, out);
}

void quantize_row(gguf_type type, const float *x, size_t n, void *out)
{
    quantize_weighed(type, x, NULL, n, out);
}

void quantize_weighed(gguf_type type, const float *x, const float *w, size_t n, void *out)
{
    const writer *to = find_writer(type);

    assert(quantize_fits(type, n));
    if (to->round)
        to->round(x, n, out);
    else if (w)
        to->search(x, w, n, out);
    else
        search_evenly(to, x, n, out);
}
