/* random_parts.h - the tensors of a random model. */
#ifndef TESTS_RANDOM_PARTS_H
#define TESTS_RANDOM_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/random.h"

typedef struct random_part {
    char name[64];
    size_t cols, rows, planes; /* rows 0: a vector */
    bool matrix;               /* of the wished type; others are F32 */
    double mean, deviation;
} random_part;

/* All tensors of a file, in its order; *n how many. NULL: out of memory. The caller frees. */
random_part *random_parts_list(const random_wish *w, size_t *n);

#endif
