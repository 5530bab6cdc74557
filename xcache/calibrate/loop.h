/* loop.h - the closed loop of calibration: the layers in order, at one step.
 *
 * The exact layer inputs of the text are recorded once, and with them what an error in each
 * layer and each token does (influence, sensitivity, salience). A run then starts from x^_0 =
 * x_0 and for each layer fits a predictor from x^_(l-1), finds the spectrum of what that
 * leaves, rounds all of it as a plan stores it, and codes the tokens with it, by the codec's
 * own functions: what they decode to is the next layer's x^_(l-1). A trial codes tokens with
 * layers that are there, at another step. */
#ifndef XCACHE_CALIBRATE_LOOP_H
#define XCACHE_CALIBRATE_LOOP_H

#include <stdbool.h>
#include <stddef.h>

#include "xcache/calibrate/census.h"
#include "xcache/calibrate/draft.h"
#include "xcache/calibrate/reader.h"
#include "xcache/codec/plan.h"

typedef struct loop loop;

/* Read the text, whose rows are whole blocks, and find what errors do. The model is borrowed
 * and has two layers or more. ERR_NOMEM, ERR_SYSTEM. The caller closes. */
err loop_open(loop **out, const reader_model *r, const reader_text *learn, const stage *p);
void loop_close(loop *k);
size_t loop_bytes(const loop *k);

/* log2 of a step between those that matter: the root mean square of what the layers' inputs
 * weigh in their metrics. A first guess is some octaves below. */
double loop_scale(const loop *k);

/* Fill the draft anew at the step 2^log2_step, from all rows or the first half of them, and
 * count by layer [L] what was coded. Components are kept that count at a step 2^-spare as fine.
 * ERR_NOMEM; ERR_SYSTEM: the mathematics failed. */
err loop_run(loop *k, draft *d, double log2_step, double spare, bool half, census *by_layer,
             const stage *p);

/* Count what the draft's layers code at another step, in the last rows of the text, which runs
 * do not learn from: on their own text they would promise too much. ERR_NOMEM. */
err loop_try(loop *k, const draft *d, double log2_step, census *by_layer, const stage *p);

/* Give back the memory of the text at work, most of what there is; the next run takes it again.
 * loop_bytes goes on to count it. */
void loop_rest(loop *k);

/* The biases [PLAN_TABLES] that runs and trials reconstruct with from now on; copied. */
void loop_set_bias(loop *k, const float *bias);

#endif
