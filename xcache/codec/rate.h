/* rate.h - which step gives a ratio, and how each layer of a block is steered into its bytes.
 *
 * A plan knows bits a token of each layer at some steps; between them bits are linear in the
 * logarithm of the step. A block has a fixed size, and blocks differ: one of rare words needs a
 * quarter more bits at the same step in all of its layers. How hard a block is shows in what
 * its first layers took, as an offset in octaves against what was expected of them; the layers
 * that follow get the step at which they, that much harder, fill the bytes that are left. */
#ifndef XCACHE_CODEC_RATE_H
#define XCACHE_CODEC_RATE_H

#include <stddef.h>

#include "engine/err.h"
#include "xcache/codec/plan.h"

typedef struct rate {
    size_t L, block_tokens, steps;
    size_t code_bytes; /* of a block, all layers */
    double step;       /* of a block as hard as the plan's text */
    float *octave;     /* [steps] log2 of the plan's steps over this one, ascending */
    float *layer;      /* [L,steps] bytes that a layer takes at each */
    float *rest;       /* [L,steps] bytes of layers l .. L-1 */
} rate;

/* What the layers of a block took so far. */
typedef struct rate_block {
    double octaves, weight; /* sum of offsets times what was expected, and of that */
} rate_block;

/* ERR_NOMEM; ERR_PLANMODEL: no bytes are left for codes. The caller closes. */
err rate_open(rate *out, const plan *p, size_t block_tokens, double ratio);
void rate_close(rate *r);

/* Bits a token that the coder may spend on all layers, headers aside. */
double rate_wanted_bits(size_t E, size_t L, size_t B, double ratio);

/* The step alone. 0: no bytes are left. */
double rate_step(const plan *p, size_t block_tokens, double ratio);

/* Layer l took so many bytes at multiplier m (in sixteenths of an octave, finer above 0). */
void rate_note(const rate *r, rate_block *b, size_t l, int m, size_t bytes);

/* The multiplier of layer l, where `left` bytes are left for it and those that follow. */
int rate_steer(const rate *r, const rate_block *b, size_t l, size_t left);

#endif
