/* fault.h - what fault.c and faults.mjs agree on: a file that both map or write.
 *
 * The tests write the first words, the program the others. A call of `kind` whose number is at
 * least `from` and below `until` goes wrong. Numbers begin with 1, anew whenever the tests
 * write zeros into the counts. */
#ifndef TESTS_TORTURE_FAULT_H
#define TESTS_TORTURE_FAULT_H

#include <stdatomic.h>
#include <stdint.h>

typedef enum fault_kind {
#define KIND(name, error) FAULT_##name,
#include "tests/torture/kinds.def"
#undef KIND
    FAULT_KINDS
} fault_kind;

typedef enum fault_way {
    FAULT_FAILS,       /* as the kind does */
    FAULT_INTERRUPTED, /* EINTR, of calls that move bytes */
    FAULT_SHORT        /* half of the bytes, of such calls */
} fault_way;

enum { FAULT_COUNTS = 16, FAULT_TEXT = 4096 };

typedef struct fault_file {
    _Atomic uint64_t kind, way, from, until;
    _Atomic uint64_t counts[FAULT_COUNTS];
    _Atomic uint64_t struck; /* how many went wrong */
    char where[FAULT_TEXT];  /* the stack of the first of them */
} fault_file;

#endif
