/* rungs.h - the rungs of hot loops that this CPU can run: the one place where tests learn which
 * twins there are.
 *
 * A test that walks them tries every twin it may, and none that ends it by an illegal
 * instruction. The plain C is a rung too: a CPU with no other serves with it. */
#ifndef TESTS_RUNGS_H
#define TESTS_RUNGS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/kern/kern.h"

/* Rung i: 0 is the plain C, which always is; faster ones follow. Fills k with its loops; false
 * when this CPU has no such rung.
 *
 *     for (size_t i = 0; rungs_init(i, &k); i++) ... */
bool rungs_init(size_t i, kern *k);

#endif
