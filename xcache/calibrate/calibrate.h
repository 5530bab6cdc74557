/* calibrate.h - makes the plan of a model from a text: predictors, transforms, the coder's
 * tables, and what each ratio costs.
 *
 * The recipe: what an error in a key or value does to the output of its layer, from attention
 * (influence.h), and that to the answer, from noise (sensitivity.h), make the metric A of each
 * layer; a readout of x_l predicts which tokens matter (salience.h). Then the layers in order
 * in closed loop at one step: ridge regression of x_l on the decoded x^_(l-1), the eigenpairs
 * of A C A of what is left, factors rounded as the plan stores them, and the tokens coded with
 * them. A few such passes find the step of DESIGN_RATIO; trials at other steps give rates and
 * tables, so that one plan serves every ratio. Last, some ratios are measured on held-out text
 * of each kind. Products are cut into tiles of fixed shape, so the result is the same at any
 * number of threads.
 *
 * Memory, N tokens: 12*N*D bytes of the closed loop, 16*D*D*L of metrics and about 56*D*D of
 * work; on disk 2*N*D*L of layer inputs. Source: docs/quality.md. */
#ifndef XCACHE_CALIBRATE_CALIBRATE_H
#define XCACHE_CALIBRATE_CALIBRATE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/gguf/gguf.h"
#include "xcache/calibrate/reader.h"
#include "xcache/codec/plan.h"

/* Rows to learn from, and of each kind of text to measure on. */
enum { CALIBRATE_ROWS = 40, CALIBRATE_ROW = 2048, CALIBRATE_HELD_ROWS = 1 };

typedef struct calibration calibration;

/* Read the text: `learn` is what the plan is made from, `held` [PLAN_TEXTS] what divergence is
 * measured on; a kind without rows is not measured. Rows of learn are whole blocks of 128, two
 * at least. g is m's file; all is borrowed. ERR_NOMEM; ERR_MODEMODEL: one layer only;
 * ERR_SCRATCH: no room for the layer inputs; ERR_SYSTEM: the mathematics failed. The caller
 * closes. */
err calibrate_open(calibration **out, const gguf *g, const reader_model *r,
                   const reader_text *learn, const reader_text *held, const stage *p);
void calibrate_close(calibration *c);
size_t calibrate_bytes(const calibration *c);

/* The plan, divergence of its ratios recorded; the caller closes it. ERR_NOMEM; ERR_SYSTEM: the
 * mathematics failed. */
err calibrate_make(calibration *c, plan_predictor r, const stage *p, plan **out);

#endif
