/* test_lloyd.c - the levels are Lloyd-Max's: known distortions, centroids, mirror images. */
#include "xcache/codec/lloyd.h"

#include <math.h>

#include "tests/test.h"

/* The code of z, by the plain loop. */
static int code_of(const lloyd *l, float z)
{
    const float scale = 1;
    uint8_t code;

    kern_lloyd_encode_ref(&z, &scale, 1, &l->book, &code);
    return code;
}

TEST(lloyd_distortions_are_those_of_the_literature)
{
    static const double known[] = {1,      .36338, .11748,  .03455,  .00950,
                                   .00251, .00064, .000163, .0000413};

    for (int b = 0; b <= LLOYD_BITS; b++) {
        lloyd book;

        lloyd_make(b, &book);
        CHECK(fabs(book.distortion - known[b]) <= 1e-2 * known[b]); /* two digits are known */
    }
}

TEST(lloyd_levels_mirror_and_rise_with_middles_between)
{
    for (int b = 1; b <= LLOYD_BITS; b++) {
        const int n = 1 << b;
        lloyd l;

        lloyd_make(b, &l);
        for (int i = 0; i < n; i++) CHECK(l.book.level[i] == -l.book.level[n - 1 - i]);
        for (int i = 0; i + 1 < n; i++) CHECK(l.book.level[i] < l.book.level[i + 1]);
        for (int i = 0; i < n; i++) CHECK(code_of(&l, l.book.level[i]) == i);
        CHECK(l.book.tree[1] == 0);
    }
}

TEST(lloyd_levels_of_one_and_two_bits_are_exact)
{
    lloyd l;

    lloyd_make(1, &l);
    CHECK(fabs(l.book.level[1] - sqrt(2 / M_PI)) < 1e-7);
    lloyd_make(2, &l);
    CHECK(fabs(l.book.level[2] - .4527800398) < 1e-7 &&
          fabs(l.book.level[3] - 1.510417608) < 1e-7);
}

TEST(lloyd_code_is_the_nearest_level)
{
    for (int b = 1; b <= LLOYD_BITS; b++) {
        lloyd l;

        lloyd_make(b, &l);
        for (int step = -6000; step <= 6000; step++) {
            const float z = (float)step * 1e-3f;
            const int at = code_of(&l, z);
            const float away = fabsf(z - l.book.level[at]);

            CHECK(at >= 0 && at < 1 << b);
            if (at > 0) CHECK(away <= fabsf(z - l.book.level[at - 1]) + 1e-6f);
            if (at + 1 < 1 << b) CHECK(away <= fabsf(z - l.book.level[at + 1]) + 1e-6f);
        }
    }
}
