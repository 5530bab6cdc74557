/* klt.h - one layer of the klt codec at work: predict, code, decode a block of rows.
 *
 * x_l is predicted from the decoded x^ of the layer before, and what is left is coded in the
 * basis of its plan, each token as finely as an error in it matters:
 *   x'  = P x^_(l-1) + c;         u = F (x - x')            components, sigma falling
 *   w_t = 2^(W/2),                W = round(salience [x_t, 1] / 2), -5 .. 5
 *   q   = trellis-coded u w_t 2^(M/16) / step               M steers the size of a block
 *   x^  = x' + B (v less its class's bias) step / (w_t 2^(M/16))
 * where v is the value of q in its token's path (kern_trellis.h).
 * The encoder ends in the decoder's own call, so that both always hold the same x^. A layer's
 * bytes: M + 64, or 255 alone where nothing is coded and x^ = x'; W + 5 of two tokens a byte;
 * then the entropy coder's stream (rans.h), whose classes follow from sigma, W and M.
 *
 * Products are those of remat.h, whole blocks only, with P - I, F and B in eight bits, and what
 * they multiply too: the loop is closed over what that rounds. Source:
 * arXiv:2508.10395 for the layer inputs; reverse water-filling in the metric of attention for
 * the rest (design notes in docs/quality.md). */
#ifndef XCACHE_CODEC_KLT_H
#define XCACHE_CODEC_KLT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/kern/kern.h"
#include "engine/model/matrix.h"
#include "engine/model/model.h"
#include "xcache/codec/plan.h"
#include "xcache/codec/rans.h"

enum {
    KLT_ROWS = 512,      /* tokens of the longest block */
    KLT_CLASS_OCTAVE = 4 /* classes of one octave of sigma / step */
};

typedef struct klt_layer {
    size_t D, n;     /* components that count at this step */
    size_t N;        /* n, in whole groups if D is, as rows of B are for int8 products */
    size_t rank;     /* of the prediction in two factors; 0: it is one */
    bool predicts;   /* false: P = I */
    matrix down;     /* [rank,D], if rank */
    matrix change;   /* [D,rank or D]: with down, P - I - diagonal */
    matrix f, b;     /* [n,D] and [D,N], if n */
    float *memory;   /* all of the below, one allocation */
    float *c;        /* [D] */
    float *diagonal; /* [D] of P - I */
    float *salience; /* [D+1] */
    int16_t *row;    /* [n] class of a component, W = M = 0 */
} klt_layer;

/* What the layers of a mode share. */
typedef struct klt_coder {
    const kern *kern;
    rans_model *rans;
    float bias[PLAN_TABLES];
    kern_prices prices;
    float step;
} klt_coder;

/* One block's worth of memory and bytes. */
typedef struct klt_block {
    const klt_coder *coder;
    size_t rows; /* B, at most KLT_ROWS */
    size_t
        sinks; /* leading rows that are kept exactly elsewhere, so nothing is spent on them */
    float *state;  /* [B,D] in: x^ of the layer before, out: of this one */
    float *temp;   /* [klt_temp_floats] */
    uint8_t *code; /* this layer's bytes */
    size_t room;   /* encode: bytes at most; decode: bytes */
    /* set by the calls below */
    int8_t weight[KLT_ROWS], column[KLT_ROWS];
    float step[KLT_ROWS], inverse[KLT_ROWS];
} klt_block;

/* The coder of a plan at a step. ERR_NOMEM, ERR_PLAN. The caller closes. */
err klt_open_coder(klt_coder *out, const kern *k, const plan *p, double step);
void klt_close_coder(klt_coder *c);
size_t klt_coder_bytes(void); /* of memory */

/* What the quantizer pays for indices; the same for all plans. */
void klt_set_prices(kern_prices *p);

/* Components of a layer that count at a step. */
size_t klt_count(const plan_layer *l, double step);

/* Layer `at` of m, n = klt_count components of p's. Of p nothing is kept: factors of the
 * prediction and basis in eight bits where rows come in whole groups, else floats. ERR_NOMEM.
 */
err klt_open(klt_layer *out, const kern *k, const model *m, size_t at, const plan_layer *p,
             double step);
void klt_close(klt_layer *l);
size_t klt_bytes(size_t D, const plan_layer *p, double step); /* of memory */

/* Floats of klt_block.temp for `rows` rows. */
size_t klt_temp_floats(size_t rows, size_t D);

/* Code x [B,D] with multiplier M at first, coarser if it does not fit, and leave in state what
 * decoding gives. Returns the bytes written, 1 .. room; room is 1 at least. */
size_t klt_encode(const klt_layer *l, klt_block *b, const float *x, int multiplier);
void klt_decode(const klt_layer *l, klt_block *b);

/* The multiplier that a layer's bytes were coded with. False: nothing is coded there. */
bool klt_read_multiplier(const uint8_t *code, int *multiplier);

/* The parts of klt_encode, for calibration, which finds the rest of a layer between them, and
 * for klt_share.h: state = P state; what tokens weigh, by x; state += c and the components of x
 * against it, which calibration may look at; then q; then bytes; then what q adds to the state,
 * after which q is gone. All but klt_weigh and klt_pack do to a row the same whatever rows are
 * beside it, so a block may be some rows of one. */
void klt_project(const klt_layer *l, const klt_block *b);
void klt_weigh(const klt_layer *l, klt_block *b, const float *x);
void klt_transform(const klt_layer *l, klt_block *b, const float *x);
void klt_quantize(const klt_layer *l, klt_block *b, int multiplier);
void klt_add(const klt_layer *l, klt_block *b);

/* Quantizes all of a block again, at another multiplier. */
typedef void klt_again(void *arg, const klt_layer *l, int multiplier);

/* Write q, which was quantized at a multiplier within klt_limit's bounds, or again and again at
 * coarser ones. Returns the bytes, header and all; 0: they never fit. */
size_t klt_pack(const klt_layer *l, klt_block *b, const int16_t *q, int multiplier,
                klt_again *again, void *arg);
int klt_limit(int multiplier);

/* The bytes of a layer without any: the prediction stands, which every decoder has. */
size_t klt_pack_nothing(const klt_block *b);

const float *klt_components(const klt_block *b);                  /* [n,B] */
int16_t *klt_codes(const klt_layer *l, const klt_block *b);       /* [n,B] */
kern_classes klt_classes(const klt_layer *l, const klt_block *b); /* after klt_quantize */

#endif
