/* drawn.h - plans of drawn numbers: valid to every check, and of no use to anybody. For tests
 * of files and of where they lie, which calibration would only make slow. */
#ifndef TESTS_DRAWN_H
#define TESTS_DRAWN_H

#include <stddef.h>

#include "engine/gguf/gguf.h"
#include "xcache/codec/plan.h"

enum { DRAWN_STEPS = 5, DRAWN_TOKENS = 1000 };

/* A plan for tiny.h's model, by its file and with so many layers; layer l has D / 2^l
 * components. It has measured the n ratios of `list`, on DRAWN_TOKENS tokens each. The caller
 * closes. */
plan *drawn_plan(const gguf *g, size_t layers, plan_predictor r, const plan_measured *list,
                 size_t n);

/* The same, with modes that need no plan beside them. */
plan *drawn_plan_beside(const gguf *g, size_t layers, plan_predictor r,
                        const plan_measured *list, size_t n, const plan_plain *plain,
                        size_t plains);

/* Prose of that KL at that ratio, dialogues of half of it, no code. */
plan_measured drawn_measured(double ratio, double kl);

#endif
