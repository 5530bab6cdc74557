/* fuzz_rans.c - any bytes as a stream: decoded to the same by every rung, inside q. And any
 * values encoded: back they come, in exactly as many bytes as were said to be enough. And any
 * floats quantized and any indices dequantized: the same by every rung, within what they fill.
 *
 * Input: tables 1 | rows 1 | tokens / 16 1 | class of the first row 1 | columns, a byte a
 * token | the stream, which serves as the values, too. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rungs.h"
#include "xcache/codec/klt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { TABLES = 3, RUNGS = 4, MAX_ROWS = 20, MAX_TOKENS = 64, ABOUT = 4, GUARD = 8 };

/* Tables like those of a plan, of nothing but escapes, and with few symbols in each. */
static void make_tables(int which, uint16_t freq[RANS_TABLES][RANS_SYMBOLS])
{
    for (int t = 0; t < RANS_TABLES; t++) {
        double counts[RANS_SYMBOLS] = {0};

        for (int s = 0; s < RANS_ESCAPE && which != 1; s++) {
            const double z = (s - 16) * exp2((24 - t) * 0.25);

            if (which == 0 || (s + t) % 5 == 0) counts[s] = exp(-0.5 * z * z) + 1e-4;
        }
        rans_normalize(counts, freq[t]);
    }
}

static const rans_model *model_of(int which, size_t rung)
{
    static rans_model *models[TABLES][RUNGS];
    static kern kerns[RUNGS];
    uint16_t freq[RANS_TABLES][RANS_SYMBOLS];

    if (rung >= RUNGS || !rungs_init(rung, &kerns[rung])) return NULL;
    if (models[which][rung]) return models[which][rung];
    make_tables(which, freq);
    if (rans_open(&models[which][rung], freq[0], &kerns[rung], NULL) != ERR_OK) abort();
    return models[which][rung];
}

/* q [n,B], and GUARD values more, which stay. */
static int16_t *decode(const rans_model *m, const kern_classes *c, const uint8_t *bytes,
                       size_t n)
{
    const size_t values = c->n * c->B;
    int16_t *q = malloc((values + GUARD) * sizeof *q);

    if (!q) abort();
    memset(q, 0x5a, (values + GUARD) * sizeof *q);
    rans_decode(m, c, bytes, n, q);
    for (size_t i = 0; i < GUARD; i++)
        if (q[values + i] != 0x5a5a) abort();
    return q;
}

static void try_stream(int which, const kern_classes *c, const uint8_t *bytes, size_t n)
{
    int16_t *first = decode(model_of(which, 0), c, bytes, n);
    const rans_model *m;

    for (size_t rung = 1; (m = model_of(which, rung)); rung++) {
        int16_t *q = decode(m, c, bytes, n);

        if (memcmp(q, first, c->n * c->B * sizeof *q)) abort();
        free(q);
    }
    free(first);
}

static void try_values(int which, const kern_classes *c, const uint8_t *bytes, size_t n)
{
    const size_t size = c->n * c->B * sizeof(int16_t), room = 2 * size + 100;
    int16_t *q = calloc(1, size + 1), *back;
    uint8_t *out = malloc(room), *exact;
    const rans_model *m = model_of(which, 0);
    size_t length;

    if (!q || !out) abort();
    memcpy(q, bytes, n < size ? n : size);
    length = rans_encode(m, c, q, out, room);
    if (length == RANS_NO_ROOM) abort();
    exact = malloc(length + 1);
    if (!exact || rans_encode(m, c, q, exact, length) != length) abort();
    if (length && rans_encode(m, c, q, exact, length - 1) != RANS_NO_ROOM) abort();
    rans_encode(m, c, q, exact, length);
    back = decode(m, c, exact, length);
    if (memcmp(back, q, size)) abort();
    try_stream(which, c, exact, length);
    free(q);
    free(back);
    free(out);
    free(exact);
}

/* Indices of u [n,B], and then the floats that they stand for, by one rung: one allocation of
 * both, each with GUARD values more, which stay. */
static uint8_t *through_trellis(const kern *k, const kern_classes *c, const float *u)
{
    const size_t values = c->n * c->B, q_bytes = (values + GUARD) * sizeof(int16_t);
    uint8_t *all = malloc(q_bytes + (values + GUARD) * sizeof(float));
    float bias[KERN_TABLES], *out;
    kern_prices prices;
    int16_t *q;

    if (!all) abort();
    q = (int16_t *)(void *)all;
    out = (float *)(void *)(all + q_bytes);
    memset(all, 0x5a, q_bytes + (values + GUARD) * sizeof(float));
    klt_set_prices(&prices);
    for (size_t i = 0; i < KERN_TABLES; i++) bias[i] = (float)i / 64;
    k->klt_quantize(c, u, u, &prices, q);
    k->klt_dequantize(c, q, bias, u, out);
    for (size_t i = 0; i < GUARD; i++)
        if (q[values + i] != 0x5a5a || memcmp(&out[values + i], "ZZZZ", 4)) abort();
    return all;
}

static void try_trellis(const kern_classes *c, const uint8_t *bytes, size_t n)
{
    const size_t values = (c->n + 1) * c->B, size = values * sizeof(float);
    const size_t compared = c->n * c->B * (sizeof(int16_t) + sizeof(float));
    float *u = calloc(1, size);
    uint8_t *first;
    kern k;

    if (!u || !rungs_init(0, &k)) abort();
    memcpy(u, bytes, n < size ? n : size);
    first = through_trellis(&k, c, u);
    for (size_t rung = 1; rungs_init(rung, &k); rung++) {
        uint8_t *other = through_trellis(&k, c, u);

        if (memcmp(first, other, compared)) abort();
        free(other);
    }
    free(first);
    free(u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    int8_t column[MAX_TOKENS];
    int16_t row[MAX_ROWS];
    kern_classes c = {.row = row, .column = column};
    uint8_t *copy;

    if (n < ABOUT) return 0;
    c.n = data[1] % (MAX_ROWS + 1);
    c.B = (size_t)RANS_LANES * (1 + data[2] % (MAX_TOKENS / RANS_LANES));
    if (n < ABOUT + c.B) return 0;
    for (size_t i = 0; i < c.n; i++) row[i] = (int16_t)(data[3] - 3 * (int)i);
    memcpy(column, data + ABOUT, c.B);
    n -= ABOUT + c.B;
    copy = malloc(n + !n);
    if (!copy) return 0;
    memcpy(copy, data + ABOUT + c.B, n);
    try_stream(data[0] % TABLES, &c, copy, n);
    try_values(data[0] % TABLES, &c, copy, n);
    try_trellis(&c, copy, n);
    free(copy);
    return 0;
}
