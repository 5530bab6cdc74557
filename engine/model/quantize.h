/* quantize.h - floats into the types a model file stores weights as.
 *
 * F16 and BF16 round to nearest even. Q8_0: the scale is the largest of 32 magnitudes / 127,
 * as a half, and codes are by that half. Q4_0, Q4_K, Q5_K and Q6_K are searched for: scales,
 * minimums and codes of least squared error (quantize_k.c, quantize_q6.c).
 * Formats: ggml-org/ggml, ggml-common.h. */
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

/* The same, where the squared error of value i counts w[i] times (0 or more, not all of them
 * 0); w NULL: once. Types that are not searched for do not heed it. */
void quantize_weighed(gguf_type type, const float *x, const float *w, size_t n, void *out);

#endif
