/* calibrate.h - makes the plan of a klt mode from a text: predictors, transforms and bits.
 *
 * The recipe: metric A of each layer from what reaches K and V; then, for a threshold theta,
 * the layers in order in closed loop: ridge regression of x_l on the decoded x^_(l-1), the
 * eigenpairs of A C A of what is left, bits by reverse water-filling against theta, factors
 * rounded as the plan stores them, and the tokens coded with them. Nine bisections of theta
 * over such passes; the last plan within the budget counts. Products are cut into tiles of
 * fixed shape, so the result is the same at any number of threads.
 *
 * Memory, N tokens: 4*N*D*L bytes of layer inputs, 8*N*D of the closed loop, which keeps only
 * the layer it stands at, 16*D*D*L of metrics and about 56*D*D of work. */
#ifndef XCACHE_CALIBRATE_CALIBRATE_H
#define XCACHE_CALIBRATE_CALIBRATE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/gguf/gguf.h"
#include "xcache/calibrate/reader.h"
#include "xcache/codec/plan.h"

enum { CALIBRATE_TOKENS = 16384, CALIBRATE_ROW = 2048, CALIBRATE_HELD_ROWS = 2 };

typedef struct calibration calibration;

/* Read the text: `learn` is what plans are made from, `held` what their divergence is
 * measured on. Rows of learn are whole blocks of 128. g is m's file; all is borrowed.
 * ERR_NOMEM; ERR_MODEMODEL: one layer only; ERR_SYSTEM: the mathematics failed. The caller
 * closes. */
err calibrate_open(calibration **out, const gguf *g, const reader_model *r,
                   const reader_text *learn, const reader_text *held, const stage *p);
void calibrate_close(calibration *c);
size_t calibrate_bytes(const calibration *c);

/* The plan of klt<ratio>, its divergence recorded; the caller closes it. ERR_NOMEM;
 * ERR_MODEMODEL: no plan fits the budget; ERR_SYSTEM: the mathematics failed. */
err calibrate_make(calibration *c, double ratio, plan_predictor r, const stage *p, plan **out);

/* The plan with the largest ratio, in halves, whose divergence is at most max_kl: found by
 * halving the range from 4 to 64, seven plans at most, as if divergence rose with the ratio.
 * It never exceeds max_kl, and that of half a ratio more was measured to do so. ERR_RANGE: no
 * ratio was close enough. */
err calibrate_search(calibration *c, double max_kl, plan_predictor r, const stage *p,
                     plan **out);

#endif
