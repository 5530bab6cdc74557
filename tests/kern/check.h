/* check.h - how a twin is held to the definition: same inputs, outputs compared by memcmp,
 * and what lies past the end compared too, so that an overrun shows. */
#ifndef TESTS_KERN_CHECK_H
#define TESTS_KERN_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/kern/kern.h"

/* One check a kernel: true when k's loop equals the reference everywhere it was tried. */
#define KERN(name, result, args) bool check_##name(const kern *k);
#include "engine/kern/kern.def"
#undef KERN

/* Reproducible noise. */
uint32_t check_random(uint32_t *state);
void check_floats(float *x, size_t n, uint32_t seed);  /* many magnitudes, both zeros */
void check_normals(float *x, size_t n, uint32_t seed); /* about -2 .. 2 */
void check_bytes(void *x, size_t n, uint32_t seed);

/* Equal bytes; says where they differ on stderr. */
bool check_same(const char *what, const void *a, const void *b, size_t n);

/* Memory for n bytes, 64-byte aligned, filled with one pattern; aborts when there is none. */
void *check_memory(size_t n);

#endif
