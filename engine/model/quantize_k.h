/* quantize_k.h - Q4_K and Q5_K, searched for. Internal to quantize.c. */
#ifndef ENGINE_MODEL_QUANTIZE_K_H
#define ENGINE_MODEL_QUANTIZE_K_H

#include <stddef.h>
#include <stdint.h>

/* n numbers in blocks of 256; w [n]: what the squared error of each counts, 0 or more. */
void quantize_k_write_Q4_K(const float *x, const float *w, size_t n, uint8_t *out);
void quantize_k_write_Q5_K(const float *x, const float *w, size_t n, uint8_t *out);

#endif
