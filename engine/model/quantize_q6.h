/* quantize_q6.h - Q6_K, searched for. Internal to quantize.c. */
#ifndef ENGINE_MODEL_QUANTIZE_Q6_H
#define ENGINE_MODEL_QUANTIZE_Q6_H

#include <stddef.h>
#include <stdint.h>

/* n numbers in blocks of 256; w [n]: what the squared error of each counts, 0 or more. */
void quantize_q6_write(const float *x, const float *w, size_t n, uint8_t *out);

#endif
