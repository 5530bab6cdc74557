/* planned.h - the tiny model, one layer deeper, or a random one, with plans calibrated for it,
 * for tests. Plans whose numbers do not matter are quicker drawn (drawn.h). */
#ifndef TESTS_PLANNED_H
#define TESTS_PLANNED_H

#include <stddef.h>

#include "engine/gguf/gguf.h"
#include "engine/kern/kern.h"
#include "engine/model/model.h"
#include "xcache/calibrate/calibrate.h"

typedef struct planned {
    unsigned char *bytes; /* the tiny model's file */
    gguf *file;
    model *m;
    kern kern;
    team *team;
    calibration *calibration;
    int32_t *ids;                 /* what it learned from, and after that: */
    reader_text held[PLAN_TEXTS]; /* what it measures on: two kinds of text */
} planned;

/* Open the model and let `threads` threads learn from random ids. Ends the process when
 * something fails. */
void planned_open(planned *p, int threads);

/* The same with a random model (random.h). */
void planned_open_random(planned *p, const char *arguments, int threads);
void planned_close(planned *p);

/* What narrow models have by default. */
static const plan_predictor planned_full = {PLAN_FULL, 0};

/* A plan, for every ratio; the caller closes it. */
plan *planned_make(planned *p, plan_predictor r);

/* What it has measured at that ratio; NULL: nothing. */
const plan_measured *planned_measured(const plan *p, double ratio);

#endif
