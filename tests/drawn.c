/* drawn.c - fills a plan's parts with numbers. */
#include "tests/drawn.h"

#include <stdio.h>
#include <stdlib.h>

#include "xcache/codec/rans.h"

enum { D = 64, E = 64, C = 32, MOST_LAYERS = 8 };

static void must(err e)
{
    if (e == ERR_OK) return;
    fprintf(stderr, "drawn: %s\n", err_text(e));
    abort();
}

/* -1 .. 1 */
static double draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(int32_t)*state / 2147483648.0;
}

static void draw_floats(float *x, size_t n, uint32_t *state)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)draw(state);
}

static void draw_matrix(const plan_matrix *m, uint32_t *state)
{
    double *rows = malloc((m->rows * D + 1) * sizeof *rows);

    if (!rows) must(ERR_NOMEM);
    for (size_t i = 0; i < m->rows * D; i++) rows[i] = draw(state);
    plan_pack(D, rows, m);
    free(rows);
}

static void draw_form(const plan_form *f, uint32_t *state)
{
    double rows[2 * E * C];

    for (size_t i = 0; i < f->rows * C; i++) rows[i] = draw(state);
    plan_pack_form(C, rows, f);
}

static void *draw_layer(const plan_about *a, size_t n, uint32_t *state)
{
    void *bytes = calloc(1, plan_layer_bytes(a, n));
    plan_layer l;

    if (!bytes) must(ERR_NOMEM);
    l = plan_lay_out(bytes, a, n);
    draw_floats(l.c, D, state);
    for (size_t i = 0; i < D; i++) l.diagonal[i] = 0.125f * (float)draw(state);
    draw_floats(l.salience, D + 1, state);
    *l.floor = 0.25f;
    for (size_t i = 0; i < n; i++) l.sigma[i] = 4 / (float)(i + 1);
    draw_form(&l.form, state);
    draw_matrix(&l.down, state);
    draw_matrix(&l.up, state);
    draw_matrix(&l.q, state);
    return bytes;
}

/* All symbols alike, and what is left over is the first one's. */
static void fill_tables(uint16_t (*frequency)[PLAN_SYMBOLS], float *bias)
{
    const unsigned whole = 1u << RANS_BITS, each = whole / PLAN_SYMBOLS;

    for (size_t i = 0; i < PLAN_TABLES; i++) {
        for (size_t v = 0; v < PLAN_SYMBOLS; v++) frequency[i][v] = (uint16_t)each;
        frequency[i][0] = (uint16_t)(whole - (PLAN_SYMBOLS - 1) * each);
        bias[i] = (float)i / PLAN_TABLES;
    }
}

/* Half an octave a step, 10 bits less; layer 0 costs nothing. */
static void fill_rates(float *step, float *bits, size_t layers)
{
    for (size_t s = 0; s < DRAWN_STEPS; s++) {
        step[s] = (float)s / 2 - 2;
        for (size_t l = 0; l < layers; l++) bits[s * layers + l] = l ? (float)(90 - 10 * s) : 0;
    }
}

static void draw_layers(const plan_about *a, size_t n[MOST_LAYERS], void *layers[MOST_LAYERS])
{
    uint32_t state = 7;

    for (size_t l = 1; l < a->L; l++) {
        n[l] = D >> l;
        layers[l] = draw_layer(a, n[l], &state);
    }
}

plan *drawn_plan_beside(const gguf *g, size_t layers, plan_predictor r,
                        const plan_measured *list, size_t n, const plan_plain *plain,
                        size_t plains)
{
    static uint16_t frequency[PLAN_TABLES][PLAN_SYMBOLS];
    float bias[PLAN_TABLES], step[DRAWN_STEPS], bits[DRAWN_STEPS * MOST_LAYERS];
    size_t counts[MOST_LAYERS] = {0};
    void *bytes[MOST_LAYERS] = {NULL};
    plan_parts parts = {.about = {.D = D,
                                  .L = layers,
                                  .E = E,
                                  .C = C,
                                  .predictor = r,
                                  .steps = DRAWN_STEPS,
                                  .measured = n,
                                  .plain = plains},
                        .rates = {step, bits},
                        .tables = {frequency, bias},
                        .n = counts,
                        .layers = bytes};
    plan *out = NULL;

    must(plan_hash_model(g, &parts.about.model));
    fill_tables(frequency, bias);
    fill_rates(step, bits, layers);
    draw_layers(&parts.about, counts, bytes);
    must(plan_make(&out, &parts));
    if (n) plan_record(out, list, plain, DRAWN_TOKENS);
    for (size_t l = 1; l < layers; l++) free(bytes[l]);
    return out;
}

plan *drawn_plan(const gguf *g, size_t layers, plan_predictor r, const plan_measured *list,
                 size_t n)
{
    return drawn_plan_beside(g, layers, r, list, n, NULL, 0);
}

plan_measured drawn_measured(double ratio, double kl)
{
    const float most = (float)kl;

    return (plan_measured){.ratio = (float)ratio,
                           .kl = {most, most / 2, -1},
                           .p99 = {8 * most, 4 * most, -1},
                           .top1 = {1 - most, 1 - most / 2, -1}};
}
