/* chunk.h - a chunk: new tokens of one context in one step. What a caller hands to forward.
 *
 * A row that decodes is a chunk of one token; a prompt is read chunk by chunk (chunked
 * prefill). A chunk stays inside one block, so all of its rows see the same earlier blocks
 * whole and their own block up to themselves. */
#ifndef ENGINE_MODEL_CHUNK_H
#define ENGINE_MODEL_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "engine/context.h"

/* Shown the logits [V] of a row of a chunk, 0 .. T-1: on any worker, in any order, once each.
 * They are the step's, until it returns. */
typedef void forward_see(void *user, size_t row, const float *logits);

/* Told, before a matrix is multiplied, of the rows x [T,its columns] that it is multiplied
 * with: on the thread that steps, in the order of the products. */
struct matrix;
typedef void forward_hearer(void *arg, const struct matrix *m, const float *x, size_t T);

typedef struct forward_chunk {
    context *context;
    const int32_t *ids; /* [T], borrowed */
    size_t T;           /* >= 1; pos % block_tokens + T <= block_tokens */
    size_t pos;         /* tokens the context held before */
    size_t sees;        /* keys that each row sees, later ones too; 0: those up to its own */
    size_t wanted;      /* logits of the last `wanted` rows: 0 .. T */
    float *logits;      /* [wanted,V], out, the caller's; NULL if wanted is 0 */
    forward_see *see;   /* is shown the logits of all rows; or NULL */
    void *user;         /* see's */
} forward_chunk;

/* What thread time goes to. */
typedef enum forward_phase {
    FORWARD_GEMM,
    FORWARD_TILE,
    FORWARD_ATTEND,
    FORWARD_PHASES
} forward_phase;

#endif
