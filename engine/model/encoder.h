/* encoder.h - texts become vectors: a group of them goes through the layers together, one layer
 * after the other, and nothing of it is kept.
 *
 * A row may see later ones, so a layer's keys and values of a whole text come before any of its
 * rows goes on. That needs h of all rows, and keys and values of one layer; no context, no
 * cache. The work is cut into pieces of some rows of one layer, so that whoever calls can do
 * other things between two of them. A text's vector is the same, bit for bit, in any company
 * and however it is cut (row purity). One thread, which uses `forward` for nothing else
 * meanwhile than whole steps between two pieces. */
#ifndef ENGINE_MODEL_ENCODER_H
#define ENGINE_MODEL_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/model/forward.h"

typedef struct encoder encoder;

/* Rows of a group of several texts; a longer text is a group of its own. */
enum { ENCODER_GROUP_ROWS = 512 };

/* Room for texts of up to `longest` tokens, at most the positions that the model has prepared.
 * f is borrowed. ERR_NOMEM; ERR_RANGE: a vector is wider than all rows of a step. The caller
 * closes. */
err encoder_open(encoder **out, forward *f, size_t longest);
void encoder_close(encoder *e);

/* Bytes that encoder_open takes. Of a model that is only measured, too. */
size_t encoder_measure(const model *m, size_t longest, size_t block_tokens);

size_t encoder_longest(const encoder *e);
size_t encoder_width(const encoder *e); /* numbers of a vector */

/* Forget the group, and begin another. */
void encoder_clear(encoder *e);

/* One more text of 1 .. longest tokens. False: the group is full. */
bool encoder_add(encoder *e, const int32_t *ids, size_t n);

/* Compute the next piece, of up to so many rows. True: the group is through. Does not
 * allocate. */
bool encoder_step(encoder *e, size_t rows);

size_t encoder_rows(const encoder *e); /* tokens of the group */

/* Rows of pieces that are still to come, two for each row and layer. */
size_t encoder_left(const encoder *e);

/* The vector [width] of the i-th text that was added, of length 1. Once it is through. */
const float *encoder_vector(const encoder *e, size_t i);

#endif
