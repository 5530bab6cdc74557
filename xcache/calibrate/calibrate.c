/* calibrate.c - finds the step of one ratio, tries others, and measures what came of it.
 *
 *    bits a token
 *     |  *                  runs: the whole loop at a step; bits fall by about one for each
 *     |    *                component and octave, so the secant meets the wanted ones in three
 *    wanted ---*-----
 *     |   o    o    o   o   trials: frozen layers at steps half an octave apart
 *     '---------------> log2 step
 *
 * Half of the time are runs, a fifth trials, the rest is reading the held-out text. */
#include "xcache/calibrate/calibrate.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/calibrate/draft.h"
#include "xcache/calibrate/loop.h"
#include "xcache/calibrate/measure.h"
#include "xcache/codec/klt.h"
#include "xcache/codec/rate.h"

enum { RUNS = 3, STEPS = 20, BLOCK = CACHE_BLOCK_TOKENS };

/* Where the closed loop is closed: predictors learn what this step does to their inputs. Plans
 * made for 5x and 40x alone are less than a tenth better there. */
static const double design_ratio = 12;

/* Octaves of trials, and how far below the design's the finest step lies. */
static const double apart = 0.5, finer = 4.5;

struct calibration {
    reader_model r;
    reader_text held[PLAN_TEXTS];
    plan_hash hash;
    loop *loop;
};

/* One calibrate_make at work. */
typedef struct making {
    calibration *c;
    draft draft;
    census *counts;           /* [STEPS,L] */
    float step[STEPS], *bits; /* [STEPS,L] */
    uint16_t frequency[PLAN_TABLES][PLAN_SYMBOLS];
    float bias[PLAN_TABLES];
} making;

/* --- the step --- */

/* The tables of everything that was counted, which runs then go on with. */
static void learn_tables(making *w, size_t n)
{
    census *all = calloc(1, sizeof *all);

    if (!all) return; /* those before serve still */
    for (size_t i = 0; i < n; i++) census_merge(all, &w->counts[i]);
    census_tables(all, w->frequency, w->bias);
    free(all);
    loop_set_bias(w->c->loop, w->bias);
}

static double sum_bits(const making *w, const census *by_layer)
{
    double bits = 0;

    for (size_t l = 1; l < w->c->r.m->L; l++)
        bits += census_bits(&by_layer[l], (const uint16_t(*)[PLAN_SYMBOLS])w->frequency);
    return bits;
}

/* Components that count in a layer of the draft, all layers. */
static double count_components(const making *w, double log2_step)
{
    double n = 0;

    for (size_t l = 1; l < w->c->r.m->L; l++) {
        const plan_layer layer = draft_layer(&w->draft, l);

        n += (double)klt_count(&layer, exp2(log2_step));
    }
    return n;
}

/* Bits a token of the design ratio. */
static double wanted_bits(const calibration *c)
{
    const model *m = c->r.m;

    return rate_wanted_bits(m->E, m->L, BLOCK, design_ratio);
}

/* Bits that go with an octave at a step: at first most components that count lose one, later
 * what the last two runs say. */
static double find_slope(const making *w, double at, double bits, double at_before,
                         double bits_before)
{
    const double guess = -0.9 * count_components(w, at) - 1;
    const double slope = at == at_before ? guess : (bits - bits_before) / (at - at_before);

    return slope < 0.3 * guess ? slope : guess;
}

/* RUNS passes at ever better steps, the last one over all of the text; the draft and *step are
 * its. */
static err find_step(making *w, double *step, const stage *p)
{
    const double wanted = wanted_bits(w->c);
    double at = loop_scale(w->c->loop) - 3, at_before = at, bits_before = 0;

    for (int i = 0; i < RUNS; i++) {
        const stage part = stage_part(p, (double)i / RUNS, 1.0 / RUNS);
        double bits, slope;

        TRY(loop_run(w->c->loop, &w->draft, at, finer, i + 1 < RUNS, w->counts, &part));
        learn_tables(w, w->c->r.m->L);
        *step = at;
        bits = sum_bits(w, w->counts);
        slope = find_slope(w, at, bits, at_before, bits_before);
        at_before = at;
        bits_before = bits;
        at += fmax(-4, fmin(4, (wanted - bits) / slope));
    }
    return ERR_OK;
}

/* --- rates --- */

static err try_steps(making *w, double design, const stage *p)
{
    const size_t L = w->c->r.m->L;

    for (size_t s = 0; s < STEPS; s++) {
        const stage part = stage_part(p, (double)s / STEPS, 1.0 / STEPS);

        w->step[s] = (float)(design - finer + apart * (double)s);
        TRY(loop_try(w->c->loop, &w->draft, (double)w->step[s], w->counts + s * L, &part));
    }
    learn_tables(w, STEPS * L);
    for (size_t s = 0; s < STEPS; s++)
        for (size_t l = 0; l < L; l++)
            w->bits[s * L + l] = (float)census_bits(
                &w->counts[s * L + l], (const uint16_t(*)[PLAN_SYMBOLS])w->frequency);
    return ERR_OK;
}

/* --- plans --- */

static err make_plan(making *w, const stage *p, plan **out)
{
    const stage runs = stage_part(p, 0, 0.55), trials = stage_part(p, 0.55, 0.2);
    const stage rest = stage_part(p, 0.75, 0.25);
    plan_parts parts = {.about = w->draft.about,
                        .rates = {w->step, w->bits},
                        .tables = {w->frequency, w->bias}};
    plan *made = NULL;
    double step = 0;
    err e;

    TRY(find_step(w, &step, &runs));
    TRY(try_steps(w, step, &trials));
    parts.n = w->draft.n;
    parts.layers = w->draft.layers;
    TRY(plan_make(&made, &parts));
    loop_rest(w->c->loop); /* caches that measure take its place */
    e = measure_plan(&w->c->r, w->c->held, made, &rest);
    if (e != ERR_OK) {
        plan_close(made);
        return e;
    }
    *out = made;
    return ERR_OK;
}

err calibrate_make(calibration *c, plan_predictor r, const stage *p, plan **out)
{
    const model *m = c->r.m;
    const plan_about about = {.model = c->hash,
                              .D = m->D,
                              .L = m->L,
                              .E = m->E,
                              .C = m->C,
                              .predictor = r,
                              .steps = STEPS,
                              .measured = MEASURE_RATIOS,
                              .plain = measure_count_plain(&c->r)};
    making w = {.c = c};
    err e = draft_open(&w.draft, &about);

    w.counts = calloc(STEPS * m->L, sizeof *w.counts);
    w.bits = calloc(STEPS * m->L, sizeof *w.bits);
    if (!w.counts || !w.bits) e = ERR_NOMEM;
    /* as if nothing had been made before */
    loop_set_bias(c->loop, w.bias);
    if (e == ERR_OK) e = make_plan(&w, p, out);
    draft_close(&w.draft);
    free(w.counts);
    free(w.bits);
    return e;
}

/* --- opening --- */

err calibrate_open(calibration **out, const gguf *g, const reader_model *r,
                   const reader_text *learn, const reader_text *held, const stage *p)
{
    calibration *c;
    err e;

    /* layer 0 is free, so there would be nothing to make a plan of */
    if (r->m->L < 2) return ERR_MODEMODEL;
    c = calloc(1, sizeof *c);
    if (!c) return ERR_NOMEM;
    c->r = *r;
    memcpy(c->held, held, sizeof c->held);
    e = plan_hash_model(g, &c->hash);
    if (e == ERR_OK) e = loop_open(&c->loop, r, learn, p);
    if (e != ERR_OK) {
        calibrate_close(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void calibrate_close(calibration *c)
{
    if (!c) return;
    loop_close(c->loop);
    free(c);
}

size_t calibrate_bytes(const calibration *c)
{
    return loop_bytes(c->loop);
}
