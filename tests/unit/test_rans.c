/* test_rans.c - any values come back on every rung; streams are as short as their cost says;
 * damaged ones decode to something, the same everywhere. */
#include "xcache/codec/rans.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rungs.h"
#include "tests/test.h"

enum { MAX_N = 300, MAX_B = 512, GUARD = 64 };

static uint32_t noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* 0 < u < 1 */
static double uniform(uint32_t *state)
{
    return (noise(state) + 0.5) * 0x1p-24;
}

/* Where values come from: a draw, and how much of it lies above z > 0. */
typedef struct source {
    double (*draw)(uint32_t *state);
    double (*above)(double z);
} source;

static double draw_gaussian(uint32_t *state)
{
    const double r = sqrt(-2 * log(uniform(state)));

    return r * cos(2 * M_PI * uniform(state));
}

static double above_gaussian(double z)
{
    return 0.5 * erfc(z * M_SQRT1_2);
}

static double draw_laplacian(uint32_t *state)
{
    const double u = uniform(state) - 0.5;

    return (u < 0 ? log(1 + 2 * u) : -log(1 - 2 * u)) * M_SQRT1_2;
}

static double above_laplacian(double z)
{
    return 0.5 * exp(-z * M_SQRT2);
}

static const source gaussian = {draw_gaussian, above_gaussian},
                    laplacian = {draw_laplacian, above_laplacian};

/* Deviation in steps of a class. */
static double deviation(int c)
{
    return exp2((c - 24) * 0.25);
}

/* How often a class has the value q >= 0. */
static double share_of(const source *from, int c, int q)
{
    if (!q) return 1 - 2 * from->above(0.6 / deviation(c));
    return from->above((q - 0.4) / deviation(c)) - from->above((q + 0.6) / deviation(c));
}

/* As kern.h rounds. */
static int16_t dead_zone(double z)
{
    const double q = floor(fabs(z) + 0.4);

    return (int16_t)copysign(q < 32000 ? q : 32000, z);
}

/* A layer: classes, and values that may or may not be like them. */
typedef struct layer {
    kern_classes c;
    int16_t row[MAX_N];
    int8_t column[MAX_B];
    int16_t *q;
} layer;

static layer *layer_new(size_t n, size_t B)
{
    layer *l = calloc(1, sizeof *l);

    CHECK(l && (l->q = calloc(n * B + 1, sizeof *l->q)));
    l->c = (kern_classes){l->row, l->column, n, B};
    return l;
}

static void layer_free(layer *l)
{
    free(l->q);
    free(l);
}

/* Rows from class `top` falling to `bottom`, tokens `spread` quarter octaves about them. */
static void set_classes(layer *l, int top, int bottom, int spread, uint32_t *state)
{
    for (size_t i = 0; i < l->c.n; i++)
        l->row[i] = (int16_t)(top + (bottom - top) * (int)i / (int)l->c.n);
    for (size_t t = 0; t < l->c.B; t++)
        l->column[t] = (int8_t)lround(spread * draw_gaussian(state) / 2);
}

static int class_of(const layer *l, size_t i, size_t t)
{
    const int c = l->row[i] + l->column[t];

    return c < 0 ? 0 : c < RANS_CLASSES ? c : RANS_CLASSES - 1;
}

/* Values as a quantizer makes them. */
static void draw(layer *l, const source *from, uint32_t *state)
{
    for (size_t i = 0; i < l->c.n; i++)
        for (size_t t = 0; t < l->c.B; t++)
            l->q[i * l->c.B + t] = dead_zone(from->draw(state) * deviation(class_of(l, i, t)));
}

/* Tables for a source: each of the first classes that use them, exactly. */
static void learn(const source *from, uint16_t freq[RANS_TABLES][RANS_SYMBOLS])
{
    for (int c = 0; c < RANS_TABLES; c++) {
        double counts[RANS_SYMBOLS] = {0};

        for (int q = 0; q < 1000; q++) {
            counts[rans_symbol(c, q)] += share_of(from, c, q);
            if (q) counts[rans_symbol(c, -q)] += share_of(from, c, q);
        }
        rans_normalize(counts, freq[rans_table(c)]);
    }
}

/* Tables like nothing: some symbols missing, some with nearly all of the table. */
static void scramble(uint16_t freq[RANS_TABLES][RANS_SYMBOLS], uint32_t *state)
{
    for (int t = 0; t < RANS_TABLES; t++) {
        double counts[RANS_SYMBOLS];

        for (int s = 0; s < RANS_SYMBOLS; s++)
            counts[s] = noise(state) % 3 ? exp(3 * draw_gaussian(state)) : 0;
        rans_normalize(counts, freq[t]);
    }
}

static rans_model *open_model(uint16_t freq[RANS_TABLES][RANS_SYMBOLS], const kern *k)
{
    rans_model *m = NULL;
    fault why = {0};

    CHECK(rans_open(&m, freq[0], k, &why) == ERR_OK && m);
    return m;
}

/* A copy that ends where its memory ends: a sanitizer sees a read past it. */
static uint8_t *exactly(const void *bytes, size_t n)
{
    uint8_t *copy = malloc(n + !n);

    CHECK(copy);
    if (n) memcpy(copy, bytes, n);
    return copy;
}

static size_t room_for(const layer *l)
{
    return 4 * l->c.n * l->c.B + 200;
}

/* Bytes by what the tables say. */
static double length_by_cost(const rans_model *m, const layer *l)
{
    return (double)rans_cost(m, &l->c, l->q) / RANS_COST_ONE / 8;
}

/* Encode, and decode on every rung from memory that ends where the stream does. Returns the
 * stream's bytes, which hardly exceed its cost whatever the values are. */
static size_t round_trip(const layer *l, uint16_t freq[RANS_TABLES][RANS_SYMBOLS])
{
    const size_t values = l->c.n * l->c.B, room = room_for(l);
    uint8_t *out = malloc(room);
    int16_t *back = malloc((values + GUARD) * sizeof *back);
    size_t bytes = 0;
    kern k;

    CHECK(out && back);
    for (size_t r = 0; rungs_init(r, &k); r++) {
        rans_model *m = open_model(freq, &k);
        uint8_t *stream;

        bytes = rans_encode(m, &l->c, l->q, out, room);
        CHECK(bytes != RANS_NO_ROOM);
        CHECK((double)bytes <=
              1.001 * length_by_cost(m, l) + (length_by_cost(m, l) < 64 ? 48 : RANS_OVERHEAD));
        stream = exactly(out, bytes);
        memset(back, 0x5a, (values + GUARD) * sizeof *back);
        rans_decode(m, &l->c, stream, bytes, back);
        CHECK(memcmp(back, l->q, values * sizeof *back) == 0);
        for (size_t i = 0; i < GUARD; i++) CHECK(back[values + i] == 0x5a5a);
        free(stream);
        rans_close(m);
    }
    free(out);
    free(back);
    return bytes;
}

TEST(rans_returns_any_values_of_any_classes)
{
    static const size_t widths[] = {16, 128, 512};
    uint16_t freq[RANS_TABLES][RANS_SYMBOLS];
    uint32_t state = 1;

    for (int round = 0; round < 60; round++) {
        layer *l = layer_new(noise(&state) % 40, widths[round % 3]);

        scramble(freq, &state);
        set_classes(l, (int)(noise(&state) % 140) - 20, (int)(noise(&state) % 140) - 20,
                    (int)(noise(&state) % 20), &state);
        draw(l, round % 2 ? &gaussian : &laplacian, &state);
        round_trip(l, freq);
        layer_free(l);
    }
}

TEST(rans_returns_any_sixteen_bits)
{
    uint16_t freq[RANS_TABLES][RANS_SYMBOLS];
    uint32_t state = 2;

    learn(&gaussian, freq);
    for (int top = -5; top < 90; top += 5) {
        layer *l = layer_new(9, 32);

        set_classes(l, top, top - 10, 8, &state);
        for (size_t i = 0; i < 9 * 32; i++) l->q[i] = (int16_t)noise(&state);
        l->q[0] = INT16_MIN;
        l->q[9 * 32 - 1] = INT16_MAX;
        round_trip(l, freq);
        layer_free(l);
    }
}

TEST(rans_of_zeros_is_hardly_longer_than_its_states)
{
    uint16_t freq[RANS_TABLES][RANS_SYMBOLS];
    uint32_t state = 3;
    layer *l = layer_new(100, 128);

    learn(&gaussian, freq);
    set_classes(l, 0, 0, 0, &state);
    CHECK(round_trip(l, freq) <= 9 + 2 * RANS_LANES + 2);
    layer_free(l);
}

TEST(rans_of_no_rows_is_no_bytes)
{
    uint16_t freq[RANS_TABLES][RANS_SYMBOLS];
    layer *l = layer_new(0, 128);

    learn(&gaussian, freq);
    CHECK(round_trip(l, freq) == 0);
    layer_free(l);
}

/* What the values of a layer cost in bits, by the source's own shares. */
static double ideal_bits(const layer *l, const source *from)
{
    double bits = 0;

    for (size_t i = 0; i < l->c.n; i++)
        for (size_t t = 0; t < l->c.B; t++)
            bits -= log2(share_of(from, class_of(l, i, t), abs(l->q[i * l->c.B + t])));
    return bits;
}

/* A layer of `least` to `most` bits a value: the stream against its cost, and the cost against
 * what the same values cost by the source's own shares. */
static void check_length(const source *from, int top, double least, double most)
{
    uint16_t freq[RANS_TABLES][RANS_SYMBOLS];
    uint32_t state = 4;
    layer *l = layer_new(MAX_N, 128);
    double cost, bytes, a_value;
    rans_model *m;
    kern k;

    rungs_init(0, &k);
    learn(from, freq);
    set_classes(l, top, 14, 8, &state);
    draw(l, from, &state);
    m = open_model(freq, &k);
    cost = length_by_cost(m, l);
    bytes = (double)round_trip(l, freq);
    a_value = cost * 8 / (MAX_N * 128);
    CHECK(a_value >= least && a_value <= most);
    CHECK(bytes <= cost * 1.001 + RANS_OVERHEAD);
    CHECK(bytes >= cost * 0.999 - RANS_OVERHEAD);
    CHECK(cost <= ideal_bits(l, from) / 8 * 1.005);
    rans_close(m);
    layer_free(l);
}

TEST(rans_streams_are_as_long_as_their_cost_and_near_entropy)
{
    check_length(&gaussian, 20, 0.5, 0.9);
    check_length(&gaussian, 31, 1.7, 2.2);
    check_length(&gaussian, 48, 3.5, 4.5);
    check_length(&laplacian, 20, 0.5, 0.9);
    check_length(&laplacian, 31, 1.7, 2.2);
}

TEST(rans_costs_are_the_shares_of_the_tables)
{
    static const int values[] = {0, 1, -1, 5, -17, 40, -32768, 32767};
    uint16_t freq[RANS_TABLES][RANS_SYMBOLS];
    layer *l = layer_new(1, 16);
    kern k;

    learn(&laplacian, freq);
    for (size_t r = 0; rungs_init(r, &k); r++) {
        rans_model *m = open_model(freq, &k);

        for (int c = 0; c < RANS_CLASSES; c++)
            for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
                const int shift = c < 28 ? 0 : (c - 28) / 4;
                const uint16_t *table = freq[c < 40 ? c : 36 + c % 4];
                size_t s = rans_symbol(c, values[v]);
                double bits = shift;

                CHECK(rans_table(c) == (size_t)(table - freq[0]) / RANS_SYMBOLS);
                if (s == RANS_ESCAPE || !table[s]) {
                    s = RANS_ESCAPE;
                    bits = 16;
                }
                bits += RANS_BITS - log2(table[s]);
                l->row[0] = (int16_t)(c + (c == 79 ? 100 : 0));
                for (size_t t = 0; t < 16; t++) l->q[t] = (int16_t)values[v];
                CHECK(fabs((double)rans_cost(m, &l->c, l->q) / 16 - 256 * bits) <= 0.5001);
            }
        rans_close(m);
    }
    layer_free(l);
}

TEST(rans_says_when_there_is_no_room_and_writes_nothing_outside)
{
    uint16_t freq[RANS_TABLES][RANS_SYMBOLS];
    uint8_t out[6000], whole[6000];
    uint32_t state = 6;
    layer *l = layer_new(20, 64);
    rans_model *m;
    size_t bytes;
    kern k;

    rungs_init(0, &k);
    learn(&gaussian, freq);
    set_classes(l, 45, 20, 8, &state);
    draw(l, &gaussian, &state);
    m = open_model(freq, &k);
    bytes = rans_encode(m, &l->c, l->q, whole, sizeof whole);
    CHECK(bytes < sizeof whole - 2 * GUARD);
    for (size_t room = 0; room <= bytes + 1; room++) {
        const size_t got = rans_encode(m, &l->c, l->q,
                                       (memset(out, 0x5a, sizeof out), out + GUARD), room);

        CHECK(got == (room < bytes ? RANS_NO_ROOM : bytes));
        CHECK(room < bytes || memcmp(out + GUARD, whole, bytes) == 0);
        for (size_t i = 0; i < GUARD; i++)
            CHECK(out[i] == 0x5a && out[GUARD + room + i] == 0x5a);
    }
    rans_close(m);
    layer_free(l);
}

/* Decode `bytes` on every rung: all as the definition does. */
static void same_everywhere(const layer *l, uint16_t freq[RANS_TABLES][RANS_SYMBOLS],
                            const uint8_t *bytes, size_t n)
{
    const size_t values = l->c.n * l->c.B;
    int16_t *first = malloc(values * sizeof *first), *back = malloc(values * sizeof *back);
    uint8_t *stream = exactly(bytes, n);
    kern k;

    CHECK(first && back);
    for (size_t r = 0; rungs_init(r, &k); r++) {
        rans_model *m = open_model(freq, &k);

        rans_decode(m, &l->c, stream, n, r ? back : first);
        CHECK(!r || memcmp(first, back, values * sizeof *back) == 0);
        rans_close(m);
    }
    free(stream);
    free(first);
    free(back);
}

TEST(rans_decodes_damaged_streams_to_the_same_on_every_rung)
{
    uint16_t freq[RANS_TABLES][RANS_SYMBOLS];
    uint8_t out[4000];
    uint32_t state = 7;
    layer *l = layer_new(12, 48);
    size_t bytes;
    rans_model *m;
    kern k;

    rungs_init(0, &k);
    learn(&laplacian, freq);
    set_classes(l, 60, 10, 8, &state);
    draw(l, &laplacian, &state);
    m = open_model(freq, &k);
    bytes = rans_encode(m, &l->c, l->q, out, sizeof out);
    CHECK(bytes != RANS_NO_ROOM);
    for (size_t n = 0; n < bytes; n += n < 100 ? 1 : 37) same_everywhere(l, freq, out, n);
    for (int round = 0; round < 200; round++) {
        const size_t bit = noise(&state) % (8 * (round % 2 ? bytes : 80));

        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        same_everywhere(l, freq, out, bytes);
    }
    rans_close(m);
    layer_free(l);
}

TEST(rans_refuses_tables_by_name)
{
    uint16_t freq[RANS_TABLES][RANS_SYMBOLS];
    rans_model *m = NULL;
    fault why = {0};
    kern k;

    rungs_init(0, &k);
    learn(&gaussian, freq);
    freq[17][16]--;
    CHECK(rans_open(&m, freq[0], &k, &why) == ERR_RANGE && !m);
    CHECK(strcmp(why.field, "rANS table 17") == 0);
    freq[17][16]++;
    freq[3][16] = (uint16_t)(freq[3][16] + freq[3][RANS_ESCAPE]);
    freq[3][RANS_ESCAPE] = 0;
    CHECK(rans_open(&m, freq[0], &k, &why) == ERR_RANGE && !m);
    CHECK(strcmp(why.field, "rANS table 03") == 0);
}

TEST(rans_normalizes_any_counts)
{
    uint32_t state = 8;

    for (int round = 0; round < 2000; round++) {
        double counts[RANS_SYMBOLS] = {0};
        uint16_t freq[RANS_SYMBOLS];
        unsigned sum = 0;

        for (int s = 0; s < RANS_SYMBOLS; s++)
            if (noise(&state) % 40 < (uint32_t)round % 41)
                counts[s] = exp(round % 12 * draw_gaussian(&state));
        rans_normalize(counts, freq);
        for (int s = 0; s < RANS_SYMBOLS; s++) sum += freq[s];
        CHECK(sum == 1u << RANS_BITS && freq[RANS_ESCAPE] >= 1);
    }
}

/* A slot for each of 33 symbols that never come would cost this table 1.6 % of 2,048. */
TEST(rans_normalize_gives_no_slot_to_what_hardly_comes)
{
    double counts[RANS_SYMBOLS] = {0};
    uint16_t freq[RANS_SYMBOLS];

    counts[16] = 1e6;
    counts[17] = 10000;
    counts[18] = 3;
    rans_normalize(counts, freq);
    CHECK(freq[16] + freq[17] == (1 << RANS_BITS) - 1 && freq[17] == 20);
    CHECK(freq[18] == 0 && freq[RANS_ESCAPE] == 1);
}
