/* klt_share.h - klt_encode by several workers, each some of a block's tokens, to the same
 * bytes.
 *
 *   predict   part by part    state = P state + c, components; the first also weighs tokens
 *   quantize  part by part    q, which the parts put side by side
 *   write     alone           bytes, for the entropy coder goes through all tokens of a row
 *   hold      part by part    what q adds to the state
 *
 * All of a stage is through before the next begins. */
#ifndef XCACHE_CODEC_KLT_SHARE_H
#define XCACHE_CODEC_KLT_SHARE_H

#include <stddef.h>

#include "xcache/codec/klt.h"

typedef struct klt_share klt_share;

/* Bytes of a klt_share, aligned to 64, for blocks of `rows` in any number of parts. */
size_t klt_share_bytes(size_t rows, size_t D);

/* Part of so many, each of a multiple of 16 rows: b and x are the whole block's, as klt_encode
 * has them, but for b->temp, which is not looked at. */
void klt_share_predict(klt_share *s, const klt_layer *l, const klt_block *b, const float *x,
                       size_t part, size_t parts);
void klt_share_quantize(klt_share *s, const klt_layer *l, size_t part, int multiplier);

/* Returns the bytes, as klt_encode does. */
size_t klt_share_write(klt_share *s, const klt_layer *l, int multiplier);
void klt_share_hold(klt_share *s, const klt_layer *l, size_t part);

#endif
