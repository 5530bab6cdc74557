/* test_quant.c - quantized weight types: what their blocks mean, and products with them. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/matrix.h"
#include "tests/noise.h"
#include "tests/read_file.h"
#include "tests/test.h"

enum { COLS = 512, ROWS = 40, ROWS_OF_X = 3, GROUPS = COLS / KERN_GROUP };

static const gguf_type types[] = {
    GGUF_Q8_0,
#define QUANT(type, ...) GGUF_##type,
#include "engine/kern/quants.def"
#undef QUANT
};

enum { TYPES = sizeof types / sizeof types[0] };

static const gguf_type widened[] = {
#define WIDEN(type, ...) GGUF_##type,
#include "engine/model/widen.def"
#undef WIDEN
};

enum { WIDENED = sizeof widened / sizeof widened[0] };

static gguf_type type_at(size_t i)
{
    return i < TYPES ? types[i] : widened[i - TYPES];
}

static const char *name_of(gguf_type type)
{
    return gguf_type_name(type, NULL, NULL);
}

static size_t read_hex(const cJSON *text, uint8_t *out)
{
    const char *at = cJSON_GetStringValue(text);
    const size_t n = strlen(at) / 2;

    for (size_t i = 0; i < n; i++) {
        const char digits[3] = {at[2 * i], at[2 * i + 1], '\0'};

        out[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return n;
}

TEST(quant_rows_are_the_reference_implementations_bit_for_bit)
{
    char *text = read_file("tests/golden/dequantize.json", NULL);
    cJSON *golden = cJSON_Parse(text);

    CHECK(golden != NULL);
    for (size_t i = 0; i < TYPES + WIDENED; i++) {
        const cJSON *c = cJSON_GetObjectItemCaseSensitive(golden, name_of(type_at(i)));
        uint8_t row[1024], want[4096];
        float got[1024];
        gguf_tensor t = {.type = type_at(i), .n_dims = 2, .dim = {0, 1, 1, 1}, .data = row};

        CHECK(c != NULL);
        t.bytes = read_hex(cJSON_GetObjectItemCaseSensitive(c, "row"), row);
        t.dim[0] = read_hex(cJSON_GetObjectItemCaseSensitive(c, "floats"), want) / 4;
        CHECK(t.dim[0] >= 128);
        CHECK(matrix_read_row(&t, 0, got) == ERR_OK);
        CHECK(memcmp(got, want, t.dim[0] * sizeof *got) == 0);
    }
    cJSON_Delete(golden);
    free(text);
}

/* Rows of x as floats and as codes of 8 bits. */
typedef struct input {
    float x[ROWS_OF_X * COLS];
    int8_t q[ROWS_OF_X * COLS];
    float scale[ROWS_OF_X * GROUPS];
    kern_sums sum[ROWS_OF_X * GROUPS];
} input;

static void fill_input(input *in, const kern *k)
{
    uint32_t state = 3;

    for (size_t i = 0; i < ROWS_OF_X * COLS; i++) {
        state = state * 1664525u + 1013904223u;
        in->x[i] = (float)(state >> 8) * 0x1p-23f - 0.75f; /* a mean, so that minima matter */
    }
    k->quantize_q8(in->x, ROWS_OF_X * COLS, in->q, in->scale, in->sum);
}

/* y[t,r] within rounding of the dequantized row times the codes of x. */
static void check_products(const gguf_tensor *t, const input *in, const float *y)
{
    float w[COLS];

    for (size_t r = 0; r < ROWS; r++) {
        CHECK(matrix_read_row(t, r, w) == ERR_OK);
        for (size_t i = 0; i < ROWS_OF_X; i++) {
            double want = 0, size = 0;

            for (size_t k = 0; k < COLS; k++) {
                const double x = (double)in->scale[(i * COLS + k) / KERN_GROUP] *
                                 in->q[i * COLS + k];

                want += w[k] * x;
                size += fabs(w[k] * x);
            }
            CHECK(fabs(want - (double)y[i * ROWS + r]) <= 1e-6 * size);
        }
    }
}

TEST(quant_products_are_those_of_the_dequantized_weights)
{
    static input in;
    kern k;

    kern_init(&k, cpu_flags());
    fill_input(&in, &k);
    for (size_t i = 0; i < TYPES; i++) {
        const gguf_tensor t = noise_tensor(types[i], COLS, ROWS, 11);
        const matrix_input x = {in.x, in.q, in.scale, in.sum, ROWS_OF_X, COLS};
        float y[ROWS_OF_X * ROWS];
        matrix m;

        CHECK(matrix_open(&m, &t) == ERR_OK);
        CHECK(matrix_wants_int8(&m));
        matrix_multiply(&m, &k, &x, 0, m.panels, y, ROWS);
        check_products(&t, &in, y);
        matrix_close(&m);
        free((void *)(uintptr_t)t.data);
    }
}

/* One accumulator an output, inputs ascending, one fmaf each: float products are those of the
 * dequantized weights to the bit, and nobody's activations are rounded. Types that are widened
 * have no others. */
TEST(quant_exact_products_are_float_products_of_the_dequantized_weights)
{
    static input in;
    kern k;

    kern_init(&k, cpu_flags());
    fill_input(&in, &k);
    for (size_t i = 0; i < 2 * WIDENED + TYPES; i++) {
        const bool exact = i < WIDENED + TYPES;
        const gguf_tensor t = noise_tensor(type_at(exact ? i : i - WIDENED), COLS, ROWS, 11);
        const matrix_input x = {.x = in.x, .T = ROWS_OF_X, .D = COLS};
        float y[ROWS_OF_X * ROWS], w[COLS];
        matrix m;

        CHECK((exact ? matrix_open_exact(&m, &t) : matrix_open(&m, &t)) == ERR_OK);
        CHECK(!matrix_wants_int8(&m));
        CHECK(m.panels * m.panel_bytes == matrix_exact_bytes(&t));
        matrix_multiply(&m, &k, &x, 0, m.panels, y, ROWS);
        for (size_t j = 0; j < ROWS_OF_X * ROWS; j++) {
            float want = 0;

            CHECK(matrix_read_row(&t, j % ROWS, w) == ERR_OK);
            for (size_t c = 0; c < COLS; c++)
                want = fmaf(w[c], in.x[j / ROWS * COLS + c], want);
            CHECK(memcmp(&y[j], &want, sizeof want) == 0);
        }
        matrix_close(&m);
        free((void *)(uintptr_t)t.data);
    }
}

TEST(quant_exact_panels_of_float_weights_stay_as_they_are)
{
    static const gguf_type floats[] = {GGUF_F32, GGUF_F16, GGUF_BF16};

    for (size_t i = 0; i < 3; i++) {
        const gguf_tensor t = {.type = floats[i], .n_dims = 2, .dim = {64, 48, 1, 1}};

        CHECK(matrix_exact_bytes(&t) == matrix_bytes(&t) && matrix_bytes(&t) > 0);
    }
}

TEST(quant_panels_take_about_the_bytes_of_the_file)
{
    for (size_t i = 0; i < TYPES; i++) {
        const gguf_tensor t = noise_tensor(types[i], COLS, 2 * KERN_PANEL, 11);
        matrix m;

        CHECK(matrix_open(&m, &t) == ERR_OK);
        CHECK(m.panels * m.panel_bytes >= t.bytes);
        CHECK((double)(m.panels * m.panel_bytes) <= (double)t.bytes * 1.2);
        matrix_close(&m);
        free((void *)(uintptr_t)t.data);
    }
}
