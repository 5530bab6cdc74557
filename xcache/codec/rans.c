/* rans.c - tables of entropy-coded symbols, and the encoder, which runs backwards.
 *
 * Encoding is decoding undone, step for step: a state takes symbols in until it would pass
 * 2^32, and then gives its lowest 16 bits away as a word. A stream is written from the end of
 * its room to the front, and moved there at last:
 *
 *   1. rows alone-1 .. 0, by one state that starts with 2^16; then that state, two words
 *   2. the 16 words written last are taken back: what 16 states start with, below their 2^16
 *   3. rows n-1 .. alone, by those 16 states, whose last values are the head */
#include "xcache/codec/rans.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/kern_rans.h"

enum {
    TOTAL = 1 << RANS_BITS,
    ALONE_BITS = 16 * RANS_LANES, /* that the rows of the single state should fill, in */
    ALONE_TOKENS = 512,           /* this many symbols: a few percent of a layer's time */
    ALONE_ROWS = 255
};

struct rans_model {
    const kern *kern;
    uint32_t slots[RANS_TABLES << RANS_BITS];
    uint32_t costs[RANS_CLASSES * RANS_SYMBOLS];
    uint32_t codes[RANS_CLASSES * RANS_SYMBOLS]; /* of a symbol without a slot: the escape's */
};

size_t rans_table(int class)
{
    return (size_t)kern_class_table(class);
}

size_t rans_symbol(int class, int q)
{
    return (size_t)kern_symbol(q, kern_class_shift(class));
}

/* --- frequencies --- */

/* One of `total` slots is worth 1 / (total ln 2) bits a symbol to all the others; a symbol
 * without one pays its raw bits whenever it comes, and about as much for the escape as it
 * would have paid for itself. */
static bool worth_a_slot(double count, double sum)
{
    return count * (KERN_ESCAPE_BITS * TOTAL * M_LN2) >= sum;
}

/* The symbol that gains most by one slot more: the derivative of count * log(freq), in the
 * middle between freq and freq + 1. Only quotients, which are the same on all machines. */
static size_t neediest(const double *counts, const uint16_t *freq)
{
    size_t best = RANS_ESCAPE;

    for (size_t s = 0; s < RANS_SYMBOLS; s++)
        if (freq[s] && counts[s] / (freq[s] + 0.5) > counts[best] / (freq[best] + 0.5))
            best = s;
    return best;
}

/* The one that loses least by one slot less and keeps another. */
static size_t richest(const double *counts, const uint16_t *freq)
{
    size_t best = RANS_SYMBOLS;

    for (size_t s = 0; s < RANS_SYMBOLS; s++)
        if (freq[s] > 1 && (best == RANS_SYMBOLS ||
                            counts[s] / (freq[s] - 0.5) < counts[best] / (freq[best] - 0.5)))
            best = s;
    return best;
}

void rans_normalize(const double *counts, uint16_t *freq)
{
    double kept[RANS_SYMBOLS], sum = 0;
    int left = TOTAL;

    for (size_t s = 0; s < RANS_SYMBOLS; s++) sum += counts[s];
    memcpy(kept, counts, sizeof kept);
    for (size_t s = 0; s < RANS_ESCAPE; s++) {
        if (sum > 0 && worth_a_slot(counts[s], sum)) continue;
        kept[RANS_ESCAPE] += counts[s];
        kept[s] = 0;
    }
    for (size_t s = 0; s < RANS_SYMBOLS; s++) {
        const double exact = sum > 0 ? kept[s] * TOTAL / sum : 0;

        freq[s] = (uint16_t)(exact >= TOTAL ? TOTAL : exact);
        if (!freq[s] && (kept[s] > 0 || s == RANS_ESCAPE)) freq[s] = 1;
        left -= freq[s];
    }
    for (; left > 0; left--) freq[neediest(kept, freq)]++;
    for (; left < 0; left++) freq[richest(kept, freq)]--;
}

/* --- the model --- */

static err check_table(const uint16_t *freq, size_t table, fault *why)
{
    char name[] = "rANS table 00";
    unsigned long sum = 0;

    name[11] = (char)('0' + table / 10);
    name[12] = (char)('0' + table % 10);
    for (size_t s = 0; s < RANS_SYMBOLS; s++) sum += freq[s];
    return sum == TOTAL && freq[RANS_ESCAPE] ? ERR_OK : err_blame(why, ERR_RANGE, name);
}

static void make_slots(uint32_t *slot, const uint16_t *freq)
{
    for (size_t s = 0; s < RANS_SYMBOLS; s++)
        for (uint32_t i = 0; i < freq[s]; i++)
            *slot++ = (uint32_t)(uint8_t)(s - 16) << 24 | (uint32_t)freq[s] << 12 | i;
}

/* Both by class, not by table: the encoder looks up once what a class and a symbol are. */
static void make_codes(rans_model *m, int class, const uint16_t *freq)
{
    const int shift = kern_class_shift(class);
    uint32_t *codes = m->codes + class * RANS_SYMBOLS, start = 0;

    for (size_t s = 0; s < RANS_SYMBOLS; s++) {
        codes[s] = kern_rans_code(freq[s], start, s == RANS_ESCAPE);
        start += freq[s];
    }
    for (size_t s = 0; s < RANS_SYMBOLS; s++) {
        const bool escapes = !freq[s] || s == RANS_ESCAPE;
        const int width = escapes ? KERN_ESCAPE_BITS : shift;

        if (escapes) codes[s] = codes[RANS_ESCAPE];
        m->costs[(size_t) class * RANS_SYMBOLS + s] = (uint32_t)lround(
            RANS_COST_ONE * (RANS_BITS - log2(freq[escapes ? RANS_ESCAPE : s]) + width));
    }
}

err rans_open(rans_model **out, const uint16_t *freq, const kern *hot, fault *why)
{
    rans_model *m;

    for (size_t t = 0; t < RANS_TABLES; t++) TRY(check_table(freq + t * RANS_SYMBOLS, t, why));
    m = malloc(sizeof *m);
    if (!m) return ERR_NOMEM;
    m->kern = hot;
    for (size_t t = 0; t < RANS_TABLES; t++)
        make_slots(m->slots + (t << RANS_BITS), freq + t * RANS_SYMBOLS);
    for (int c = 0; c < RANS_CLASSES; c++)
        make_codes(m, c, freq + rans_table(c) * RANS_SYMBOLS);
    *out = m;
    return ERR_OK;
}

void rans_close(rans_model *m)
{
    free(m);
}

size_t rans_model_bytes(void)
{
    return sizeof(rans_model);
}

uint64_t rans_cost(const rans_model *m, const kern_classes *c, const int16_t *q)
{
    return m->kern->rans_cost(c, m->costs, q);
}

void rans_decode(const rans_model *m, const kern_classes *c, const uint8_t *bytes, size_t n,
                 int16_t *q)
{
    m->kern->rans_decode(c, m->slots, bytes, n, q);
}

/* --- the encoder --- */

typedef struct writer {
    const rans_model *m;
    const kern_classes *c;
    const int16_t *q;
    uint32_t x[RANS_LANES];
    kern_rans_words words;
} writer;

/* How many rows make the words that 16 states can start with. */
static size_t count_alone(const writer *w)
{
    const size_t fit = ALONE_TOKENS / w->c->B, most = fit < ALONE_ROWS ? fit : ALONE_ROWS;
    uint64_t cost = 0;
    size_t rows = 0;

    while (rows < w->c->n && rows < most && cost < ALONE_BITS * RANS_COST_ONE) {
        const kern_classes row = {w->c->row + rows, w->c->column, 1, w->c->B};

        cost += rans_cost(w->m, &row, w->q + rows++ * w->c->B);
    }
    return rows;
}

static void push_value(writer *w, uint32_t *x, size_t i, size_t t)
{
    const int class = kern_class(w->c->row[i], w->c->column[t]), q = w->q[i * w->c->B + t];
    const uint32_t code = w->m->codes[(size_t) class * RANS_SYMBOLS + rans_symbol(class, q)];

    kern_rans_push_raw(&w->words, x, code, class, q);
    kern_rans_push_symbol(&w->words, x, code);
}

static void put_word(kern_rans_words *w, uint32_t word)
{
    const uint16_t two = (uint16_t)word;

    if (w->at < sizeof two) {
        w->full = true;
        return;
    }
    w->at -= sizeof two;
    memcpy(w->out + w->at, &two, sizeof two);
}

/* Steps 1 and 2. Words are in the order they will be read in: the state's upper half first. */
static void push_alone(writer *w, size_t rows)
{
    kern_rans_words *to = &w->words;
    const size_t end = to->at;
    uint32_t x = KERN_RANS_LOW;

    for (size_t i = rows; i-- > 0 && !to->full;)
        for (size_t t = w->c->B; t-- > 0;) push_value(w, &x, i, t);
    put_word(to, x);
    put_word(to, x >> 16);
    for (size_t j = 0; j < RANS_LANES; j++) {
        uint16_t word = 0;

        if (to->at < end) {
            memcpy(&word, to->out + to->at, sizeof word);
            to->at += sizeof word;
        }
        w->x[j] = KERN_RANS_LOW | word;
    }
}

/* OR `value` into the bits from *at on. */
static void put_bits(uint8_t *head, size_t *at, uint32_t value, int width)
{
    uint64_t word;

    memcpy(&word, head + *at / 8, sizeof word);
    word |= (uint64_t)value << (*at % 8);
    memcpy(head + *at / 8, &word, sizeof word);
    *at += (size_t)width;
}

/* The bytes before the words, as kern_rans_start reads them. */
static size_t make_head(const writer *w, size_t alone, uint8_t *head)
{
    size_t at = 0;
    int width[RANS_LANES];

    put_bits(head, &at, (uint32_t)alone, 8);
    for (size_t j = 0; j < RANS_LANES; j++) {
        width[j] = 31 - __builtin_clz(w->x[j]);
        put_bits(head, &at, (uint32_t)width[j] - 16, 4);
    }
    for (size_t j = 0; j < RANS_LANES; j++)
        put_bits(head, &at, w->x[j] ^ 1u << width[j], width[j]);
    return (at + 7) / 8;
}

size_t rans_encode(const rans_model *m, const kern_classes *c, const int16_t *q, uint8_t *out,
                   size_t room)
{
    uint8_t head[KERN_RANS_HEAD + sizeof(uint64_t)] = {0};
    writer w = {.m = m, .c = c, .q = q, .words = {.out = out, .at = room}};
    size_t alone, bytes, at;

    assert(c->B && c->B % RANS_LANES == 0 && c->B <= ALONE_TOKENS);
    if (!c->n) return 0;
    alone = count_alone(&w);
    push_alone(&w, alone);
    if (w.words.full) return RANS_NO_ROOM;
    at = m->kern->rans_encode(c, m->codes, q, alone, w.x, out, w.words.at);
    if (at == KERN_RANS_FULL) return RANS_NO_ROOM;
    bytes = make_head(&w, alone, head);
    if (bytes > at) return RANS_NO_ROOM;
    memmove(out + bytes, out + at, room - at);
    memcpy(out, head, bytes);
    return bytes + room - at;
}
