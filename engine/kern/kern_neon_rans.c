/* kern_neon_rans.c - twins of kern_rans.c for NEON: 16 states are four registers of 4.
 *
 * There is no gather: slots are loaded one by one, and everything else is done by fours. A
 * table of 16 byte permutations deals the next words out to the lanes that take one; an index
 * past the end gives 0, which widens them, too. */
#if defined(__aarch64__)

#include "engine/kern/kern_rans.h"

#include <arm_neon.h>
#include <stdbool.h>

#define INLINE static inline __attribute__((always_inline))

enum { QUADS = KERN_RANS_LANES / 4 };

INLINE int32x4_t clamp4(int row, int16x4_t column)
{
    const int32x4_t c = vaddw_s16(vdupq_n_s32(row), column);

    return vminq_s32(vmaxq_s32(c, vdupq_n_s32(0)), vdupq_n_s32(KERN_CLASSES - 1));
}

/* class[4]: those of 16 tokens. */
INLINE void class16(int row, const int8_t *column, int32x4_t *class)
{
    const int8x16_t all = vld1q_s8(column);
    const int16x8_t low = vmovl_s8(vget_low_s8(all)), high = vmovl_high_s8(all);

    class[0] = clamp4(row, vget_low_s16(low));
    class[1] = clamp4(row, vget_high_s16(low));
    class[2] = clamp4(row, vget_low_s16(high));
    class[3] = clamp4(row, vget_high_s16(high));
}

/* From the last table on, classes share four tables by their lowest bits: 36 + class % 4. */
INLINE int32x4_t table4(int32x4_t c)
{
    const int32x4_t shared = vorrq_s32(vandq_s32(c, vdupq_n_s32(3)), vdupq_n_s32(36));

    return vbslq_s32(vcgtq_s32(c, vdupq_n_s32(KERN_TABLES - 1)), shared, c);
}

INLINE int32x4_t shift4(int32x4_t c)
{
    return vshrq_n_s32(vmaxq_s32(vsubq_s32(c, vdupq_n_s32(28)), vdupq_n_s32(0)), 2);
}

/* 2^shift / 2, and 0 without a shift: a one that is shifted out again. */
INLINE int32x4_t half4(int32x4_t shift)
{
    return vshrq_n_s32(vshlq_s32(vdupq_n_s32(1), shift), 1);
}

/* Through the general registers: four loads are in flight at once, and NEON has nothing better.
 */
INLINE uint32x4_t load_slots(const uint32_t *slots, uint32x4_t at)
{
    const uint32_t v[4] = {slots[vgetq_lane_u32(at, 0)], slots[vgetq_lane_u32(at, 1)],
                           slots[vgetq_lane_u32(at, 2)], slots[vgetq_lane_u32(at, 3)]};

    return vld1q_u32(v);
}

/* Four words, zeros past the end. A stream may end at a page that is not mapped behind it: the
 * last words are copied, as the definition would read them. */
INLINE uint8x16_t next_words(const kern_rans_stream *s)
{
    uint8_t last[8] = {0};

    if (s->n_words >= 4) return vcombine_u8(vld1_u8(s->words), vdup_n_u8(0));
    if (s->n_words) memcpy(last, s->words, 2 * s->n_words);
    return vcombine_u8(vld1_u8(last), vdup_n_u8(0));
}

/* DEAL(m): for each lane of the bits of m the bytes of its word, others past the end. */
#define AT(m, i) (((m)&1) + ((m) >> 1 & ((i) > 1)) + ((m) >> 2 & ((i) > 2)))
#define WORD(m, i)                                   \
    ((m) >> (i)&1 ? 2 * ((i) ? AT(m, i) : 0) : 255), \
        ((m) >> (i)&1 ? 2 * ((i) ? AT(m, i) : 0) + 1 : 255), 255, 255
#define DEAL(m)                                        \
    {                                                  \
        WORD(m, 0), WORD(m, 1), WORD(m, 2), WORD(m, 3) \
    }
static const uint8_t deal[16][16] = {DEAL(0),  DEAL(1),  DEAL(2),  DEAL(3), DEAL(4),  DEAL(5),
                                     DEAL(6),  DEAL(7),  DEAL(8),  DEAL(9), DEAL(10), DEAL(11),
                                     DEAL(12), DEAL(13), DEAL(14), DEAL(15)};

/* A word for each lane of `may` that is below 2^16. */
INLINE uint32x4_t refill4(kern_rans_stream *s, uint32x4_t x, uint32x4_t may)
{
    static const uint32_t bits[4] = {1, 2, 4, 8};
    const uint32x4_t take = vandq_u32(vcltq_u32(x, vdupq_n_u32(KERN_RANS_LOW)), may);
    const unsigned lanes = vaddvq_u32(vandq_u32(take, vld1q_u32(bits)));
    const size_t n = vaddvq_u32(vshrq_n_u32(take, 31));
    const uint8x16_t words = vqtbl1q_u8(next_words(s), vld1q_u8(deal[lanes]));
    const size_t taken = n < s->n_words ? n : s->n_words;

    s->words += 2 * taken;
    s->n_words -= taken;
    return vbslq_u32(take, vorrq_u32(vshlq_n_u32(x, 16), vreinterpretq_u32_u8(words)), x);
}

INLINE uint32x4_t decode4(const uint32_t *slots, uint32x4_t x, int32x4_t class, int32x4_t *hi)
{
    const uint32x4_t low = vdupq_n_u32(0xfff);
    const uint32x4_t table = vreinterpretq_u32_s32(table4(class));
    const uint32x4_t slot = load_slots(slots,
                                       vorrq_u32(vshlq_n_u32(table, KERN_RANS_BITS),
                                                 vandq_u32(x, vdupq_n_u32(KERN_RANS_MASK))));

    *hi = vshrq_n_s32(vreinterpretq_s32_u32(slot), 24);
    return vmlaq_u32(vandq_u32(slot, low), vandq_u32(vshrq_n_u32(slot, 12), low),
                     vshrq_n_u32(x, KERN_RANS_BITS));
}

/* The raw bits of 4 symbols: *hi becomes q. */
INLINE uint32x4_t raw4(kern_rans_stream *s, uint32x4_t x, int32x4_t shift, int32x4_t *hi)
{
    const uint32x4_t escape = vceqq_s32(*hi, vdupq_n_s32(KERN_ESCAPE));
    const int32x4_t width = vbslq_s32(escape, vdupq_n_s32(KERN_ESCAPE_BITS), shift);
    const int32x4_t mask = vsubq_s32(vshlq_s32(vdupq_n_s32(1), width), vdupq_n_s32(1));
    const int32x4_t raw = vandq_s32(vreinterpretq_s32_u32(x), mask);
    const int32x4_t q = vsubq_s32(vaddq_s32(vshlq_s32(*hi, shift), raw), half4(shift));

    *hi = vbslq_s32(escape, raw, q);
    return refill4(s, vshlq_u32(x, vnegq_s32(width)), vcgtq_s32(width, vdupq_n_s32(0)));
}

/* Whether any of 16 symbols has raw bits. */
INLINE bool any_raw(const int32x4_t *class, const int32x4_t *hi)
{
    uint32x4_t some = vdupq_n_u32(0);

    for (int i = 0; i < QUADS; i++)
        some = vorrq_u32(some, vorrq_u32(vceqq_s32(hi[i], vdupq_n_s32(KERN_ESCAPE)),
                                         vcgtq_s32(class[i], vdupq_n_s32(31))));
    return vmaxvq_u32(some) != 0;
}

INLINE void store16(int16_t *q, const int32x4_t *v)
{
    vst1q_s16(q, vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1])));
    vst1q_s16(q + 8, vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3])));
}

INLINE void decode_sixteen(kern_rans_stream *s, const uint32_t *slots, const int32x4_t *class,
                           uint32x4_t *x, int16_t *q)
{
    int32x4_t hi[QUADS];

    /* Loop after loop, not quad after quad: a quad's words are where the one before left off,
     * so only refilling has to go one by one. */
    for (int i = 0; i < QUADS; i++) x[i] = decode4(slots, x[i], class[i], &hi[i]);
    for (int i = 0; i < QUADS; i++) x[i] = refill4(s, x[i], vdupq_n_u32(UINT32_MAX));
    /* Most groups have none: a branch that predicts well. */
    if (any_raw(class, hi))
        for (int i = 0; i < QUADS; i++) x[i] = raw4(s, x[i], shift4(class[i]), &hi[i]);
    store16(q, hi);
}

void kern_rans_decode_neon(const kern_classes *c, const uint32_t *slots, const uint8_t *bytes,
                           size_t n, int16_t *q)
{
    kern_rans_stream s;
    uint32x4_t x[QUADS];

    kern_rans_start(&s, bytes, n, c->n);
    for (int i = 0; i < QUADS; i++) x[i] = vld1q_u32(s.x + 4 * i);
    for (size_t i = s.alone; i < c->n; i++)
        for (size_t t = 0; t < c->B; t += KERN_RANS_LANES) {
            int32x4_t class[QUADS];

            class16(c->row[i], c->column + t, class);
            decode_sixteen(&s, slots, class, x, q + i * c->B + t);
        }
    for (int i = 0; i < QUADS; i++) vst1q_u32(s.x + 4 * i, x[i]);
    kern_rans_alone(c, slots, &s, q);
}

/* Where in the costs 4 tokens are. A negative symbol is large as an unsigned number. */
INLINE uint32x4_t cost_at(int32x4_t class, int16x4_t q)
{
    const int32x4_t shift = shift4(class);
    const int32x4_t hi = vshlq_s32(vaddw_s16(half4(shift), q), vnegq_s32(shift));
    const uint32x4_t symbol = vminq_u32(vreinterpretq_u32_s32(vaddq_s32(hi, vdupq_n_s32(16))),
                                        vdupq_n_u32(KERN_SYMBOLS - 1));

    return vmlaq_n_u32(symbol, vreinterpretq_u32_s32(class), KERN_SYMBOLS);
}

/* States give words one after the other, and there is no instruction that closes their ranks.
 */
size_t kern_rans_encode_neon(const kern_classes *c, const uint32_t *codes, const int16_t *q,
                             size_t from, uint32_t *x, uint8_t *out, size_t room)
{
    return kern_rans_encode_ref(c, codes, q, from, x, out, room);
}

uint64_t kern_rans_cost_neon(const kern_classes *c, const uint32_t *costs, const int16_t *q)
{
    uint64x2_t sum = vdupq_n_u64(0);

    for (size_t i = 0; i < c->n; i++, q += c->B)
        for (size_t t = 0; t < c->B; t += 16) {
            int32x4_t class[QUADS];

            class16(c->row[i], c->column + t, class);
            for (int j = 0; j < QUADS; j++)
                sum = vpadalq_u32(
                    sum, load_slots(costs, cost_at(class[j], vld1_s16(q + t + 4 * j))));
        }
    return vaddvq_u64(sum);
}

#else
typedef int kern_neon_rans_is_for_arm64;
#endif
