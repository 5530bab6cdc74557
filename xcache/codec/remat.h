/* remat.h - products of whole blocks: layer inputs or latents to keys and values.
 *
 * Of floats by OpenBLAS, which is not row-pure, so it is only ever called on whole blocks of
 * block_tokens rows and column panels of fixed width: the same shapes for the same rows, every
 * time. Of packed weights by the forward pass's own loops. */
#ifndef XCACHE_CODEC_REMAT_H
#define XCACHE_CODEC_REMAT_H

#include <stddef.h>

#include "engine/context.h"
#include "engine/err.h"
#include "engine/kern/kern.h"
#include "engine/model/matrix.h"
#include "engine/model/model.h"

/* y [rows,outputs] = x [rows,inputs] w^T, w [outputs,inputs], in fixed column panels; plus
 * what y holds if `add`. Any thread. 2 * rows * inputs * outputs flop. */
void remat_multiply(const float *x, size_t rows, size_t inputs, const float *w, size_t outputs,
                    float *y, int add);

/* Rows x [rows,D] as matrix_multiply takes them: in eight bits, which lie in temp. D is whole
 * groups. temp: remat_code_floats. */
matrix_input remat_code(const kern *k, const float *x, size_t rows, size_t D, float *temp);
size_t remat_code_floats(size_t rows, size_t D);

/* y [rows,outputs] = x w^T, all of it. Any thread. */
void remat_multiply_packed(const kern *k, const matrix_input *x, const matrix *w, float *y);

/* By which angles keys turn, and where they go: from key `at` on of a block's. */
typedef struct remat_turned {
    const rope *rope;
    kv_format format; /* KV_FLOAT or KV_HALF */
    void *kt;         /* [G,B/16,C,16] */
    size_t block_tokens, at;
} remat_turned;

/* Apply rotary positions first .. first+rows-1 to keys k [rows,E], and transpose them in
 * panels of each head. */
void remat_turn(const model *m, const kern *hot, float *k, size_t rows, size_t first,
                const remat_turned *to);

/* Wk and Wv of every layer as floats: [L,2,E,D]. NULL: out of memory. The caller frees. */
float *remat_weights(const model *m);
size_t remat_weight_bytes(const model *m);

/* One thread a product from now on: workers share the blocks instead. */
void remat_alone(void);

#endif
