/* model.h - loaded weights and their sizes: read-only, shared by everyone.
 *
 * The legend of shape letters, the same in every file:
 *   T tokens of a call   D width             L layers        F width of the feed-forward
 *   H query heads        G key/value heads   C head width    E = G*C, K (or V) of a token
 *   V vocabulary
 * Architecture `llama`: x + attention(norm x), x + ffn(norm x), SwiGLU, tied output where
 * the file has no `output.weight`. Source: arXiv:2302.13971; tensor names: ggml docs/gguf.md.
 */
#ifndef ENGINE_MODEL_H
#define ENGINE_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/gguf.h"
#include "engine/matrix.h"
#include "engine/rope.h"

typedef struct model_layer {
    float *attn_norm, *ffn_norm;        /* [D], owned by the model */
    matrix q, k, v, o;                  /* [H*C,D] [E,D] [E,D] [D,H*C] */
    matrix gate, up, down;              /* [F,D] [F,D] [D,F] */
    const gguf_tensor *k_file, *v_file; /* as the file has them: for xcache */
} model_layer;

typedef struct model {
    size_t D, L, H, G, C, E, F, V;
    size_t ctx_train;             /* tokens the model was trained for */
    size_t ctx;                   /* tokens that positions are prepared for */
    float eps;                    /* of the norms */
    rope rope;                    /* for ctx tokens */
    const gguf_tensor *embedding; /* [V,D], read row by row */
    float *output_norm;           /* [D] */
    matrix output;                /* [V,D] */
    model_layer *layers;          /* [L] */
    float *gains;                 /* what the norms live in */
    size_t weight_bytes;          /* packed weights */
    const char *weight_type;      /* "Q8_0": type of most bytes of the file */
} model;

/* Read and pack the weights of g, which must outlive *out. ctx = positions to prepare,
 * 0: as trained, 131,072 at most. `why` names the key or tensor at fault.
 * Errors: ARCH, MISSING, KEYTYPE, RANGE, SHAPE, TENSORTYPE, NOMEM. The caller closes. */
err model_open(model **out, const gguf *g, size_t ctx, fault *why);
void model_close(model *m);

/* The sizes of a model, its ctx and the weight_bytes that model_open would take, by the file's
 * values and the tensors' types: nothing is read or packed, and *out holds nothing else. Errors
 * of the values, as there. */
err model_measure(model *out, const gguf *g, size_t ctx, fault *why);

/* Does every query head have keys and values of its own? */
bool model_is_mha(const model *m);

/* x [D] = the embedding row of a token: exact dequantization. */
void model_embed(const model *m, int32_t id, float *x);

/* Wk or Wv of a layer, dequantized: w [E,D]. */
void model_read_kv(const gguf_tensor *file, float *w);

#endif
