/* kern_rans.h - streams of entropy-coded symbols: what the definition, its twins and the
 * encoder (xcache/codec/rans.c) share.
 *
 * rANS after Giesen 2014 (arXiv 1402.3392, and his ryg_rans). A state x is decoded by
 *     slot = table[x % 2^bits]
 *     x = freq * (x >> bits) + bias
 *     if x < 2^16: x = x << 16 | next word
 * where freq and bias are the slot's, so one number of a table says all. 16 states take turns
 * and share one sequence of 16-bit words.
 *
 * A class has a table of its own up to 39. From class 32 (deviation of 4 steps) on, the lowest
 * bits are not coded but stored raw, one more each octave, so that the deviation of hi stays
 * within 2 to 3.4 and 16 is far out: at 8 to 13.4 one value in six would escape. Coding them,
 * too, would gain less than .3 %.
 *     shift k = (class - 28) / 4, none below;  table = class, from 40 on 36 + class % 4
 *     hi = (q + half) >> k,  low = (q + half) % 2^k,  half = 2^k / 2
 * Rounding, not truncation, so that 0 lies in the middle of hi's zero as it does at k = 0;
 * the half step by which the two sides differ is known to the tables of k = 1 and 2, and
 * later too small to matter. hi outside -16 .. 16, or one that the table gives no share, is
 * KERN_ESCAPE, and all of q the raw bits.
 *
 *   slot of a table, 32 bits:  hi 8, signed | freq 12 | number of the slot within its symbol 12
 *   code of a symbol, 32 bits:  escape 1, highest | start 11, from bit 12 on | freq 12
 *   stream:  alone 8 | 16 widths of 4, less 16 | 16 states, `width` bits below their leading 1,
 *            lowest first | words
 * Little-endian; the words begin at a byte. The states decode rows from `alone` on. The
 * encoder, which runs backwards, has to start each of them with 2^16 or more, and what the
 * lower 16 bits are is free: they are the first 16 words of one state more, which decodes rows
 * 0 .. alone-1 afterwards, token by token, and goes on with the words that are left. 16 states
 * that started with nothing would be 32 bytes, half a percent of a layer; one row or two are
 * hardly any time.
 *
 * For each row, for each 16 tokens: first hi of every token, a word for each state that falls
 * below 2^16, states in order; then the raw bits, which are x's lowest, and words in the same
 * way. Encoding is that undone, step for step: raw bits, then symbols, states from the last to
 * the first, words from the end to the front. What lies past the end of a stream is zeros. Any
 * bytes decode to something. */
#ifndef ENGINE_KERN_KERN_RANS_H
#define ENGINE_KERN_KERN_RANS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/kern/kern.h"

enum {
    KERN_ESCAPE = 17,      /* as a hi */
    KERN_ESCAPE_BITS = 16, /* raw bits after it */
    KERN_RANS_MASK = (1 << KERN_RANS_BITS) - 1,
    KERN_RANS_FIXED = 9, /* bytes before the states of a stream */
    KERN_RANS_HEAD = KERN_RANS_FIXED + 31 * KERN_RANS_LANES / 8 /* before the words, at most */
};

#define KERN_RANS_LOW 0x10000u /* a state below takes a word */

static inline int kern_class(int row, int column)
{
    const int c = row + column;

    return c < 0 ? 0 : (c < KERN_CLASSES ? c : KERN_CLASSES - 1);
}

static inline int kern_class_table(int c)
{
    return c < KERN_TABLES ? c : (36 | (c & 3));
}

static inline int kern_class_shift(int c)
{
    return c < 28 ? 0 : (c - 28) >> 2;
}

/* The column of a table of costs or frequencies: KERN_SYMBOLS - 1 for hi out of range. One
 * comparison, as the smallest hi are the largest unsigned numbers: it compiles to no branch. */
static inline unsigned kern_symbol(int q, int shift)
{
    const unsigned symbol = (unsigned)((q + (1 << shift >> 1)) >> shift) + 16;

    return symbol < KERN_SYMBOLS - 1 ? symbol : KERN_SYMBOLS - 1;
}

/* How a symbol is encoded; one without a share of its table has the escape's. */
static inline uint32_t kern_rans_code(uint32_t freq, uint32_t start, int escape)
{
    return freq | start << 12 | (uint32_t)escape << 31;
}

/* Words that are written backwards, into out up to `at`. */
typedef struct kern_rans_words {
    uint8_t *out;
    size_t at;
    int full;
} kern_rans_words;

/* Room in x for a step after which it would be 2^32 or more, were it `limit` before. One value
 * in ten or so makes a word, which no branch predictor sees coming: the word is always written,
 * and counts or not. */
static inline void kern_rans_make_room(kern_rans_words *w, uint32_t *x, uint64_t limit)
{
    const int over = *x >= limit;
    const uint16_t word = (uint16_t)*x;

    if (w->at < sizeof word) {
        w->full |= over;
        return;
    }
    memcpy(w->out + w->at - sizeof word, &word, sizeof word);
    w->at -= over ? sizeof word : 0;
    *x >>= over ? 16 : 0;
}

static inline void kern_rans_push_raw(kern_rans_words *w, uint32_t *x, uint32_t code, int class,
                                      int q)
{
    const int shift = kern_class_shift(class), escape = code >> 31 != 0;
    const int width = escape ? KERN_ESCAPE_BITS : shift, half = escape ? 0 : 1 << shift >> 1;

    if (!width) return;
    kern_rans_make_room(w, x, UINT64_C(1) << (32 - width));
    *x = *x << width | ((uint32_t)(q + half) & ((1u << width) - 1));
}

static inline void kern_rans_push_symbol(kern_rans_words *w, uint32_t *x, uint32_t code)
{
    const uint32_t freq = code & 0xfff, start = code >> 12 & 0x7ff;

    kern_rans_make_room(w, x, (uint64_t)freq << (32 - KERN_RANS_BITS));
    *x = (*x / freq << KERN_RANS_BITS) + *x % freq + start;
}

typedef struct kern_rans_stream {
    uint32_t x[KERN_RANS_LANES];
    size_t alone;         /* rows that one state decodes, at last */
    const uint8_t *words; /* the next one */
    size_t n_words;       /* that are left */
} kern_rans_stream;

/* 31 bits or more of head, from bit `at` on. */
static inline uint32_t kern_rans_peek(const uint8_t *head, size_t at)
{
    uint64_t word;

    memcpy(&word, head + at / 8, sizeof word);
    return (uint32_t)(word >> (at % 8));
}

/* Read the head of n bytes at the start of a stream of `rows` rows. */
static inline void kern_rans_start(kern_rans_stream *s, const uint8_t *bytes, size_t n,
                                   size_t rows)
{
    static const uint8_t none[1]; /* of no words: a pointer that 0 may be added to */
    uint8_t head[KERN_RANS_HEAD + sizeof(uint64_t)] = {0};
    size_t at = 8 * KERN_RANS_FIXED;

    if (n) memcpy(head, bytes, n < KERN_RANS_HEAD ? n : KERN_RANS_HEAD);
    s->alone = head[0] < rows ? head[0] : rows;
    for (size_t j = 0; j < KERN_RANS_LANES; j++) {
        const uint32_t width = 16 + (kern_rans_peek(head, 8 + 4 * j) & 15), lead = 1u << width;

        s->x[j] = lead | (kern_rans_peek(head, at) & (lead - 1));
        at += width;
    }
    at = (at + 7) / 8;
    s->n_words = n > at ? (n - at) / 2 : 0;
    s->words = s->n_words ? bytes + at : none;
}

/* Rows 0 .. s->alone-1, after all others. */
void kern_rans_alone(const kern_classes *c, const uint32_t *slots, kern_rans_stream *s,
                     int16_t *q);

#endif
