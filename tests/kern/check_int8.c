/* check_int8.c - heads as codes of 8 bits: every magnitude, ties, zeros, what has no step. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kern/check.h"

/* The call of keys, or of values. */
typedef struct coder {
    void (*keys)(const float *kt, size_t C, size_t n, int8_t *q, uint16_t *scale);
    void (*values)(const float *v, size_t stride, size_t n, size_t C, int8_t *q,
                   uint16_t *scale);
} coder;

enum { STRIDE = 176, ROWS = 160, SIZE = STRIDE * ROWS };

/* Codes, then scales, and the pattern past both. */
typedef struct coded {
    int8_t *q;
    uint16_t *scale;
} coded;

static coded code(coder call, const float *x, size_t a, size_t b)
{
    coded out = {check_memory(SIZE), check_memory(STRIDE * sizeof(uint16_t))};

    if (call.keys)
        call.keys(x, a, b, out.q, out.scale);
    else
        call.values(x, STRIDE, a, b, out.q, out.scale);
    return out;
}

static void free_coded(coded *c)
{
    free(c->q);
    free(c->scale);
}

static bool same_codes(const char *what, coder ref, coder twin, const float *x,
                       const size_t size[2])
{
    coded a = code(ref, x, size[0], size[1]), b = code(twin, x, size[0], size[1]);
    const bool same = check_same(what, a.q, b.q, SIZE) &&
                      check_same(what, a.scale, b.scale, STRIDE * sizeof(uint16_t));

    free_coded(&a);
    free_coded(&b);
    return same;
}

/* Noise whose first heads (`across` numbers from one to the next, `along` from number to
 * number) are zeros, ties, below every half, subnormal as a step, above every half. */
static float *corners(uint32_t seed, size_t across, size_t along)
{
    float *x = check_memory(SIZE * sizeof *x);

    check_floats(x, SIZE, seed);
    for (size_t i = 0; i < ROWS; i++) {
        x[i * along] = 0;
        x[i * along + across] = i ? (float)(i % 127) - 62.5f : 127;
        x[i * along + 2 * across] = 1e-12f * (float)i;
        x[i * along + 3 * across] = 0x1p-18f * (float)(i % 5);
        x[i * along + 4 * across] = i % 2 ? FLT_MAX : -1e9f;
    }
    return x;
}

/* Every code within half a step of its number, where a half can be that step. */
static bool codes_are_near(const float *x, size_t C, size_t n)
{
    coded out = code((coder){.keys = kern_int8_keys_ref}, x, C, n);
    bool near = true;

    for (size_t j = 0; j < n; j++)
        for (size_t c = 0; c < C; c++) {
            const float step = kern_float(out.scale[j]);
            const size_t at = (j / 16 * C + c) * 16 + j % 16;
            const float from = fabsf(x[at] - step * out.q[at]);

            if (step > 1e-4f && step < KERN_HALF_MAX) near = near && from <= 0.5625f * step;
        }
    free_coded(&out);
    return near;
}

bool check_int8_keys(const kern *k)
{
    static const size_t sizes[][2] = {{64, 128}, {10, 16}, {80, 160}, {160, 48}};
    bool same = true;

    for (uint32_t i = 0; same && i < 4; i++) {
        float *noise = corners(21 + i, 1, 16);

        same = codes_are_near(noise, sizes[i][0], sizes[i][1]) &&
               same_codes("int8_keys", (coder){.keys = kern_int8_keys_ref},
                          (coder){.keys = k->int8_keys}, noise, sizes[i]);
        free(noise);
    }
    return same;
}

bool check_int8_values(const kern *k)
{
    static const size_t sizes[][2] = {{128, 64}, {7, 10}, {160, 80}, {33, 160}, {1, 8}};
    bool same = true;

    for (uint32_t i = 0; same && i < 5; i++) {
        float *noise = corners(31 + i, STRIDE, 1);

        same = same_codes("int8_values", (coder){.values = kern_int8_values_ref},
                          (coder){.values = k->int8_values}, noise, sizes[i]);
        free(noise);
    }
    return same;
}
