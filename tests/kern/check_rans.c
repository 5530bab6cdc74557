/* check_rans.c - loops over entropy-coded symbols: any bytes by any tables at every length, any
 * classes, quantizing and back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/kern_rans.h"
#include "tests/kern/check.h"

enum { MAX_ROWS = 24, MAX_TOKENS = 512, PAD = 64, SLOTS = KERN_TABLES << KERN_RANS_BITS };

/* A layer's classes, in memory that ends where they end. */
typedef struct layer {
    kern_classes c;
    int16_t *row;
    int8_t *column;
    size_t n; /* values */
} layer;

static void *take(size_t n)
{
    void *p = malloc(n + !n);

    if (!p) abort();
    return p;
}

static layer make_layer(size_t n, size_t B, uint32_t *state)
{
    layer l = {.row = take(n * sizeof(int16_t)), .column = take(B), .n = n * B};
    const int about = (int)(check_random(state) % 100) - 10; /* some of both ends */
    const uint32_t spread = 1 + check_random(state) % 60;

    for (size_t i = 0; i < n; i++) l.row[i] = (int16_t)(about - (int)i);
    for (size_t t = 0; t < B; t++)
        l.column[t] = (int8_t)((int)(check_random(state) % spread) - (int)spread / 2);
    if (n > 3) { /* as far out as an argument can be */
        l.row[1] = INT16_MAX;
        l.row[2] = INT16_MIN;
        l.column[0] = INT8_MAX;
        l.column[1] = INT8_MIN;
    }
    l.c = (kern_classes){l.row, l.column, n, B};
    return l;
}

static void drop_layer(layer *l)
{
    free(l->row);
    free(l->column);
}

/* Layer after layer, of every width that blocks have, until one differs. */
static bool every_layer(const kern *k,
                        bool (*same)(const kern *k, const layer *l, uint32_t *state))
{
    static const size_t widths[] = {16, 32, 48, 128, 512};
    uint32_t state = 9;
    bool is = true;

    for (size_t round = 0; is && round < 200; round++) {
        layer l = make_layer(round % MAX_ROWS, widths[round / 2 % 5], &state);

        is = same(k, &l, &state);
        drop_layer(&l);
    }
    return is;
}

/* Slots of any numbers but those that decide: escapes and large shares are as common as in
 * tables that mean something. */
static const uint32_t *some_slots(void)
{
    static uint32_t slots[SLOTS];
    uint32_t state = 4;

    for (size_t i = 0; i < SLOTS; i++) {
        const uint32_t random = check_random(&state);
        const int hi = random % 37 ? (int)(random >> 8) % 7 - 3 : (int)(random >> 8) % 35 - 17;
        const uint32_t freq = random % 5 ? 1 + (random >> 9) % 0x7ff : random >> 20;

        slots[i] = (uint32_t)(uint8_t)hi << 24 | (freq & 0xfff) << 12 |
                   (random >> 3) % (freq + 1) % 0xfff;
    }
    return slots;
}

static bool same_decode(const kern *k, const layer *l, uint32_t *state)
{
    static const uint32_t *slots;
    const size_t n = check_random(state) % (l->n + 100), bytes = l->n * sizeof(int16_t);
    int16_t *a = check_memory(bytes + PAD), *b = check_memory(bytes + PAD);
    uint8_t *stream = take(n);
    bool same;

    if (!slots) slots = some_slots();
    check_bytes(stream, n, *state);
    if (n) stream[0] %= 4; /* rows of the single state: mostly fewer than there are */
    kern_rans_decode_ref(&l->c, slots, stream, n, a);
    k->rans_decode(&l->c, slots, stream, n, b);
    same = check_same("rans_decode", a, b, bytes + PAD);
    free(stream);
    free(a);
    free(b);
    return same;
}

bool check_rans_decode(const kern *k)
{
    return every_layer(k, same_decode);
}

/* Small values, and any. */
static int16_t *some_values(size_t n, uint32_t *state)
{
    int16_t *q = take(n * sizeof *q);

    for (size_t i = 0; i < n; i++) {
        const uint32_t random = check_random(state);

        q[i] = (int16_t)(random % 3 ? (int)(random >> 8) % 45 - 22 : (int)random);
    }
    if (n) q[0] = INT16_MIN;
    if (n) q[n - 1] = INT16_MAX;
    return q;
}

/* Any shares of a table, whether its others leave room for them or not; some escape. */
static void some_codes(uint32_t *codes, uint32_t *state)
{
    for (size_t i = 0; i < KERN_CLASSES * KERN_SYMBOLS; i++) {
        const uint32_t random = check_random(state), most = 1u << KERN_RANS_BITS;
        const uint32_t freq = random % 7 ? 1 + random % 60 : 1 + (random >> 8) % most;

        codes[i] = kern_rans_code(freq, (random >> 9) % (most - freq + 1),
                                  i % KERN_SYMBOLS == KERN_SYMBOLS - 1 || random % 41 == 0);
    }
}

/* The words, how many they are, and the states that are left; nothing of it where there was no
 * room. */
static bool same_encode(const kern *k, const layer *l, uint32_t *state)
{
    const size_t room = l->n && check_random(state) % 4 ? 6 * l->n : check_random(state) % 99;
    uint32_t *codes = take(KERN_CLASSES * KERN_SYMBOLS * sizeof *codes);
    uint32_t x[2][KERN_RANS_LANES];
    int16_t *q = some_values(l->n, state);
    uint8_t *a = take(room), *b = take(room);
    const size_t from = l->c.n ? check_random(state) % (l->c.n + 1) : 0;
    size_t left[2];
    bool same;

    some_codes(codes, state);
    for (size_t j = 0; j < KERN_RANS_LANES; j++)
        x[0][j] = x[1][j] = KERN_RANS_LOW | check_random(state);
    left[0] = kern_rans_encode_ref(&l->c, codes, q, from, x[0], a, room);
    left[1] = k->rans_encode(&l->c, codes, q, from, x[1], b, room);
    same = check_same("rans_encode, room", &left[0], &left[1], sizeof left[0]);
    if (same && left[0] != KERN_RANS_FULL)
        same = check_same("rans_encode, states", x[0], x[1], sizeof x[0]) &&
               check_same("rans_encode, words", a + left[0], b + left[0], room - left[0]);
    free(codes);
    free(q);
    free(a);
    free(b);
    return same;
}

bool check_rans_encode(const kern *k)
{
    return every_layer(k, same_encode);
}

static bool same_cost(const kern *k, const layer *l, uint32_t *state)
{
    uint32_t *costs = take(KERN_CLASSES * KERN_SYMBOLS * sizeof *costs);
    int16_t *q = some_values(l->n, state);
    uint64_t a, b;

    for (size_t i = 0; i < KERN_CLASSES * KERN_SYMBOLS; i++)
        costs[i] = check_random(state) >> 8;
    a = kern_rans_cost_ref(&l->c, costs, q);
    b = k->rans_cost(&l->c, costs, q);
    free(costs);
    free(q);
    return check_same("rans_cost", &a, &b, sizeof a);
}

bool check_rans_cost(const kern *k)
{
    return every_layer(k, same_cost);
}

/* Any prices at all, and of some classes those that the codec has. */
static kern_prices some_prices(uint32_t *state)
{
    kern_prices p;

    check_floats(p.base, KERN_CLASSES, *state);
    check_floats(p.slope, KERN_CLASSES, *state + 1);
    for (size_t c = 0; c < KERN_CLASSES; c++) {
        p.slope[c] = fabsf(p.slope[c]);
        if (c % 3) p.base[c] = -1 / (float)(c + 1);
        if (c % 3) p.slope[c] = 4 / (float)(c + 1);
    }
    return p;
}

/* Values on the borders of the quantizer, beside them and anywhere. */
static void fill_input(float *u, float *inverse, size_t n, size_t B, uint32_t *state)
{
    static const float odd[] = {INFINITY, -INFINITY, NAN,   0.0f,
                                -0.0f,    1e-40f,    3e38f, -31999.6f};

    check_floats(u, n * B, *state);
    for (size_t t = 0; t < B; t++)
        inverse[t] = check_random(state) % 9 ? 1.0f / (float)(1 + t % 8) : odd[t % 8];
    for (size_t i = 0; i < n * B; i++) {
        const float border = (float)(i % 100) / 4;

        if (i % 4 == 1) u[i] = i % 8 < 4 ? border : -border;
        if (i % 4 == 2) u[i] = nextafterf(border, i % 8 < 4 ? 99 : -99);
        if (i % 41 == 40) u[i] = odd[i / 41 % 8];
    }
}

static bool same_quantize(const kern *k, const layer *l, uint32_t *state)
{
    const size_t n = l->c.n, B = l->c.B, bytes = l->n * sizeof(int16_t);
    float *u = take(l->n * sizeof *u), *inverse = take(B * sizeof *inverse);
    int16_t *a = check_memory(bytes + PAD), *b = check_memory(bytes + PAD);
    const kern_prices prices = some_prices(state);
    bool same;

    fill_input(u, inverse, n, B, state);
    kern_klt_quantize_ref(&l->c, u, inverse, &prices, a);
    k->klt_quantize(&l->c, u, inverse, &prices, b);
    same = check_same("klt_quantize", a, b, bytes + PAD);
    free(u);
    free(inverse);
    free(a);
    free(b);
    return same;
}

bool check_klt_quantize(const kern *k)
{
    return every_layer(k, same_quantize);
}

static bool same_dequantize(const kern *k, const layer *l, uint32_t *state)
{
    static const float odd[] = {INFINITY, -INFINITY, NAN, 0.0f, -0.0f, 1e-40f, 3e38f, 1};
    const size_t B = l->c.B, bytes = l->n * sizeof(float);
    float *bias = take(KERN_TABLES * sizeof *bias), *step = take(B * sizeof *step);
    float *a = check_memory(bytes + PAD), *b = check_memory(bytes + PAD);
    int16_t *q = some_values(l->n, state);
    bool same;

    check_normals(bias, KERN_TABLES, *state);
    check_floats(step, B, *state + 1);
    for (size_t t = 0; t < B; t += 7) step[t] = odd[t / 7 % 8];
    for (size_t i = 0; i < l->n; i += 3) q[i] = 0;
    kern_klt_dequantize_ref(&l->c, q, bias, step, a);
    k->klt_dequantize(&l->c, q, bias, step, b);
    same = check_same("klt_dequantize", a, b, bytes + PAD);
    free(bias);
    free(step);
    free(q);
    free(a);
    free(b);
    return same;
}

bool check_klt_dequantize(const kern *k)
{
    return every_layer(k, same_dequantize);
}
