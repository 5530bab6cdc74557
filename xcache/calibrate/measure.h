/* measure.h - how far from exact the modes of a model are, on text that nothing was learned
 * from: what a plan records of itself, and of the modes that need none. */
#ifndef XCACHE_CALIBRATE_MEASURE_H
#define XCACHE_CALIBRATE_MEASURE_H

#include "xcache/calibrate/reader.h"
#include "xcache/codec/plan.h"

enum { MEASURE_RATIOS = 10 }; /* of klt */

/* Modes without a plan that this model can have, of those that are measured. */
size_t measure_count_plain(const reader_model *r);

/* Read held [PLAN_TEXTS] (rows 0: there is none of that kind) in every mode, through pages as
 * they are served, and record it in the plan. The plan's about counts MEASURE_RATIOS and
 * measure_count_plain. Errors of comparison_open. */
err measure_plan(const reader_model *r, const reader_text *held, plan *made, const stage *p);

#endif
