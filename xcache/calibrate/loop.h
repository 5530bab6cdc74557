/* loop.h - the closed loop of calibration: the layers in order, at one theta.
 *
 * The exact layer inputs of the text are recorded once. A run then starts from x^_0 = x_0 and
 * for each layer fits a predictor from x^_(l-1), finds the spectrum of what that leaves, gives
 * components their bits, rounds all of it as a plan stores it, and codes the tokens with it,
 * by the codec's own functions: what they decode to is the next layer's x^_(l-1). */
#ifndef XCACHE_CALIBRATE_LOOP_H
#define XCACHE_CALIBRATE_LOOP_H

#include <stddef.h>

#include "xcache/calibrate/draft.h"
#include "xcache/calibrate/reader.h"
#include "xcache/codec/plan.h"

typedef struct loop loop;

/* Read the text, whose rows are whole blocks, and find the metrics. The model is borrowed and
 * has two layers or more. ERR_NOMEM, ERR_SYSTEM. The caller closes. */
err loop_open(loop **out, const reader_model *r, const reader_text *learn, const stage *p);
void loop_close(loop *k);
size_t loop_bytes(const loop *k);

/* The form of predictor of the runs that follow; before the first run, too. ERR_NOMEM. */
err loop_choose_predictor(loop *k, plan_predictor r);

/* Fill the draft anew, up to where its budget is spent: draft_fits says whether that was the
 * last layer. ERR_NOMEM; ERR_SYSTEM: the mathematics failed. */
err loop_run(loop *k, draft *d, double theta, const stage *p);

#endif
