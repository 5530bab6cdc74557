/* klt.h - one layer of the klt codec at work: predict, code, decode a block of rows.
 *
 * x_l is predicted from the decoded x^ of the layer before, and the difference d is coded in
 * the basis of its plan:
 *   x^  = P x^_(l-1) + c;   u = F (x - x^);   s = half(max(rms of u, 1e-6)), a token
 *   code = index of the Lloyd-Max level next to u / s;   x^ += B (s * level)
 * The encoder ends in the decoder's own call, so that both always hold the same x^. Codes are
 * component-major: B tokens of b bits fill B*b/8 bytes. Products are those of remat.h, whole
 * blocks only. What P adds to x^_(l-1) is a product of x^_(l-1) and P - I in eight bits: the
 * loop is closed over that too. */
#ifndef XCACHE_CODEC_KLT_H
#define XCACHE_CODEC_KLT_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/kern/kern.h"
#include "engine/model/matrix.h"
#include "xcache/codec/lloyd.h"
#include "xcache/codec/plan.h"

typedef struct klt_layer {
    size_t D, n;
    size_t down_rows, up_rows; /* as in plan_layer */
    matrix down;               /* [down_rows,D] for int8 products, if D is whole groups */
    float *memory;             /* all of the below, one allocation */
    float *c;                  /* [D] */
    float *up;                 /* [D,up_rows] */
    float *f, *b;              /* [n,D], [D,n] */
    uint8_t *bits;             /* [n] */
    size_t code_bits;          /* a token */
} klt_layer;

/* The quantizers by their bits, 1 .. 8. */
typedef struct klt_books {
    lloyd of[LLOYD_BITS + 1];
} klt_books;

/* One block's worth of memory and bytes. */
typedef struct klt_block {
    const kern *kern;
    const klt_books *books;
    size_t rows;     /* B, at most KLT_ROWS */
    float *state;    /* [B,D] in: x^ of the layer before, out: of this one */
    float *temp;     /* [2,B,D] */
    uint8_t *codes;  /* [B * code_bits / 8] */
    uint16_t *scale; /* [B] */
} klt_block;

enum { KLT_ROWS = 512 };

void klt_make_books(klt_books *out);

/* Factors from a plan's layer, of which nothing is kept: those of the prediction in eight bits
 * where they can be, the others as floats. ERR_NOMEM. */
err klt_open(klt_layer *out, const kern *k, size_t D, const plan_layer *l);
void klt_close(klt_layer *l);
size_t klt_bytes(size_t D, const plan_layer *l); /* of memory */

/* Code x [B,D], and leave in state what decoding gives. */
void klt_encode(const klt_layer *l, const klt_block *b, const float *x);
void klt_decode(const klt_layer *l, const klt_block *b);

/* The two halves of klt_encode, for calibration, which finds the rest of a layer between
 * them: state = P state; then x is coded against state + c. */
void klt_project(const klt_layer *l, const klt_block *b);
void klt_code(const klt_layer *l, const klt_block *b, const float *x);

#endif
