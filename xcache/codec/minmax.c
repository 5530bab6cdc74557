/* minmax.c - rows of values to codes and back, group by group. */
#include "xcache/codec/minmax.h"

#include <assert.h>

size_t minmax_groups(size_t n, size_t group)
{
    return (n + group - 1) / group;
}

size_t minmax_bytes(size_t n, int bits)
{
    /* eight codes of b bits fill b bytes, so a group of a multiple of 8 begins at a byte */
    return (n + 7) / 8 * (size_t)bits;
}

/* Values of the group that starts at `at`. */
static size_t length(const minmax *m, size_t n, size_t at)
{
    assert(m->group % 8 == 0 && m->group && m->group <= MINMAX_GROUP);
    return n - at < m->group ? n - at : m->group;
}

/* Codes pass through a byte each, on the stack: packing is a loop of its own, the same for min-
 * max and Lloyd-Max codes, with twins of its own. */
void minmax_encode(const minmax *m, const float *x, size_t n, uint8_t *codes,
                   minmax_scale *scales)
{
    uint8_t values[MINMAX_GROUP];

    for (size_t at = 0; at < n; at += m->group, scales++) {
        const size_t some = length(m, n, at);

        m->kern->minmax_encode(x + at, some, m->bits, values, scales);
        m->kern->pack_codes(values, some, m->bits, codes + minmax_bytes(at, m->bits));
    }
}

void minmax_decode(const minmax *m, const uint8_t *codes, const minmax_scale *scales, size_t n,
                   float *x)
{
    uint8_t values[MINMAX_GROUP];

    for (size_t at = 0; at < n; at += m->group, scales++) {
        const size_t some = length(m, n, at);

        m->kern->unpack_codes(codes + minmax_bytes(at, m->bits), some, m->bits, values);
        m->kern->minmax_decode(values, some, *scales, x + at);
    }
}

/* No group crosses a row: a token's codes are its own, whoever shares the block. */
void minmax_encode_rows(const minmax *m, const float *x, size_t rows, size_t width,
                        uint8_t *codes, minmax_scale *scales)
{
    for (size_t t = 0; t < rows; t++)
        minmax_encode(m, x + t * width, width, codes + t * minmax_bytes(width, m->bits),
                      scales + t * minmax_groups(width, m->group));
}

void minmax_decode_rows(const minmax *m, const uint8_t *codes, const minmax_scale *scales,
                        size_t rows, size_t width, float *x)
{
    for (size_t t = 0; t < rows; t++)
        minmax_decode(m, codes + t * minmax_bytes(width, m->bits),
                      scales + t * minmax_groups(width, m->group), width, x + t * width);
}

/* What encoding and decoding would give, without codes: for an accumulator that is never
 * stored. */
void minmax_round_rows(const minmax *m, float *x, size_t rows, size_t width)
{
    uint8_t values[MINMAX_GROUP];
    minmax_scale scale;

    for (size_t t = 0; t < rows; t++, x += width)
        for (size_t at = 0; at < width; at += m->group) {
            const size_t some = length(m, width, at);

            m->kern->minmax_encode(x + at, some, m->bits, values, &scale);
            m->kern->minmax_decode(values, some, scale, x + at);
        }
}
