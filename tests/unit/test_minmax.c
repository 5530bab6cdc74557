/* test_minmax.c - packing is lossless; codes are the nearest level; groups stand alone. */
#include "xcache/minmax.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern.h"
#include "tests/test.h"

static uint32_t noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

TEST(minmax_packs_every_width_without_loss)
{
    uint8_t values[200], codes[201], back[200];
    uint32_t state = 1;

    for (int bits = 1; bits <= 8; bits++)
        for (size_t n = 1; n <= 200; n++) {
            const size_t bytes = minmax_bytes(n, bits);

            for (size_t i = 0; i < n; i++)
                values[i] = (uint8_t)(noise(&state) & ((1u << bits) - 1));
            memset(codes, 0x5a, sizeof codes);
            minmax_pack(values, n, bits, codes);
            CHECK(codes[bytes] == 0x5a);
            minmax_unpack(codes, n, bits, back);
            CHECK(memcmp(values, back, n) == 0);
        }
    CHECK(minmax_bytes(128, 3) == 48 && minmax_bytes(384, 4) == 192);
}

TEST(minmax_decodes_to_the_nearest_level)
{
    float x[300], y[300];
    uint8_t codes[304]; /* 300 codes of 8 bits, in eights */
    minmax_scale scales[3];
    uint32_t state = 2;

    for (int bits = 2; bits <= 8; bits++) {
        for (size_t i = 0; i < 300; i++) x[i] = (float)noise(&state) * 0x1p-22f - 2.0f;
        minmax_encode(x, 300, bits, codes, scales);
        minmax_decode(codes, scales, 300, bits, y);
        for (size_t i = 0; i < 300; i++) {
            const float step = kern_float(scales[i / 128].scale);

            /* half a step, and what rounding scale and zero to halves may add at the ends */
            CHECK(fabsf(x[i] - y[i]) <= step * 0.5f + 0.004f);
        }
    }
}

TEST(minmax_of_equal_and_of_huge_values_is_finite)
{
    float x[128], y[128];
    uint8_t codes[128];
    minmax_scale scale;

    for (size_t i = 0; i < 128; i++) x[i] = 0.25f;
    minmax_encode(x, 128, 4, codes, &scale);
    minmax_decode(codes, &scale, 128, 4, y);
    for (size_t i = 0; i < 128; i++) CHECK(y[i] == 0.25f);
    for (size_t i = 0; i < 128; i++) x[i] = i % 2 ? 1e9f : -1e9f;
    minmax_encode(x, 128, 4, codes, &scale);
    minmax_decode(codes, &scale, 128, 4, y);
    for (size_t i = 0; i < 128; i++) CHECK(isfinite(y[i]));
}

TEST(minmax_rows_do_not_know_their_neighbours)
{
    float x[256], y[256], alone[256];
    uint8_t codes[256];
    minmax_scale scales[2];
    uint32_t state = 3;

    for (size_t i = 0; i < 256; i++) x[i] = (float)noise(&state) * 0x1p-23f;
    minmax_encode(x, 256, 3, codes, scales);
    minmax_decode(codes, scales, 256, 3, y);
    minmax_encode(x + 128, 128, 3, codes, scales);
    minmax_decode(codes, scales, 128, 3, alone);
    CHECK(memcmp(y + 128, alone, 128 * sizeof *y) == 0);
}
