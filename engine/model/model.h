/* model.h - loaded weights and their sizes: read-only, shared by everyone.
 *
 * The legend of shape letters, the same in every file:
 *   T tokens of a call   D width             L layers        F width of the feed-forward
 *   H query heads        G key/value heads   C head width    E = G*C, K (or V) of a token
 *   V vocabulary        X experts
 * The plain architecture is llama's: x + attention(norm x), x + ffn(norm x), SwiGLU, tied
 * output where the file has no `output.weight`. What others add is in arch.def; a part that a
 * model lacks is NULL, or 0. Source: arXiv:2302.13971; tensor names: ggml docs/gguf.md.
 */
#ifndef ENGINE_MODEL_MODEL_H
#define ENGINE_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/kern/kern.h"
#include "engine/model/arch.h"
#include "engine/model/matrix.h"
#include "engine/model/rope.h"

typedef struct model_ffn {
    matrix gate, up, down; /* [F,D] [F,D] [D,F] */
} model_ffn;

typedef struct model_layer {
    float *attn_norm, *ffn_norm;        /* [D], of what goes in; vectors are the model's */
    float *attn_post, *ffn_post;        /* [D], of what comes out */
    float *q_norm, *k_norm;             /* [C], of each head, before rotary positions */
    float *q_bias, *k_bias, *v_bias;    /* [H*C] [E] [E] */
    float *k_scale, *q_scale;           /* [E] powers of two (key_scale.h); NULL: all 1 */
    matrix q, k, v, o;                  /* [H*C,D] [E,D] [E,D] [D,H*C] */
    model_ffn ffn;                      /* where there are no experts */
    matrix router;                      /* [X,D] */
    model_ffn *experts;                 /* [X] */
    const rope *rope;                   /* the model's */
    size_t window;                      /* keys that a query sees, its own the last; 0: all */
    gguf_tensor kv[2];                  /* rows of the file that are Wk and Wv */
    const gguf_tensor *k_file, *v_file; /* the same, for xcache */
} model_layer;

typedef struct model {
    const architecture *arch;
    size_t D, L, H, G, C, E, F, V, X;
    size_t used;       /* experts of a token */
    size_t ctx_train;  /* tokens the model was trained for */
    size_t ctx;        /* tokens that positions are prepared for */
    float eps;         /* of the norms */
    float embed_scale; /* of the embedding */
    float score_scale; /* of q k */
    float score_cap;   /* soft caps of the scores, and of the logits */
    float logit_cap;
    rope ropes[2];         /* for ctx tokens; the second where windows have one of their own */
    gguf_tensor embedding; /* [V,D], read row by row */
    float *output_norm;    /* [D] */
    matrix output;         /* [V,D] */
    model_layer *layers;   /* [L] */
    float *vectors;        /* what norms and biases live in */
    size_t vector_floats;  /* of them in use */
    float *scales;         /* [L,2E] of keys and queries */
    size_t weight_bytes;   /* packed weights */
    bool int8_kv;          /* every Wk and Wv multiplies int8 activations; never with exact
                              products (model_options) */
    const char *weight_type; /* "Q4_K_M", or "Q8_0": type of most bytes of the file */
} model;

/* Give back what model_open took; NULL is fine, and so is a model that is half loaded. */
void model_close(model *m);

/* Does every query head have keys and values of its own? */
bool model_is_mha(const model *m);

/* x [D] = the embedding row of a token, as the first layer takes it: exact dequantization,
 * scaled where the architecture does. */
void model_embed(const model *m, int32_t id, float *x);

/* From products with Wk and Wv to keys before rotary positions, and values: biases, then the
 * norm of each key head, then the scales of its channels, which queries undo. k, v [T,E], in
 * place; row-pure. */
void model_finish_kv(const model *m, const kern *hot, size_t layer, float *k, float *v,
                     size_t T);

/* q [T,H*C] times the numbers of the key head [E] that each query head reads. */
void model_scale_queries(const model *m, const kern *hot, const float *by, float *q, size_t T);

/* The same as model_finish_kv for queries q [T,H*C]. */
void model_finish_q(const model *m, const kern *hot, size_t layer, float *q, size_t T);

/* Wk or Wv of a layer, dequantized: w [E,D]. */
void model_read_kv(const gguf_tensor *file, float *w);

#endif
