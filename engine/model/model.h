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
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/kern/kern.h"
#include "engine/model/arch.h"
#include "engine/model/experts.h"
#include "engine/model/matrix.h"
#include "engine/model/rope.h"

/* Of a row of D numbers. */
typedef struct model_norm {
    float *gain; /* [D]; NULL: the row is taken as it is */
    float *bias; /* [D] */
} model_norm;

/* F is the network's own: dense, of an expert, or of the expert that all tokens share. */
typedef struct model_ffn {
    matrix gate, up, down; /* [F,D] [F,D] [D,F]; without a gate `gate` is what is bent, and `up`
                              has no data */
    float *gate_bias, *up_bias, *down_bias; /* [F] [F] [D] */
    kern_xielu bend;                        /* of xIELU */
} model_ffn;

/* Angles that layers follow: the model's, those of windows where they have their own, none. */
typedef enum model_rope_kind {
    MODEL_ROPE,
    MODEL_LOCAL_ROPE,
    MODEL_NO_ROPE,
    MODEL_ROPES
} model_rope_kind;

typedef struct model_layer {
    model_norm attn_norm, ffn_norm;   /* of what goes in; vectors are the model's */
    float *attn_post, *ffn_post;      /* [D], of what comes out */
    model_norm attn_sum, ffn_sum;     /* of h with it */
    float *q_norm, *k_norm;           /* [H*C] [E] gains before rotary positions */
    bool whole_norm;                  /* all heads have one mean square, not each its own */
    float *q_bias, *k_bias, *v_bias;  /* [H*C] [E] [E] */
    float *o_bias;                    /* [D] */
    float *sinks;                     /* [H] a score without a key, in every softmax */
    float *k_scale, *q_scale;         /* [E] powers of two (key_scale.h); NULL: all 1 */
    matrix q, k, v, o;                /* [H*C,D] [E,D] [E,D] [D,H*C] */
    bool parallel;                    /* the network reads what attention reads */
    model_ffn ffn;                    /* where there are no experts */
    matrix router;                    /* [X,D] */
    float *router_bias, *choice_bias; /* [X] of the logits; of the choice alone */
    model_ffn *experts;               /* [X]; NULL: a dense layer */
    model_ffn shared;                 /* of all tokens, beside the experts; or no data */
    matrix shared_gate;               /* [1,D] how much it counts, before a sigmoid */
    model_rope_kind rope_kind;
    const rope *rope;                   /* the model's, of that kind */
    size_t window;                      /* keys that a query sees, its own the last, or those
                                           since the last multiple (CHUNKED); 0: all */
    gguf_tensor kv[2];                  /* rows of the file that are Wk and Wv */
    const gguf_tensor *k_file, *v_file; /* the same, for xcache */
} model_layer;

enum { MODEL_MAX_LAYERS = 1024 };

/* How the rows of a text become one. */
typedef enum model_pooling { MODEL_MEAN, MODEL_FIRST, MODEL_LAST } model_pooling;

typedef struct model {
    const architecture *arch;
    size_t D, L, H, G, C, E, F, V, X;
    size_t expert_F;                        /* F of an expert */
    size_t widest_F;                        /* the largest F of all networks */
    size_t dense_layers;                    /* the first so many have no experts... */
    size_t expert_step;                     /* and then one in so many has some */
    experts_rule rule;                      /* how experts are chosen; bias NULL */
    size_t ctx_train;                       /* tokens the model was trained for */
    size_t ctx;                             /* tokens that positions are prepared for */
    size_t window;                          /* of the layers that have one... */
    uint8_t windowed[MODEL_MAX_LAYERS / 8]; /* which are these, a bit each */
    float eps;                              /* of the norms */
    float embed_scale;                      /* of the embedding */
    float residual_scale;                   /* of what each half of a layer adds */
    float score_scale;                      /* of q k */
    float score_cap;                        /* soft caps of the scores, and of the logits */
    float logit_cap;
    bool both_ways; /* queries see later keys: texts become vectors, nothing is generated */
    bool erf;       /* GELU by the error function, not in its tanh form */
    model_pooling pooling; /* which rows of a text are its vector */
    bool makes_vectors;    /* the file says that this is what it is for */
    double temper; /* queries grow by temper * log(1 + floor(position / temper_floor)) */
    size_t temper_floor, temper_offset;
    rope ropes[MODEL_ROPES]; /* for ctx tokens */
    gguf_tensor embedding;   /* [V,D], read row by row */
    model_norm output_norm;  /* times the scale of the logits */
    matrix output;           /* [V,D] */
    float *output_bias;      /* [V] */
    gguf_tensor positions; /* [ctx_train,D], added to the embedding, read row by row; or none */
    float *token_type;     /* [D] added to it, too */
    model_norm embed_norm; /* of their sum */
    matrix dense[2];       /* [.,D] [.,.] what a pooled row goes through; or no data */
    model_layer *layers;   /* [L] */
    float *vectors;        /* what norms and biases live in */
    size_t vector_floats;  /* of them in use */
    float *scales;         /* [L,2E] of keys and queries */
    size_t weight_bytes;   /* packed weights */
    bool int8_kv;          /* every Wk and Wv multiplies int8 activations; never with exact
                              products (model_options) */
    bool key_bias;         /* keys have biases */
    const char *weight_type; /* "Q4_K_M", or "Q8_0": type of most bytes of the file */
} model;

/* Give back what model_open took; NULL is fine, and so is a model that is half loaded. */
void model_close(model *m);

/* Does every query head have keys and values of its own? */
bool model_is_mha(const model *m);

/* x [D] = the embedding row of a token, as the first layer takes it: exact dequantization,
 * scaled where the architecture does. */
void model_embed(const model *m, int32_t id, float *x);

/* y [D] = the norm of x; x itself without a gain. Row-pure. */
void model_norm_row(const model *m, const kern *hot, const model_norm *n, const float *x,
                    float *y);

/* The window of a layer, 0: it sees everything. Known of a model that is only measured, too. */
size_t model_window(const model *m, size_t layer);

/* The first key that a query of a layer sees at a position, and the last one where so many keys
 * are there that it may look ahead. The same. A window that looks both ways reaches half of its
 * length to each side. */
size_t model_first_key(const model *m, size_t layer, size_t pos);
size_t model_last_key(const model *m, size_t layer, size_t pos, size_t keys);

/* What a query of a layer is multiplied by at a position, beside its rotation. */
float model_query_scale(const model *m, size_t layer, size_t pos);

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
