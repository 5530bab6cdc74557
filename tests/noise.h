/* noise.h - tensors of any type with noise in them. */
#ifndef TESTS_NOISE_H
#define TESTS_NOISE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/gguf/gguf.h"

/* A tensor [rows,cols] of the file: any codes, halves about 0.3 to 0.5 in size, always the
 * same for one seed. Aborts when there is no memory; the caller frees `data`. */
gguf_tensor noise_tensor(gguf_type type, size_t cols, size_t rows, uint32_t seed);

#endif
