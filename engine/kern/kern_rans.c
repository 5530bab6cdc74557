/* kern_rans.c - what the hot loops over entropy-coded symbols mean: decode, encode and
 * cost.
 *
 * A block's bytes are decoded whenever it is rebuilt, by any machine and any twin, so every
 * state of a damaged stream is part of the definition too: a number of a slot is at most
 * freq - 1, so x never leaves 32 bits, and each step takes at most one word. */
#include "engine/kern/kern_rans.h"

/* Past the end there are zeros, and no pointer moves there. */
static uint32_t next_word(kern_rans_stream *s)
{
    uint16_t word;

    if (!s->n_words) return 0;
    memcpy(&word, s->words, sizeof word);
    s->words += sizeof word;
    s->n_words--;
    return word;
}

/* Once is enough: a state of a sound stream is 2^16 or more then, and one of a damaged
 * stream that is not must not make a loop. */
static void refill(kern_rans_stream *s, uint32_t *x)
{
    if (*x < KERN_RANS_LOW) *x = *x << 16 | next_word(s);
}

static int decode_hi(const uint32_t *slots, int class, uint32_t *x)
{
    const uint32_t at = (uint32_t)kern_class_table(class) << KERN_RANS_BITS;
    const uint32_t slot = slots[at | (*x & KERN_RANS_MASK)];

    *x = (slot >> 12 & 0xfff) * (*x >> KERN_RANS_BITS) + (slot & 0xfff);
    return (int8_t)(slot >> 24);
}

/* The value of hi and its raw bits, which leave x; *width: how many. hi << shift may need more
 * than 16 bits in a damaged stream: the lowest 16 count. */
static int16_t decode_raw(int hi, int class, uint32_t *x, int *width)
{
    const int shift = kern_class_shift(class), escape = hi == KERN_ESCAPE;
    int raw;

    *width = escape ? KERN_ESCAPE_BITS : shift;
    raw = (int)(*x & ((1u << *width) - 1));
    *x >>= *width;
    return (int16_t)(escape ? raw : hi * (1 << shift) + raw - (1 << shift >> 1));
}

static void decode_sixteen(kern_rans_stream *s, const uint32_t *slots, const int *class,
                           int16_t *q)
{
    int hi[KERN_RANS_LANES], width;

    for (size_t j = 0; j < KERN_RANS_LANES; j++) {
        hi[j] = decode_hi(slots, class[j], &s -> x[j]);
        refill(s, &s->x[j]);
    }
    for (size_t j = 0; j < KERN_RANS_LANES; j++) {
        q[j] = decode_raw(hi[j], class[j], &s -> x[j], &width);
        if (width) refill(s, &s->x[j]);
    }
}

/* A word for the single state: those that the others kept come first. */
static uint32_t kept_word(kern_rans_stream *s, size_t *kept)
{
    return *kept < KERN_RANS_LANES ? s->x[(*kept)++] & 0xffff : next_word(s);
}

void kern_rans_alone(const kern_classes *c, const uint32_t *slots, kern_rans_stream *s,
                     int16_t *q)
{
    size_t kept = 0;
    uint32_t x = kept_word(s, &kept) << 16;

    x |= kept_word(s, &kept);
    for (size_t i = 0; i < s->alone; i++)
        for (size_t t = 0; t < c->B; t++) {
            const int class = kern_class(c->row[i], c->column[t]);
            const int hi = decode_hi(slots, class, &x);
            int width;

            if (x < KERN_RANS_LOW) x = x << 16 | kept_word(s, &kept);
            q[i * c->B + t] = decode_raw(hi, class, &x, &width);
            if (width && x < KERN_RANS_LOW) x = x << 16 | kept_word(s, &kept);
        }
}

void kern_rans_decode_ref(const kern_classes *c, const uint32_t *slots, const uint8_t *bytes,
                          size_t n, int16_t *q)
{
    kern_rans_stream s;

    kern_rans_start(&s, bytes, n, c->n);
    for (size_t i = s.alone; i < c->n; i++)
        for (size_t t = 0; t < c->B; t += KERN_RANS_LANES) {
            int class[KERN_RANS_LANES];

            for (size_t j = 0; j < KERN_RANS_LANES; j++)
                class[j] = kern_class(c->row[i], c->column[t + j]);
            decode_sixteen(&s, slots, class, q + i * c->B + t);
        }
    kern_rans_alone(c, slots, &s, q);
}

/* 16 tokens of row i. */
static void encode_sixteen(kern_rans_words *w, const kern_classes *c, const uint32_t *codes,
                           const int16_t *q, size_t i, size_t t, uint32_t *x)
{
    uint32_t code[KERN_RANS_LANES];
    int class[KERN_RANS_LANES];

    for (size_t j = 0; j < KERN_RANS_LANES; j++) {
        class[j] = kern_class(c->row[i], c->column[t + j]);
        code[j] =
            codes[class[j] * KERN_SYMBOLS + (int)kern_symbol(q[j], kern_class_shift(class[j]))];
    }
    for (size_t j = KERN_RANS_LANES; j-- > 0;)
        kern_rans_push_raw(w, &x[j], code[j], class[j], q[j]);
    for (size_t j = KERN_RANS_LANES; j-- > 0;) kern_rans_push_symbol(w, &x[j], code[j]);
}

size_t kern_rans_encode_ref(const kern_classes *c, const uint32_t *codes, const int16_t *q,
                            size_t from, uint32_t *x, uint8_t *out, size_t room)
{
    kern_rans_words w = {.out = out, .at = room};

    for (size_t i = c->n; i > from && !w.full; i--)
        for (size_t t = c->B; t > 0; t -= KERN_RANS_LANES)
            encode_sixteen(&w, c, codes, q + (i - 1) * c->B + t - KERN_RANS_LANES, i - 1,
                           t - KERN_RANS_LANES, x);
    return w.full ? KERN_RANS_FULL : w.at;
}

uint64_t kern_rans_cost_ref(const kern_classes *c, const uint32_t *costs, const int16_t *q)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < c->n; i++, q += c->B)
        for (size_t t = 0; t < c->B; t++) {
            const int class = kern_class(c->row[i], c->column[t]);

            sum += costs[(unsigned)class * KERN_SYMBOLS +
                         kern_symbol(q[t], kern_class_shift(class))];
        }
    return sum;
}
