/* matrix.h - a weight matrix, repacked once at load so that 16 outputs lie side by side.
 *
 * A panel is 16 rows (outputs) of the file's matrix, column after column: floats and
 * halves as [D,16]; Q8_0 as scales [D/32,16] in halves, padded to 64 bytes, then for every
 * group of 32 columns [8,16,4] bytes, weight + 128; the types of quants.def as kern_quants.h
 * says, in about the file's bits. The last panel is filled with zeros.
 * Weight types are the rows of matrix.def. */
#ifndef ENGINE_MODEL_MATRIX_H
#define ENGINE_MODEL_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/kern/kern.h"

typedef struct matrix {
    const struct matrix_type *type;
    size_t rows, cols; /* outputs; inputs, D */
    size_t panels, panel_bytes;
    uint8_t *data; /* 64-byte aligned, owned */
} matrix;

/* Rows of activations, once as floats and, where a matrix wants int8, once quantized. */
typedef struct matrix_input {
    const float *x;   /* [T,D] */
    int8_t *q;        /* [T,D] */
    float *q_scale;   /* [T,D/32] */
    kern_sums *q_sum; /* [T,D/32] */
    size_t T, D;
} matrix_input;

/* Repack `t`, a tensor of `rows` x `cols` (checked by the caller). ERR_TENSORTYPE,
 * ERR_NOMEM. The caller closes *m. */
err matrix_open(matrix *m, const gguf_tensor *t);
void matrix_close(matrix *m);

/* The same, to be multiplied in floats: a type that wants int8 activations is expanded to
 * F32, its dequantized weights to the bit, 4 bytes each. */
err matrix_open_exact(matrix *m, const gguf_tensor *t);

/* Bytes that matrix_open takes for t, whose upper dimensions count as rows; 0 for a vector, and
 * where no row of matrix.def knows the type. */
size_t matrix_bytes(const gguf_tensor *t);
size_t matrix_exact_bytes(const gguf_tensor *t);

/* Does it multiply int8 activations? */
bool matrix_wants_int8(const matrix *m);

/* The same of a type; false where no row of matrix.def knows it. */
bool matrix_type_wants_int8(gguf_type type);

/* y[t, 16i ..] = rows 16i .. of m times x[t], for panels first .. last-1.
 *   y [T,rows]  out  y_stride floats from row to row
 * Row-pure. Threads may call it at once for different panels. */
void matrix_multiply(const matrix *m, const kern *k, const matrix_input *in, size_t first,
                     size_t last, float *y, size_t y_stride);

/* Row `row` of a tensor as floats [dim 0]: exact. ERR_TENSORTYPE where no row of
 * matrix.def knows the type. */
err matrix_read_row(const gguf_tensor *t, size_t row, float *out);

/* Can a tensor of this type be opened and read? */
bool matrix_knows(gguf_type type);

#endif
