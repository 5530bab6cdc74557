/* kern_codes.c - what the hot loops over codes mean: packing, min-max, Lloyd-Max.
 *
 * Codes are written when a block is sealed and read whenever it is rebuilt, so a bit that
 * differed between machines or twins would make a block's keys depend on who sealed it. Hence
 * divisions instead of reciprocals, nearest even instead of roundf, and a rule for every NaN.
 */
#include "engine/kern/kern_codes.h"
#include "engine/kern/kern.h"

/* Eight codes of b bits are b bytes: no code ever straddles two groups of eight, whatever b
 * is. */
void kern_pack_codes_ref(const uint8_t *values, size_t n, int bits, uint8_t *codes)
{
    for (size_t i = 0; i < n; i += 8, codes += bits) {
        uint64_t word = 0;

        for (size_t j = 0; j < 8 && i + j < n; j++)
            word |= (uint64_t)values[i + j] << (j * (size_t)bits);
        for (int j = 0; j < bits; j++) codes[j] = (uint8_t)(word >> (8 * j));
    }
}

void kern_unpack_codes_ref(const uint8_t *codes, size_t n, int bits, uint8_t *values)
{
    const unsigned mask = (1u << bits) - 1;

    for (size_t i = 0; i < n; i += 8, codes += bits) {
        uint64_t word = 0;

        for (int j = 0; j < bits; j++) word |= (uint64_t)codes[j] << (8 * j);
        for (size_t j = 0; j < 8 && i + j < n; j++)
            values[i + j] = (uint8_t)(word >> (j * (size_t)bits) & mask);
    }
}

/* Adding +0 leaves one zero of two, so that the order of comparing does not show. */
static kern_minmax measure(const float *x, size_t n, int bits)
{
    float least = x[0], most = x[0];

    for (size_t i = 1; i < n; i++) {
        if (x[i] < least) least = x[i];
        if (x[i] > most) most = x[i];
    }
    least += 0.0f;
    most += 0.0f;
    return (kern_minmax){kern_half(kern_minmax_step(least, most, bits)),
                         kern_half(kern_minmax_clamp(least))};
}

/* By the scale and zero as halves, which is all that the decoder will have. */
void kern_minmax_encode_ref(const float *x, size_t n, int bits, uint8_t *values,
                            kern_minmax *out)
{
    const float last = (float)((1 << bits) - 1);
    float scale, zero;

    *out = measure(x, n, bits);
    scale = kern_float(out->scale);
    zero = kern_float(out->zero);
    for (size_t i = 0; i < n; i++)
        values[i] = scale > 0 ? kern_minmax_code(x[i], zero, scale, last) : 0;
}

void kern_minmax_decode_ref(const uint8_t *values, size_t n, kern_minmax group, float *x)
{
    const float scale = kern_float(group.scale), zero = kern_float(group.zero);

    for (size_t i = 0; i < n; i++) x[i] = zero + scale * (float)values[i];
}
