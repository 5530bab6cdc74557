/* test_quantize_peer.c - quantizers beside llama.cpp's: the squared error of the same numbers
 * is at most 1.02 times that of theirs (golden/quantize.json, which quantize.py records), with
 * weights and without. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/matrix.h"
#include "engine/model/quantize.h"
#include "tests/read_file.h"
#include "tests/test.h"

enum { N = 16384, ROW = 1024 };

static float next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*state >> 32) / 2147483648.0f;
}

static void fill(float *x, const char *kind)
{
    uint64_t state = 7;

    for (int i = 0; i < N; i++) {
        x[i] = 0;
        for (int k = 0; k < 4; k++) x[i] += next_random(&state);
        if (strcmp(kind, "tails") == 0) x[i] = x[i] * x[i] * x[i];
        if (strcmp(kind, "shifted") == 0) x[i] += 1.5f;
        x[i] *= 0.02f;
    }
}

static void fill_weights(float *w)
{
    uint64_t state = 11;

    for (int i = 0; i < ROW; i++) {
        const float r = next_random(&state);

        w[i] = 0.05f + r * r;
    }
}

static gguf_type find_type(const char *name)
{
    static const gguf_type types[] = {GGUF_Q4_0, GGUF_Q4_K, GGUF_Q5_K, GGUF_Q6_K};
    size_t i = 0;

    while (strcmp(gguf_type_name(types[i], NULL, NULL), name) != 0) i++;
    return types[i];
}

/* As the engine reads it back. */
static double error_of(gguf_type type, const float *x, const float *w)
{
    static uint8_t out[N * 4];
    static float y[ROW];
    size_t elements = 1, bytes = 0;
    gguf_tensor t = {.type = type, .n_dims = 2, .dim = {ROW, 1, 1, 1}, .data = out};
    double sum = 0;

    (void)gguf_type_name(type, &elements, &bytes);
    t.bytes = ROW / elements * bytes;
    for (int r = 0; r < N / ROW; r++, x += ROW) {
        quantize_weighed(type, x, w, ROW, out);
        CHECK(matrix_read_row(&t, 0, y) == ERR_OK);
        for (int i = 0; i < ROW; i++) {
            const double off = (double)y[i] - (double)x[i];

            sum += off * off * (w ? (double)w[i] : 1);
        }
    }
    return sum;
}

static const cJSON *field(const cJSON *of, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(of, name);
}

TEST(quantize_is_as_near_as_llama_cpp_is)
{
    static float x[N], w[ROW];
    size_t n = 0, rows = 0;
    char *text = read_file("tests/golden/quantize.json", &n);
    cJSON *all = text ? cJSON_ParseWithLength(text, n) : NULL;
    const cJSON *row;

    fill_weights(w);
    cJSON_ArrayForEach (row, field(all, "errors")) {
        const char *type = field(row, "type")->valuestring;
        const bool weighed = cJSON_IsTrue(field(row, "weighed"));
        const double theirs = field(row, "error")->valuedouble;
        double ours;

        fill(x, field(row, "data")->valuestring);
        ours = error_of(find_type(type), x, weighed ? w : NULL);
        fprintf(stderr, "%s %s%s: %.3f of llama.cpp's\n", type, field(row, "data")->valuestring,
                weighed ? " weighed" : "", ours / theirs);
        CHECK(ours <= 1.02 * theirs);
        rows++;
    }
    CHECK(rows == 24);
    cJSON_Delete(all);
    free(text);
}

/* What counts nothing may be anything; what counts is nearer for it. */
TEST(quantize_weighed_serves_what_counts)
{
    static const gguf_type types[] = {GGUF_Q4_0, GGUF_Q4_K, GGUF_Q5_K, GGUF_Q6_K};
    static float x[N], w[ROW];

    fill(x, "tails");
    fill_weights(w);
    for (int i = 0; i < ROW; i++) w[i] = i % 4 ? 1e-4f : 1;
    for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
        uint8_t plain[ROW * 4], weighed[ROW * 4];
        float a[ROW], b[ROW];
        double off[2] = {0};
        size_t elements = 1, bytes = 0;
        gguf_tensor t = {.type = types[k], .n_dims = 1, .dim = {ROW, 1, 1, 1}};

        (void)gguf_type_name(types[k], &elements, &bytes);
        t.bytes = ROW / elements * bytes;
        quantize_row(types[k], x, ROW, plain);
        quantize_weighed(types[k], x, w, ROW, weighed);
        t.data = plain;
        CHECK(matrix_read_row(&t, 0, a) == ERR_OK);
        t.data = weighed;
        CHECK(matrix_read_row(&t, 0, b) == ERR_OK);
        for (int i = 0; i < ROW; i += 4) {
            off[0] += ((double)a[i] - (double)x[i]) * ((double)a[i] - (double)x[i]);
            off[1] += ((double)b[i] - (double)x[i]) * ((double)b[i] - (double)x[i]);
        }
        CHECK(off[1] < 0.9 * off[0]);
    }
}
