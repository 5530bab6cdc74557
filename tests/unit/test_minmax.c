/* test_minmax.c - packing is lossless; codes are the nearest level; groups stand alone. */
#include "xcache/codec/minmax.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/kern/kern.h"
#include "tests/test.h"

static uint32_t noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* A row's coding with the fastest loops of this machine, which *hot keeps. */
static minmax coding(kern *hot, int bits, size_t group)
{
    kern_init(hot, cpu_flags());
    return (minmax){.kern = hot, .bits = bits, .group = group};
}

TEST(minmax_packs_every_width_without_loss)
{
    uint8_t values[200], codes[201], back[200];
    uint32_t state = 1;
    kern hot;

    kern_init(&hot, cpu_flags());
    for (int bits = 1; bits <= 8; bits++)
        for (size_t n = 1; n <= 200; n++) {
            const size_t bytes = minmax_bytes(n, bits);

            for (size_t i = 0; i < n; i++)
                values[i] = (uint8_t)(noise(&state) & ((1u << bits) - 1));
            memset(codes, 0x5a, sizeof codes);
            hot.pack_codes(values, n, bits, codes);
            CHECK(codes[bytes] == 0x5a);
            hot.unpack_codes(codes, n, bits, back);
            CHECK(memcmp(values, back, n) == 0);
        }
    CHECK(minmax_bytes(128, 3) == 48 && minmax_bytes(384, 4) == 192);
}

TEST(minmax_packs_the_lowest_bits_first)
{
    static const uint8_t values[] = {1, 2, 3, 4, 5, 6, 7, 0, 1};
    /* 0 111 110 101 100 011 010 001 in threes, from the right; then 001 */
    static const uint8_t expected[] = {0xd1, 0x58, 0x1f, 0x01, 0x00, 0x00};
    uint8_t codes[6];
    kern hot;

    kern_init(&hot, cpu_flags());
    hot.pack_codes(values, 9, 3, codes);
    CHECK(memcmp(codes, expected, sizeof codes) == 0);
}

TEST(minmax_decodes_to_the_nearest_level)
{
    float x[300], y[300];
    uint8_t codes[304]; /* 300 codes of 8 bits, in eights */
    minmax_scale scales[10];
    uint32_t state = 2;
    kern hot;

    for (size_t group = 32; group <= MINMAX_GROUP; group *= 2)
        for (int bits = 1; bits <= 8; bits++) {
            const minmax m = coding(&hot, bits, group);

            CHECK(minmax_groups(300, group) == 300 / group + 1); /* the last is shorter */
            for (size_t i = 0; i < 300; i++) x[i] = (float)noise(&state) * 0x1p-22f - 2.0f;
            minmax_encode(&m, x, 300, codes, scales);
            minmax_decode(&m, codes, scales, 300, y);
            for (size_t i = 0; i < 300; i++) {
                const float step = kern_float(scales[i / group].scale);

                /* half a step, and what rounding scale and zero to halves may add */
                CHECK(fabsf(x[i] - y[i]) <= step * 0.5f + 0.004f);
            }
        }
}

TEST(minmax_of_equal_and_of_huge_values_is_finite)
{
    float x[128], y[128];
    uint8_t codes[128];
    minmax_scale scale;
    kern hot;
    const minmax m = coding(&hot, 4, MINMAX_GROUP);

    for (size_t i = 0; i < 128; i++) x[i] = 0.25f;
    minmax_encode(&m, x, 128, codes, &scale);
    minmax_decode(&m, codes, &scale, 128, y);
    for (size_t i = 0; i < 128; i++) CHECK(y[i] == 0.25f);
    for (size_t i = 0; i < 128; i++) x[i] = i % 2 ? 1e9f : -1e9f;
    minmax_encode(&m, x, 128, codes, &scale);
    minmax_decode(&m, codes, &scale, 128, y);
    for (size_t i = 0; i < 128; i++) CHECK(isfinite(y[i]));
}

TEST(minmax_groups_do_not_know_their_neighbours)
{
    float x[256], y[256], alone[256];
    uint8_t codes[256];
    minmax_scale scales[8];
    uint32_t state = 3;
    kern hot;

    for (size_t group = 32; group <= MINMAX_GROUP; group *= 2) {
        const minmax m = coding(&hot, 3, group);

        for (size_t i = 0; i < 256; i++) x[i] = (float)noise(&state) * 0x1p-23f;
        minmax_encode(&m, x, 256, codes, scales);
        minmax_decode(&m, codes, scales, 256, y);
        minmax_encode(&m, x + group, group, codes, scales);
        minmax_decode(&m, codes, scales, group, alone);
        CHECK(memcmp(y + group, alone, group * sizeof *y) == 0);
    }
}

TEST(minmax_rounding_is_coding_and_decoding)
{
    enum { ROWS = 3, WIDTH = 150 };
    kern hot;
    const minmax m = coding(&hot, 4, 64);
    float x[ROWS * WIDTH], back[ROWS * WIDTH];
    uint8_t codes[ROWS * WIDTH];
    minmax_scale scales[ROWS * 3];
    uint32_t state = 5;

    for (size_t i = 0; i < ROWS * WIDTH; i++) x[i] = (float)noise(&state) * 0x1p-20f - 8;
    minmax_encode_rows(&m, x, ROWS, WIDTH, codes, scales);
    minmax_decode_rows(&m, codes, scales, ROWS, WIDTH, back);
    CHECK(memcmp(x, back, sizeof x) != 0);
    minmax_round_rows(&m, x, ROWS, WIDTH);
    CHECK(memcmp(x, back, sizeof x) == 0);
}
