/* test_klt_predict.c - the first half of klt: what a layer's factors make of the layer before.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "tests/test.h"
#include "xcache/codec/klt.h"

enum { B = 128 };

static double draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(int32_t)*state / 2147483648.0;
}

/* A model of a width, all that klt_open asks for: two layers, whose Wk and Wv are zeros. */
typedef struct wide {
    model m;
    model_layer layers[2];
    gguf_tensor kv;
    float *zeros;
} wide;

enum { WIDE_E = 32 };

static void open_wide(wide *w, size_t width)
{
    w->zeros = calloc(WIDE_E * width, sizeof(float));
    CHECK(w->zeros != NULL);
    w->kv = (gguf_tensor){.type = GGUF_F32,
                          .n_dims = 2,
                          .dim = {width, WIDE_E, 1, 1},
                          .data = w->zeros,
                          .bytes = WIDE_E * width * sizeof(float)};
    w->layers[1] = (model_layer){.k_file = &w->kv, .v_file = &w->kv};
    w->m = (model){.D = width, .L = 2, .E = WIDE_E, .C = WIDE_E, .G = 1, .layers = w->layers};
}

static plan_about about_of(const wide *w, plan_predictor r)
{
    return (plan_about){.D = w->m.D, .L = 2, .E = WIDE_E, .C = WIDE_E, .predictor = r};
}

/* A layer of no components that predicts by `r`, its factors of these sizes. */
static plan_layer draw_layer(void *bytes, const plan_about *a, double down, double up)
{
    const size_t width = a->D;
    plan_layer l = plan_lay_out(bytes, a, 0);
    double *w = malloc(width * width * sizeof *w);
    uint32_t state = 3;

    CHECK(w != NULL);
    for (size_t i = 0; i < width && l.down.rows; i++)
        l.diagonal[i] = (float)(.3 * draw(&state));
    for (size_t i = 0; i < l.down.rows * width; i++) w[i] = down * draw(&state);
    plan_pack(width, w, &l.down);
    for (size_t i = 0; i < l.up.rows * width; i++) w[i] = up * draw(&state);
    plan_pack(width, w, &l.up);
    free(w);
    return l;
}

static double value(const plan_matrix *m, size_t width, size_t r, size_t i)
{
    const size_t group = r * plan_groups(width) + i / PLAN_GROUP;

    return (double)m->scale[r] * m->share[group] * m->code[r * width + i];
}

/* out [width] = P x of one row, by the plan's own numbers. */
static void predict(const plan_layer *l, size_t width, const float *x, double *out)
{
    for (size_t i = 0; i < width; i++) out[i] = (1 + (double)l->diagonal[i]) * (double)x[i];
    for (size_t r = 0; r < l->down.rows; r++) {
        double sum = 0;

        for (size_t j = 0; j < width; j++) sum += value(&l->down, width, r, j) * (double)x[j];
        for (size_t i = 0; i < width && l->up.rows; i++)
            out[i] += value(&l->up, width, r, i) * sum;
        if (!l->up.rows) out[r] += sum;
    }
}

/* Largest distance of state from P x, beside the largest value. */
static double compare_rows(const plan_layer *from, size_t width, const float *x,
                           const float *state)
{
    double *wanted = malloc(width * sizeof *wanted), off = 0, most = 0;

    CHECK(wanted != NULL);
    for (size_t t = 0; t < B; t++) {
        predict(from, width, x + t * width, wanted);
        for (size_t i = 0; i < width; i++) {
            off = fmax(off, fabs((double)state[t * width + i] - wanted[i]));
            most = fmax(most, fabs(wanted[i]));
        }
    }
    free(wanted);
    return off / most;
}

/* The same of what klt_project makes of a block. */
static double project_off(const kern *k, size_t width, plan_predictor r, double down, double up)
{
    const klt_coder coder = {.kern = k, .step = 1};
    const size_t temp_floats = klt_temp_floats(B, width);
    wide w;
    plan_about a;
    void *bytes;
    plan_layer from;
    float *x = malloc(B * width * sizeof *x), *state = malloc(B * width * sizeof *state),
          *temp = malloc(temp_floats * sizeof *temp);
    klt_block b = {.coder = &coder, .rows = B, .state = state, .temp = temp};
    uint32_t seed = 5;
    klt_layer l;
    double off;

    open_wide(&w, width);
    a = about_of(&w, r);
    bytes = calloc(1, plan_layer_bytes(&a, 0));
    CHECK(bytes && x && state && temp);
    from = draw_layer(bytes, &a, down, up);
    CHECK(klt_open(&l, k, &w.m, 1, &from, 1) == ERR_OK);
    for (size_t i = 0; i < B * width; i++) state[i] = x[i] = (float)draw(&seed);
    memset(temp, 0xff, temp_floats * sizeof *temp);
    klt_project(&l, &b);
    off = compare_rows(&from, width, x, state);
    klt_close(&l);
    free(w.zeros);
    free(bytes);
    free(x);
    free(state);
    free(temp);
    return off;
}

/* Also where a factor's numbers are too small for the scales of eight-bit weights. */
TEST(klt_prediction_is_what_its_factors_say)
{
    const plan_predictor full = {PLAN_FULL, 0}, rank = {PLAN_RANK, 24}, none = {PLAN_NONE, 0};
    kern k;

    kern_init(&k, cpu_flags());
    CHECK(project_off(&k, 96, full, .1, 0) < .01);
    CHECK(project_off(&k, 96, rank, .1, .1) < .01);
    CHECK(project_off(&k, 96, rank, 1e-9, 1e8) < .01);
    CHECK(project_off(&k, 96, rank, 1e9, 1e-9) < .01);
    CHECK(project_off(&k, 40, full, .1, 0) < 1e-5); /* no whole groups: floats */
    CHECK(project_off(&k, 40, rank, .1, .1) < 1e-5);
    CHECK(project_off(&k, 96, none, 0, 0) <= 0);
}
