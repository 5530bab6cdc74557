/* remat.h - layer inputs to keys and values: K = x Wk^T, turned to its positions; V = x Wv^T.
 *
 * OpenBLAS is not row-pure, so it is only ever called on whole blocks of block_tokens rows
 * and column panels of fixed width: the same shapes for the same rows, every time. */
#ifndef XCACHE_REMAT_H
#define XCACHE_REMAT_H

#include <stddef.h>

#include "engine/err.h"
#include "engine/kern.h"
#include "engine/model.h"

typedef struct remat {
    const model *m;
    const kern *kern;
    size_t block_tokens;
    float *weights; /* [L,2,E,D] Wk and Wv of every layer, owned */
} remat;

/* Dequantize Wk and Wv of every layer. ERR_NOMEM. The caller closes. */
err remat_open(remat *r, const model *m, const kern *k, size_t block_tokens);
void remat_close(remat *r);

/* The layer's keys, rotary positions first .. applied, and values of one block.
 *   x [B,D]  in      k, v [B,E]  out
 * Any thread. Cost: 4*D*E flop a token. */
void remat_block(const remat *r, int layer, const float *x, size_t first, float *k, float *v);

size_t remat_bytes(const remat *r);

#endif
