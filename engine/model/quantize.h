/* quantize.h - floats into the types a model file stores weights as.
 *
 * F16 and BF16 round to nearest even. Q8_0: the scale is the largest of 32 magnitudes / 127,
 * as a half, and codes are by that half. Q4_K: 256 values in eight sub-blocks of 32, each
 * value scale * code - minimum with codes of 4 bits; scale and minimum of a sub-block are 6
 * bits times two halves of the block. The search minimises the squared error: per sub-block
 * from 11 steps around the range, each with scale and minimum fitted by least squares; then
 * over the neighbours of the rounded pairs, in turns with a fit of the two halves.
 * Format: ggml-org/ggml, block_q4_K. */
#ifndef ENGINE_MODEL_QUANTIZE_H
#define ENGINE_MODEL_QUANTIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/gguf/gguf.h"

/* Can rows of n values be written as that type? The type is one that quantize_row has, and n
 * whole blocks of it. */
bool quantize_fits(gguf_type type, size_t n);

/* Write a row of n finite values; `out` has room for them, at any address. Thread-safe, and
 * the same bytes for the same values. Q4_K costs about 0.2 us a value. */
void quantize_row(gguf_type type, const float *x, size_t n, void *out);

#endif
