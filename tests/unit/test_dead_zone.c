/* test_dead_zone.c - where the quantizer of klt rounds, and what comes back. */
#include <math.h>
#include <string.h>

#include "tests/rungs.h"
#include "tests/test.h"

TEST(klt_quantizes_with_a_dead_zone_and_dequantizes_zero_to_zero)
{
    static const float u[16] = {0.59f, 0.61f, -0.59f, -0.61f, 1.59f, -1.61f, 1e9f,     -1e9f,
                                NAN,   -0.0f, 0.3f,   -0.3f,  1.0f,  1.0f,   INFINITY, 7.0f};
    static const float inverse[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 0, INFINITY, 0, 1};
    static const int16_t expected[16] = {0, 1, 0, -1, 1, -2,    32000, -32000,
                                         0, 0, 1, -1, 0, 32000, 0,     7};
    static const int16_t row[1] = {24};
    static const int8_t column[16] = {0};
    float bias[KERN_TABLES] = {0}, step[16], out[16];
    int16_t q[16];
    kern k;

    bias[24] = 0.125f;
    for (size_t t = 0; t < 16; t++) step[t] = t == 9 ? INFINITY : 0.5f;
    for (size_t r = 0; rungs_init(r, &k); r++) {
        const kern_classes c = {row, column, 1, 16};

        k.klt_quantize(u, inverse, 1, 16, q);
        CHECK(memcmp(q, expected, sizeof q) == 0);
        k.klt_dequantize(&c, q, bias, step, out);
        CHECK(out[0] == 0 && !signbit(out[9]) && out[9] == 0);
        CHECK(out[1] == 0.4375f && out[3] == -0.4375f && out[15] == 3.4375f);
    }
}
