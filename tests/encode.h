/* encode.h - floats into the file's weight types, for tools that make models.
 *
 * Rounds to the nearest code of a scale that the largest weight chooses: valid, not the best
 * that a type can do. */
#ifndef TESTS_ENCODE_H
#define TESTS_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gguf/gguf.h"

/* The type of that name ("Q4_K", "q4_k"); false if there is none. */
bool encode_find_type(const char *name, gguf_type *out);

/* x [D] as a row of the file, D a multiple of the type's block; out: so many bytes as D takes.
 */
void encode_row(gguf_type type, const float *x, size_t D, uint8_t *out);

#endif
