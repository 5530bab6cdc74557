/* model.c - from a GGUF file to packed weights: every tensor's name, type and shape is
 * checked against one table before anything is allocated for it. */
#include "engine/model.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_VOCAB = 1 << 24, MAX_CTX = 1 << 24 };

enum { DEFAULT_CTX = 131072 }; /* longest context that is prepared unasked */

/* One weight matrix of a layer: its name, where it goes, its outputs and inputs. */
typedef struct layer_weight {
    const char *name;
    size_t at; /* of the matrix in model_layer */
    size_t rows, cols;
} layer_weight;

enum { LAYER_WEIGHTS = 7 };

static void list_weights(const model *m, layer_weight list[LAYER_WEIGHTS])
{
    const size_t Q = m->H * m->C;
    const layer_weight all[LAYER_WEIGHTS] = {
        {"attn_q", offsetof(model_layer, q), Q, m->D},
        {"attn_k", offsetof(model_layer, k), m->E, m->D},
        {"attn_v", offsetof(model_layer, v), m->E, m->D},
        {"attn_output", offsetof(model_layer, o), m->D, Q},
        {"ffn_gate", offsetof(model_layer, gate), m->F, m->D},
        {"ffn_up", offsetof(model_layer, up), m->F, m->D},
        {"ffn_down", offsetof(model_layer, down), m->D, m->F},
    };

    memcpy(list, all, sizeof all);
}

/* A count from the file: `key` is "<arch>.key". Absent: `otherwise`, or MISSING if 0. */
static err read_size(const gguf *g, const char *key, size_t otherwise, size_t max, size_t *out,
                     fault *why)
{
    uint64_t v = otherwise;
    const err e = gguf_get_u64(g, key, &v);

    if (e == ERR_MISSING && !otherwise) return fault_name(why, ERR_MISSING, key);
    if (e != ERR_OK && e != ERR_MISSING) return fault_name(why, e, key);
    if (v < 1 || v > max) return fault_name(why, ERR_RANGE, key);
    *out = v;
    return ERR_OK;
}

static err read_real(const gguf *g, const char *key, double otherwise, double max, double *out,
                     fault *why)
{
    double v = otherwise;
    const err e = gguf_get_f64(g, key, &v);

    if (e != ERR_OK && e != ERR_MISSING) return fault_name(why, e, key);
    if (!(v > 0 && v <= max)) return fault_name(why, ERR_RANGE, key);
    *out = v;
    return ERR_OK;
}

static err read_heads(model *m, const gguf *g, fault *why)
{
    TRY(read_size(g, "llama.attention.head_count", 0, MAX_WIDTH, &m->H, why));
    TRY(read_size(g, "llama.attention.head_count_kv", m->H, m->H, &m->G, why));
    if (m->H % m->G) return fault_name(why, ERR_RANGE, "llama.attention.head_count_kv");
    if (m->D % m->H) {
        TRY(read_size(g, "llama.attention.key_length", 0, MAX_WIDTH, &m->C, why));
    } else {
        TRY(read_size(g, "llama.attention.key_length", m->D / m->H, MAX_WIDTH, &m->C, why));
    }
    if (m->C % 2) return fault_name(why, ERR_RANGE, "llama.attention.key_length");
    m->E = m->G * m->C;
    return ERR_OK;
}

static err read_sizes(model *m, const gguf *g, size_t *rope_n, double *rope_base, fault *why)
{
    gguf_text arch;
    double eps;
    const err e = gguf_get_text(g, "general.architecture", &arch);

    if (e != ERR_OK) return fault_name(why, e, "general.architecture");
    if (arch.n != 5 || memcmp(arch.at, "llama", 5) != 0)
        return fault_name(why, ERR_ARCH, "general.architecture");
    TRY(read_size(g, "llama.block_count", 0, MAX_LAYERS, &m->L, why));
    TRY(read_size(g, "llama.embedding_length", 0, MAX_WIDTH, &m->D, why));
    TRY(read_size(g, "llama.feed_forward_length", 0, MAX_WIDTH, &m->F, why));
    TRY(read_size(g, "llama.context_length", 0, MAX_CTX, &m->ctx_train, why));
    TRY(read_heads(m, g, why));
    TRY(read_real(g, "llama.attention.layer_norm_rms_epsilon", 1e-5, 1, &eps, why));
    TRY(read_real(g, "llama.rope.freq_base", 10000, 1e12, rope_base, why));
    TRY(read_size(g, "llama.rope.dimension_count", m->C, m->C, rope_n, why));
    if (*rope_n % 2) return fault_name(why, ERR_RANGE, "llama.rope.dimension_count");
    m->eps = (float)eps;
    return ERR_OK;
}

/* Find a tensor and hold it against its shape: cols x rows, or a vector if rows is 0. */
static err find_tensor(const gguf *g, const char *name, size_t cols, size_t rows,
                       const gguf_tensor **out, fault *why)
{
    const gguf_tensor *t = gguf_find(g, name);

    if (!t) return fault_name(why, ERR_MISSING, name);
    if (t->dim[0] != cols || t->dim[1] != (rows ? rows : 1) || t->dim[2] != 1 || t->dim[3] != 1)
        return fault_name(why, ERR_SHAPE, name);
    if (!matrix_knows(t->type)) return fault_name(why, ERR_TENSORTYPE, name);
    *out = t;
    return ERR_OK;
}

static err read_gain(const gguf *g, const char *name, size_t D, float *gain, fault *why)
{
    const gguf_tensor *t = NULL;

    TRY(find_tensor(g, name, D, 0, &t, why));
    return matrix_read_row(t, 0, gain);
}

static err open_matrix(model *m, matrix *w, const gguf_tensor *t, const char *name, fault *why)
{
    const err e = matrix_open(w, t);

    if (e != ERR_OK) return fault_name(why, e, name);
    m->weight_bytes += w->panels * w->panel_bytes;
    return ERR_OK;
}

static err open_layer(model *m, const gguf *g, size_t l, fault *why)
{
    model_layer *layer = &m->layers[l];
    layer_weight list[LAYER_WEIGHTS];
    const gguf_tensor *t = NULL;
    char name[64];

    layer->attn_norm = m->gains + 2 * l * m->D;
    layer->ffn_norm = layer->attn_norm + m->D;
    snprintf(name, sizeof name, "blk.%zu.attn_norm.weight", l);
    TRY(read_gain(g, name, m->D, layer->attn_norm, why));
    snprintf(name, sizeof name, "blk.%zu.ffn_norm.weight", l);
    TRY(read_gain(g, name, m->D, layer->ffn_norm, why));
    list_weights(m, list);
    for (int i = 0; i < LAYER_WEIGHTS; i++) {
        snprintf(name, sizeof name, "blk.%zu.%s.weight", l, list[i].name);
        TRY(find_tensor(g, name, list[i].cols, list[i].rows, &t, why));
        TRY(open_matrix(m, (matrix *)((char *)layer + list[i].at), t, name, why));
        if (list[i].at == offsetof(model_layer, k)) layer->k_file = t;
        if (list[i].at == offsetof(model_layer, v)) layer->v_file = t;
    }
    return ERR_OK;
}

static err open_ends(model *m, const gguf *g, fault *why)
{
    const gguf_tensor *output = m->embedding;
    const char *name = "token_embd.weight";

    if (gguf_find(g, "output.weight")) {
        name = "output.weight";
        TRY(find_tensor(g, name, m->D, m->V, &output, why));
    }
    TRY(open_matrix(m, &m->output, output, name, why));
    m->output_norm = m->gains + 2 * m->L * m->D;
    return read_gain(g, "output_norm.weight", m->D, m->output_norm, why);
}

static err find_embedding(model *m, const gguf *g, fault *why)
{
    static const char name[] = "token_embd.weight";
    const gguf_tensor *t = gguf_find(g, name);

    if (!t) return fault_name(why, ERR_MISSING, name);
    if (t->dim[1] > MAX_VOCAB) return fault_name(why, ERR_RANGE, name);
    m->V = t->dim[1];
    return find_tensor(g, name, m->D, m->V, &m->embedding, why);
}

static size_t choose_ctx(const model *m, size_t ctx)
{
    return ctx ? ctx : (m->ctx_train < DEFAULT_CTX ? m->ctx_train : DEFAULT_CTX);
}

/* What all matrices take packed. The embedding is packed only where it is the output too. */
static size_t measure_weights(const model *m, const gguf *g)
{
    const bool tied = !gguf_find(g, "output.weight");
    size_t bytes = 0;

    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);

        if (tied || t != m->embedding) bytes += matrix_bytes(t);
    }
    return bytes;
}

err model_measure(model *out, const gguf *g, size_t ctx, fault *why)
{
    model m = {0};
    size_t rope_n = 0;
    double rope_base = 0;

    TRY(read_sizes(&m, g, &rope_n, &rope_base, why));
    TRY(find_embedding(&m, g, why));
    m.ctx = choose_ctx(&m, ctx);
    m.weight_bytes = measure_weights(&m, g);
    *out = m;
    return ERR_OK;
}

/* The name of the type that most bytes of the file's tensors have: files mix types. */
static const char *find_weight_type(const gguf *g)
{
    static const uint32_t types[] = {
#define TENSOR_TYPE(name, id, elements, bytes) id,
#include "engine/tensor_types.def"
#undef TENSOR_TYPE
    };
    size_t most = 0;
    uint32_t type = GGUF_F32;

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t bytes = 0;

        for (size_t j = 0; j < gguf_tensors(g); j++)
            if (gguf_tensor_at(g, j)->type == types[i]) bytes += gguf_tensor_at(g, j)->bytes;
        if (bytes <= most) continue;
        most = bytes;
        type = types[i];
    }
    return gguf_type_name(type, NULL, NULL);
}

static err open_all(model *m, const gguf *g, size_t ctx, fault *why)
{
    size_t rope_n = 0;
    double rope_base = 0;

    TRY(read_sizes(m, g, &rope_n, &rope_base, why));
    TRY(find_embedding(m, g, why));
    if (gguf_tensors(g) < m->L) return fault_name(why, ERR_RANGE, "llama.block_count");
    m->layers = calloc(m->L, sizeof *m->layers);
    m->gains = malloc((2 * m->L + 1) * m->D * sizeof *m->gains);
    if (!m->layers || !m->gains) return ERR_NOMEM;
    TRY(open_ends(m, g, why));
    for (size_t l = 0; l < m->L; l++) TRY(open_layer(m, g, l, why));
    m->weight_type = find_weight_type(g);
    m->ctx = choose_ctx(m, ctx);
    return rope_open(&m->rope, rope_base, rope_n, m->ctx);
}

err model_open(model **out, const gguf *g, size_t ctx, fault *why)
{
    model *m = calloc(1, sizeof *m);
    err e;

    if (!m) return ERR_NOMEM;
    e = open_all(m, g, ctx, why);
    if (e != ERR_OK) {
        model_close(m);
        return e;
    }
    *out = m;
    return ERR_OK;
}

void model_close(model *m)
{
    if (!m) return;
    for (size_t l = 0; m->layers && l < m->L; l++) {
        layer_weight list[LAYER_WEIGHTS];

        list_weights(m, list);
        for (int i = 0; i < LAYER_WEIGHTS; i++)
            matrix_close((matrix *)((char *)&m->layers[l] + list[i].at));
    }
    matrix_close(&m->output);
    rope_close(&m->rope);
    free(m->layers);
    free(m->gains);
    free(m);
}

bool model_is_mha(const model *m)
{
    return m->G == m->H;
}

void model_embed(const model *m, int32_t id, float *x)
{
    assert(id >= 0 && (size_t)id < m->V);
    (void)matrix_read_row(m->embedding, (size_t)id, x); /* the type was checked at load */
}

void model_read_kv(const gguf_tensor *file, float *w)
{
    for (size_t e = 0; e < file->dim[1]; e++)
        (void)matrix_read_row(file, e, w + e * file->dim[0]);
}
