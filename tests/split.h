/* split.h - the tiny model in two files, and many ways to spoil them: bad_split.def. */
#ifndef TESTS_SPLIT_H
#define TESTS_SPLIT_H

#include <stddef.h>
#include <stdint.h>

#include "tests/tiny.h"

/* tiny.keep of a file that is not there. */
#define SPLIT_ABSENT (SIZE_MAX - 1)

enum { SPLIT_FILES = 2 };

/* A model of SPLIT_FILES files: values and the first half of the tensors, then the others. */
typedef struct split_pair {
    tiny *part[SPLIT_FILES];
} split_pair;

split_pair split_new(void);
void split_free(split_pair *p);

/* File `no`, 0 or 1; malloc'd, the caller frees. NULL: it is to be absent. */
unsigned char *split_write(const split_pair *p, int no, size_t *n);

typedef struct bad_split {
    bad_stage stage;
    const char *name;
    int file;          /* 1 or 2: the one that the message must name */
    const char *field; /* what of it */
    void (*spoil)(tiny *a, tiny *b);
} bad_split;

/* Row i, or NULL past the last. */
const bad_split *bad_split_at(size_t i);

#endif
