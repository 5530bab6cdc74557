/* plan_file.h - a drawn plan as it lies on the disk, for tests that read it or spoil it. */
#ifndef TESTS_PLAN_FILE_H
#define TESTS_PLAN_FILE_H

#include <stddef.h>

#include "engine/gguf/gguf.h"
#include "xcache/codec/plan.h"

/* Sizes of the plan: tiny.h's, and three layers. It has measured klt8, klt12 and klt20, at
 * .001, .002 and .006. */
enum { PLAN_FILE_L = 3, PLAN_FILE_MEASURED = 3 };

typedef struct plan_file {
    char path[64]; /* of the test's own; removed when it is closed */
    unsigned char *model;
    gguf *g;
    plan *made;
    unsigned char *bytes; /* [n] made, as it is written */
    size_t n;
} plan_file;

/* Whatever goes wrong fails the test. */
void plan_file_open(plan_file *f, plan_predictor r);
void plan_file_close(plan_file *f);

#endif
