/* model_load.c - from a GGUF file to packed weights: every tensor's name, type and shape is
 * checked against tables before anything is allocated for it.
 *
 * Sizes come from keys and are the file's claim; a tensor with that shape is the proof, since
 * its bytes are really there. So what is allocated is bounded by the file's size, however
 * absurd a key is: layers by the number of tensors, angles last of all. What a loader does not
 * know, it refuses by name: a bias or a part that was passed over would give a model that
 * answers, and wrongly. */
#include "engine/model/model_load.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/key_scale.h"
#include "engine/model/model_keys.h"

enum { MAX_VOCAB = 1 << 24 };

enum { DEFAULT_CTX = 131072 }; /* longest context that is prepared unasked */

/* What is being read into what. */
typedef struct loader {
    model *m;
    const gguf *g;
    fault *why;
    bool exact; /* products in floats */
    size_t layer;
    char name[64]; /* of the tensor at hand */
} loader;

/* --- tensors --- */

/* The name "blk.<layer>.<part>". */
static const char *name_part(loader *o, const char *part)
{
    snprintf(o->name, sizeof o->name, "blk.%zu.%s", o->layer, part);
    return o->name;
}

/* Find a tensor and hold it against its shape: cols x rows, or a vector if rows is 0; planes of
 * them, or one. */
static err find_tensor(const loader *o, const char *name, const size_t shape[3],
                       const gguf_tensor **out)
{
    const gguf_tensor *t = gguf_find(o->g, name);

    if (!t) return err_blame(o->why, ERR_MISSING, name);
    for (int i = 0; i < GGUF_MAX_DIMS; i++)
        if (t->dim[i] != (i < 3 && shape[i] ? shape[i] : 1))
            return err_blame(o->why, ERR_SHAPE, name);
    if (!matrix_knows(t->type)) return err_blame(o->why, ERR_TENSORTYPE, name);
    *out = t;
    return ERR_OK;
}

/* Rows first .. first+rows-1 of a tensor, all planes counted through, as one of their own.
 * Views, not copies: a fused or stacked tensor is packed from where it lies. */
static gguf_tensor rows_of(const gguf_tensor *t, size_t first, size_t rows)
{
    const size_t row_bytes = t->bytes / (t->dim[1] * t->dim[2]);
    gguf_tensor part = *t;

    part.dim[1] = rows;
    part.dim[2] = 1;
    part.n_dims = 2;
    part.data = (const char *)t->data + first * row_bytes;
    part.bytes = rows * row_bytes;
    return part;
}

/* What is packed is counted, since `serve` says before loading what it will take
 * (model_measure) and is held to it. */
static err open_matrix(loader *o, matrix *w, const gguf_tensor *t, const char *name)
{
    const err e = o->exact ? matrix_open_exact(w, t) : matrix_open(w, t);

    if (e != ERR_OK) return err_blame(o->why, e, name);
    o->m->weight_bytes += w->panels * w->panel_bytes;
    return ERR_OK;
}

/* --- vectors --- */

/* A norm's gain or a bias of a layer: its name, where it goes, its length, and the feature that
 * must have it; 0: every model must. Others have it where the file does. */
typedef struct layer_vector {
    const char *name;
    size_t at; /* of the pointer in model_layer */
    size_t n;
    unsigned feature;
} layer_vector;

/* Room for n floats among the model's vectors. One allocation for all of them: a layer has
 * up to nine, of a few kilobytes. */
static float *take(model *m, size_t n)
{
    float *p = m->vectors + m->vector_floats;

    m->vector_floats += n;
    return p;
}

static err read_vector(loader *o, const char *name, size_t n, float **out)
{
    const gguf_tensor *t = NULL;
    float *v;

    TRY(find_tensor(o, name, (const size_t[3]){n, 0, 0}, &t));
    v = take(o->m, n);
    TRY(matrix_read_row(t, 0, v));
    *out = v;
    return ERR_OK;
}

/* A table with offsets, since all are read alike. A bias that the file has counts even where
 * the architecture does not ask for one: there are files of llama's architecture with biases.
 */
static err read_vectors(loader *o)
{
    const model *m = o->m;
    const size_t Q = m->H * m->C;
    model_layer *layer = &m->layers[o->layer];
    const layer_vector all[] = {
        {"attn_norm.weight", offsetof(model_layer, attn_norm), m->D, 0},
        {"ffn_norm.weight", offsetof(model_layer, ffn_norm), m->D, 0},
        {"post_attention_norm.weight", offsetof(model_layer, attn_post), m->D, ARCH_POST_NORMS},
        {"post_ffw_norm.weight", offsetof(model_layer, ffn_post), m->D, ARCH_POST_NORMS},
        {"attn_q_norm.weight", offsetof(model_layer, q_norm), m->C, ARCH_HEAD_NORM},
        {"attn_k_norm.weight", offsetof(model_layer, k_norm), m->C, ARCH_HEAD_NORM},
        {"attn_q.bias", offsetof(model_layer, q_bias), Q, ARCH_BIAS},
        {"attn_k.bias", offsetof(model_layer, k_bias), m->E, ARCH_BIAS},
        {"attn_v.bias", offsetof(model_layer, v_bias), m->E, ARCH_BIAS},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const char *name = name_part(o, all[i].name);

        if (all[i].feature && !(m->arch->has & all[i].feature) && !gguf_find(o->g, name))
            continue;
        TRY(read_vector(o, name, all[i].n, (float **)(void *)((char *)layer + all[i].at)));
    }
    return ERR_OK;
}

/* Floats that all vectors of a model take at most. */
static size_t count_vectors(const model *m)
{
    return m->D + m->L * (4 * m->D + 2 * m->C + m->H * m->C + 2 * m->E);
}

/* --- weights of a layer --- */

/* One weight matrix: where it is, where it goes, its outputs and inputs. */
typedef struct layer_weight {
    const char *name;
    matrix *to;
    size_t rows, cols;
} layer_weight;

/* Packing is the larger part of loading: one matrix after the other, each row touched once. */
static err open_weights(loader *o, const layer_weight *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = name_part(o, list[i].name);
        const gguf_tensor *t = NULL;

        TRY(find_tensor(o, name, (const size_t[3]){list[i].cols, list[i].rows, 0}, &t));
        TRY(open_matrix(o, list[i].to, t, name));
    }
    return ERR_OK;
}

/* Consecutive rows of one tensor, as matrices. */
static err open_fused(loader *o, const char *part, const layer_weight *list, size_t n)
{
    const char *name = name_part(o, part);
    const gguf_tensor *t = NULL;
    size_t rows = 0, first = 0;

    for (size_t i = 0; i < n; i++) rows += list[i].rows;
    TRY(find_tensor(o, name, (const size_t[3]){list[0].cols, rows, 0}, &t));
    for (size_t i = 0; i < n; i++) {
        const gguf_tensor one = rows_of(t, first, list[i].rows);

        TRY(open_matrix(o, list[i].to, &one, name));
        first += list[i].rows;
    }
    return ERR_OK;
}

/* Rows of the file that K and V come from: `first`, then those of V behind them, or a tensor
 * of its own each. The cache projects with Wk and Wv themselves where it rebuilds keys in
 * floats, so it needs the rows as the file has them. */
static void note_kv(model_layer *layer, const gguf_tensor *k, const gguf_tensor *v,
                    size_t first, size_t E)
{
    layer->kv[0] = rows_of(k, first, E);
    layer->kv[1] = rows_of(v, first ? first + E : 0, E);
    layer->k_file = &layer->kv[0];
    layer->v_file = &layer->kv[1];
}

/* Of tensors that may be missing, which loading finds out. Every layer must: what is rebuilt
 * has one format for the whole context. */
static bool find_int8_kv(loader *o)
{
    const bool fused = o->m->arch->has & ARCH_FUSED;
    const char *const k = fused ? "attn_qkv.weight" : "attn_k.weight",
                      *const v = fused ? k : "attn_v.weight";
    bool all = !o->exact;

    for (o->layer = 0; o->layer < o->m->L; o->layer++) {
        const gguf_tensor *wk = gguf_find(o->g, name_part(o, k)),
                          *wv = gguf_find(o->g, name_part(o, v));

        all = all && wk && wv && matrix_type_wants_int8(wk->type) &&
              matrix_type_wants_int8(wv->type);
    }
    o->layer = 0;
    return all;
}

static err open_attention(loader *o)
{
    model *m = o->m;
    model_layer *layer = &m->layers[o->layer];
    const size_t Q = m->H * m->C;
    const layer_weight qkv[] = {{"attn_q.weight", &layer->q, Q, m->D},
                                {"attn_k.weight", &layer->k, m->E, m->D},
                                {"attn_v.weight", &layer->v, m->E, m->D}};
    const layer_weight out = {"attn_output.weight", &layer->o, m->D, Q};
    const gguf_tensor *k;

    if (m->arch->has & ARCH_FUSED) {
        TRY(open_fused(o, "attn_qkv.weight", qkv, 3));
        k = gguf_find(o->g, o->name);
        note_kv(layer, k, k, Q, m->E);
    } else {
        TRY(open_weights(o, qkv, 3));
        k = gguf_find(o->g, name_part(o, qkv[1].name));
        note_kv(layer, k, gguf_find(o->g, name_part(o, qkv[2].name)), 0, m->E);
    }
    return open_weights(o, &out, 1);
}

static err open_ffn(loader *o)
{
    model *m = o->m;
    model_ffn *ffn = &m->layers[o->layer].ffn;
    const layer_weight list[] = {{"ffn_gate.weight", &ffn->gate, m->F, m->D},
                                 {"ffn_up.weight", &ffn->up, m->F, m->D}};
    const layer_weight down = {"ffn_down.weight", &ffn->down, m->D, m->F};

    if (m->arch->has & ARCH_FUSED)
        TRY(open_fused(o, "ffn_up.weight", list, 2));
    else
        TRY(open_weights(o, list, 2));
    return open_weights(o, &down, 1);
}

/* One kind of the experts' matrices: planes of a tensor [X,rows,cols]. Experts are stacked
 * in one tensor; each becomes a matrix of its own, because a step multiplies by few of them. */
static err open_planes(loader *o, const char *part, size_t at, size_t rows, size_t cols)
{
    model *m = o->m;
    const char *name = name_part(o, part);
    const gguf_tensor *t = NULL;

    TRY(find_tensor(o, name, (const size_t[3]){cols, rows, m->X}, &t));
    for (size_t i = 0; i < m->X; i++) {
        const gguf_tensor one = rows_of(t, i * rows, rows);
        model_ffn *to = &m->layers[o->layer].experts[i];

        TRY(open_matrix(o, (matrix *)(void *)((char *)to + at), &one, name));
    }
    return ERR_OK;
}

static err open_experts(loader *o)
{
    model *m = o->m;
    model_layer *layer = &m->layers[o->layer];
    const layer_weight router = {"ffn_gate_inp.weight", &layer->router, m->X, m->D};

    layer->experts = calloc(m->X, sizeof *layer->experts);
    if (!layer->experts) return ERR_NOMEM;
    TRY(open_weights(o, &router, 1));
    TRY(open_planes(o, "ffn_gate_exps.weight", offsetof(model_ffn, gate), m->F, m->D));
    TRY(open_planes(o, "ffn_up_exps.weight", offsetof(model_ffn, up), m->F, m->D));
    return open_planes(o, "ffn_down_exps.weight", offsetof(model_ffn, down), m->D, m->F);
}

/* Parts that exist in the wild and would be passed over in silence. Of parts with a meaning
 * of their own in some architecture; what is merely unused is not looked at. */
static err refuse_others(loader *o)
{
    static const char *const parts[] = {
        "attn_qkv.bias", "attn_output.bias", "attn_sinks.weight", "ffn_gate.bias",
        "ffn_up.bias",   "ffn_down.bias",    "attn_norm.bias",    "ffn_norm.bias"};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (gguf_find(o->g, name_part(o, parts[i])))
            return err_blame(o->why, ERR_PART, o->name);
    return ERR_OK;
}

/* --- the whole --- */

/* Tied weights are the embedding once more, packed: as an output it is multiplied, as an
 * embedding it is read by rows. */
static err open_ends(loader *o)
{
    static const char *const names[] = {"output.weight", "token_embd.weight"};
    model *m = o->m;
    const bool tied = !gguf_find(o->g, names[0]);
    const gguf_tensor *t = NULL;
    gguf_tensor output = m->embedding;

    if (!tied) {
        t = gguf_find(o->g, names[0]);
        TRY(find_tensor(o, names[0],
                        (const size_t[3]){m->D, t->dim[1] > m->V ? t->dim[1] : m->V, 0}, &t));
        output = rows_of(t, 0, m->V);
    }
    if (gguf_find(o->g, "output.bias")) return err_blame(o->why, ERR_PART, "output.bias");
    TRY(open_matrix(o, &m->output, &output, names[tied]));
    return read_vector(o, "output_norm.weight", m->D, &m->output_norm);
}

/* Rows past the last token are padding. A vocabulary is often padded to a multiple of 64 for
 * GPUs; the tokenizer's length is the true one, and ids beyond it must never be sampled. */
static err find_embedding(loader *o)
{
    static const char name[] = "token_embd.weight";
    const gguf_tensor *t = gguf_find(o->g, name);
    gguf_array tokens;
    model *m = o->m;

    if (!t) return err_blame(o->why, ERR_MISSING, name);
    if (t->dim[1] > MAX_VOCAB) return err_blame(o->why, ERR_RANGE, name);
    TRY(find_tensor(o, name, (const size_t[3]){m->D, t->dim[1], 0}, &t));
    m->V = t->dim[1];
    if (gguf_get_array(o->g, "tokenizer.ggml.tokens", &tokens) == ERR_OK && tokens.n &&
        tokens.n < m->V)
        m->V = tokens.n;
    m->embedding = rows_of(t, 0, m->V);
    return ERR_OK;
}

static err open_layer(loader *o)
{
    TRY(read_vectors(o));
    TRY(open_attention(o));
    TRY(o->m->X ? open_experts(o) : open_ffn(o));
    return refuse_others(o);
}

/* A model trained for a million positions would have tables of gigabytes that nobody asked
 * for. */
static size_t choose_ctx(const model *m, size_t ctx)
{
    return ctx ? ctx : (m->ctx_train < DEFAULT_CTX ? m->ctx_train : DEFAULT_CTX);
}

/* What all matrices take packed. The embedding is packed only where it is the output too. */
static size_t measure_weights(const model *m, const gguf *g, bool exact)
{
    size_t (*const bytes_of)(const gguf_tensor *) = exact ? matrix_exact_bytes : matrix_bytes;
    const gguf_tensor *embedding = gguf_find(g, "token_embd.weight");
    const gguf_tensor *output = gguf_find(g, "output.weight");
    const gguf_tensor last = output ? rows_of(output, 0, m->V) : m->embedding;
    size_t bytes = bytes_of(&last);

    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);

        if (t != embedding && t != output) bytes += bytes_of(t);
    }
    return bytes;
}

/* Widths that no tensor has would be measured as if they were true. */
static err check_widths(loader *o)
{
    const model *m = o->m;
    const bool fused = m->arch->has & ARCH_FUSED;
    const size_t Q = m->H * m->C, rows = fused ? Q + 2 * m->E : Q;
    const gguf_tensor *t = NULL;

    return find_tensor(o, name_part(o, fused ? "attn_qkv.weight" : "attn_q.weight"),
                       (const size_t[3]){m->D, rows, 0}, &t);
}

err model_measure(model *out, const gguf *g, const model_options *options, fault *why)
{
    model m = {0};
    loader o = {.m = &m, .g = g, .why = why, .exact = options->exact_products};
    arch_keys keys = {.g = g, .why = why};

    TRY(arch_of(g, &keys.arch, why));
    m.arch = keys.arch;
    TRY(model_read_sizes(&m, &keys));
    TRY(find_embedding(&o));
    TRY(check_widths(&o));
    m.ctx = choose_ctx(&m, options->ctx);
    m.weight_bytes = measure_weights(&m, g, o.exact);
    m.int8_kv = find_int8_kv(&o);
    *out = m;
    return ERR_OK;
}

/* The mix that the file says it is ("Q4_K_M"), else the name of the type that most bytes of its
 * tensors have. */
static const char *find_weight_type(const gguf *g)
{
    static const struct {
        uint64_t id;
        const char *name;
    } mixes[] = {
#define FILE_TYPE(id, name) {id, name},
#include "engine/gguf/file_types.def"
#undef FILE_TYPE
    };
    uint64_t said = 0;
    static const uint32_t types[] = {
#define TENSOR_TYPE(name, id, elements, bytes) id,
#include "engine/gguf/tensor_types.def"
#undef TENSOR_TYPE
    };
    size_t most = 0;
    uint32_t type = GGUF_F32;

    if (gguf_get_u64(g, "general.file_type", &said) == ERR_OK)
        for (size_t i = 0; i < sizeof mixes / sizeof mixes[0]; i++)
            if (mixes[i].id == said) return mixes[i].name;
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

static err open_all(model *m, const gguf *g, const model_options *options, fault *why)
{
    loader o = {.m = m, .g = g, .why = why, .exact = options->exact_products};
    arch_keys keys = {.g = g, .why = why};
    rope_rule rules[2];

    TRY(arch_of(g, &keys.arch, why));
    m->arch = keys.arch;
    TRY(model_read_sizes(m, &keys));
    TRY(find_embedding(&o));
    if (gguf_tensors(g) < m->L) return arch_fault(&keys, ERR_RANGE, "block_count");
    m->layers = calloc(m->L, sizeof *m->layers);
    m->vectors = malloc(count_vectors(m) * sizeof *m->vectors);
    if (!m->layers || !m->vectors) return ERR_NOMEM;
    m->ctx = choose_ctx(m, options->ctx);
    m->int8_kv = find_int8_kv(&o);
    TRY(model_read_positions(m, &keys, rules));
    TRY(open_ends(&o));
    for (; o.layer < m->L; o.layer++) {
        TRY(open_layer(&o));
        if (options->permille)
            atomic_store(options->permille, (unsigned)(1000 * (o.layer + 1) / m->L));
    }
    m->weight_type = find_weight_type(g);
    TRY(model_open_ropes(m, rules));
    return key_scale_open(m);
}

err model_open_with(model **out, const gguf *g, const model_options *o, fault *why)
{
    model *m = calloc(1, sizeof *m);
    err e;

    if (!m) return ERR_NOMEM;
    e = open_all(m, g, o, why);
    if (e != ERR_OK) {
        model_close(m);
        return e;
    }
    *out = m;
    return ERR_OK;
}

err model_open(model **out, const gguf *g, size_t ctx, fault *why)
{
    return model_open_with(out, g, &(model_options){.ctx = ctx}, why);
}
