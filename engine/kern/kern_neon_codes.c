/* kern_neon_codes.c - twins of kern_codes.c for NEON: 16 codes or 4 values a step. */
#if defined(__aarch64__)

#include <arm_neon.h>
#include <string.h>

#include "engine/kern/kern.h"
#include "engine/kern/kern_codes.h"

#define INLINE static inline __attribute__((always_inline))

/* The lowest `bits` bytes of word; up to 8 are written where they have room before end. The
 * last words of an array are written byte by byte: what lies behind it is somebody else's. */
INLINE void put_word(uint8_t *codes, const uint8_t *end, uint64_t word, int bits)
{
    if (end - codes >= 8)
        memcpy(codes, &word, 8);
    else
        for (int j = 0; j < bits; j++) codes[j] = (uint8_t)(word >> (8 * j));
}

/* Codes are joined in pairs, pairs in fours, fours in eights: in each lane what the upper half
 * holds moves next to the `bits` that the lower half holds. */
INLINE uint64x2_t join_eights(uint8x16_t v, int bits)
{
    const uint16x8_t a = vreinterpretq_u16_u8(v);
    const uint32x4_t b = vreinterpretq_u32_u16(
        vorrq_u16(vandq_u16(a, vdupq_n_u16(0xff)),
                  vshlq_u16(vshrq_n_u16(a, 8), vdupq_n_s16((int16_t)bits))));
    const uint64x2_t c = vreinterpretq_u64_u32(
        vorrq_u32(vandq_u32(b, vdupq_n_u32(0xffff)),
                  vshlq_u32(vshrq_n_u32(b, 16), vdupq_n_s32(2 * bits))));

    return vorrq_u64(vandq_u64(c, vdupq_n_u64(0xffffffff)),
                     vshlq_u64(vshrq_n_u64(c, 32), vdupq_n_s64(4 * bits)));
}

void kern_pack_codes_neon(const uint8_t *values, size_t n, int bits, uint8_t *codes)
{
    const uint8_t *end = codes + (n + 7) / 8 * (size_t)bits;
    size_t i = 0;

    for (; i + 16 <= n; i += 16) { /* each word's spill is overwritten by the next */
        const uint64x2_t words = join_eights(vld1q_u8(values + i), bits);

        put_word(codes, end, vgetq_lane_u64(words, 0), bits);
        put_word(codes + bits, end, vgetq_lane_u64(words, 1), bits);
        codes += 2 * bits;
    }
    kern_pack_codes_ref(values + i, n - i, bits, codes);
}

/* How to cut 8 codes out of a vector, into 16 bits each. */
typedef struct cut {
    uint8x16_t bytes; /* the two bytes that hold a code */
    int16x8_t shift;  /* moves the code to the lowest bits */
} cut;

/* Codes first .. first+7 of a vector. NEON shifts each lane by a count of its own, so one
 * shift does what AVX2 needs a product for. */
INLINE cut make_cut(int bits, int first)
{
    static const uint16_t number[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    const uint16x8_t start = vmulq_n_u16(
        vaddq_u16(vld1q_u16(number), vdupq_n_u16((uint16_t)first)), (uint16_t)bits);
    const uint16x8_t byte = vshrq_n_u16(start, 3);
    const uint16x8_t both = vaddq_u16(vorrq_u16(byte, vshlq_n_u16(byte, 8)),
                                      vdupq_n_u16(0x0100));

    return (cut){vreinterpretq_u8_u16(both),
                 vnegq_s16(vreinterpretq_s16_u16(vandq_u16(start, vdupq_n_u16(7))))};
}

/* 8 codes; `skip` bytes of v come before the first. A byte past the end is 0 and no code's.
 * A table lookup gives 0 for a byte past the end, so the last loads need no mask. */
INLINE uint8x8_t apply_cut(uint8x16_t v, cut c, size_t skip, int bits)
{
    const uint8x16_t at = vaddq_u8(c.bytes, vdupq_n_u8((uint8_t)skip));
    const uint16x8_t codes = vshlq_u16(vreinterpretq_u16_u8(vqtbl1q_u8(v, at)), c.shift);

    return vmovn_u16(vandq_u16(codes, vdupq_n_u16((uint16_t)((1 << bits) - 1))));
}

void kern_unpack_codes_neon(const uint8_t *codes, size_t n, int bits, uint8_t *values)
{
    const size_t bytes = (n + 7) / 8 * (size_t)bits;
    const cut low = make_cut(bits, 0), high = make_cut(bits, 8);
    size_t i = 0, at = 0;

    /* The last loads begin early, so that they end where the codes end. */
    for (; bytes >= 16 && i + 16 <= n; i += 16, at += 2 * (size_t)bits) {
        const size_t from = at + 16 <= bytes ? at : bytes - 16;
        const uint8x16_t v = vld1q_u8(codes + from);

        vst1q_u8(values + i, vcombine_u8(apply_cut(v, low, at - from, bits),
                                         apply_cut(v, high, at - from, bits)));
    }
    kern_unpack_codes_ref(codes + at, n - i, bits, values + i);
}

/* x < so_far ? x : so_far, which is what a NaN is to the definition, in every lane. vminq
 * would return a NaN, and vminnmq the number whichever operand it is; a comparison and a
 * select do what the definition's `if` does. */
INLINE float32x4_t lesser(float32x4_t x, float32x4_t so_far)
{
    return vbslq_f32(vcltq_f32(x, so_far), x, so_far);
}

INLINE float32x4_t greater(float32x4_t x, float32x4_t so_far)
{
    return vbslq_f32(vcgtq_f32(x, so_far), x, so_far);
}

INLINE kern_minmax measure(const float *x, size_t n, int bits)
{
    float32x4_t least = vdupq_n_f32(x[0]), most = least;
    float a, b;
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const float32x4_t v = vld1q_f32(x + i);

        least = lesser(v, least);
        most = greater(v, most);
    }
    for (; i < n; i++) {
        least = lesser(vdupq_n_f32(x[i]), least);
        most = greater(vdupq_n_f32(x[i]), most);
    }
    a = vminvq_f32(least) + 0.0f; /* all are NaN or none is */
    b = vmaxvq_f32(most) + 0.0f;
    return (kern_minmax){kern_half(kern_minmax_step(a, b, bits)),
                         kern_half(kern_minmax_clamp(a))};
}

/* kern_minmax_code of 4 values. vcvtnq rounds to nearest even, as rintf does. */
INLINE uint16x4_t codes4(const float *x, float32x4_t zero, float32x4_t scale, float32x4_t last)
{
    const float32x4_t q = vdivq_f32(vsubq_f32(vld1q_f32(x), zero), scale);
    const uint32x4_t held = vandq_u32(vcgtq_f32(q, vdupq_n_f32(0.0f)),
                                      vcltq_f32(q, vdupq_n_f32(0x1p63f)));

    return vmovn_u32(vandq_u32(held, vcvtnq_u32_f32(vminq_f32(q, last))));
}

void kern_minmax_encode_neon(const float *x, size_t n, int bits, uint8_t *values,
                             kern_minmax *out)
{
    const float last = (float)((1 << bits) - 1);
    float scale, zero;
    size_t i = 0;

    *out = measure(x, n, bits);
    scale = kern_float(out->scale);
    zero = kern_float(out->zero);
    if (!(scale > 0)) {
        memset(values, 0, n);
        return;
    }
    for (; i + 8 <= n; i += 8) {
        const float32x4_t z = vdupq_n_f32(zero), s = vdupq_n_f32(scale),
                          top = vdupq_n_f32(last);

        vst1_u8(values + i, vmovn_u16(vcombine_u16(codes4(x + i, z, s, top),
                                                   codes4(x + i + 4, z, s, top))));
    }
    for (; i < n; i++) values[i] = kern_minmax_code(x[i], zero, scale, last);
}

void kern_minmax_decode_neon(const uint8_t *values, size_t n, kern_minmax group, float *x)
{
    const float scale = kern_float(group.scale), zero = kern_float(group.zero);
    const float32x4_t z = vdupq_n_f32(zero);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const uint16x8_t v = vmovl_u8(vld1_u8(values + i));
        const float32x4_t a = vcvtq_f32_u32(vmovl_u16(vget_low_u16(v)));
        const float32x4_t b = vcvtq_f32_u32(vmovl_high_u16(v));

        vst1q_f32(x + i, vaddq_f32(z, vmulq_n_f32(a, scale)));
        vst1q_f32(x + i + 4, vaddq_f32(z, vmulq_n_f32(b, scale)));
    }
    for (; i < n; i++) x[i] = zero + scale * (float)values[i];
}

#else
typedef int kern_neon_codes_is_for_arm64;
#endif
