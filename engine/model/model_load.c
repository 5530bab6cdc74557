/* model_load.c - from a GGUF file to packed weights: every tensor's name, type and shape is
 * checked against tables before anything is allocated for it.
 *
 * Sizes come from keys and are the file's claim; a tensor with that shape is the proof, since
 * its bytes are really there. So what is allocated is bounded by the file's size, however
 * absurd a key is: layers by the number of tensors, angles last of all. Names are looked up in
 * loader.c, networks are load_ffn.c's. */
#include "engine/model/model_load.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/key_scale.h"
#include "engine/model/load_encoder.h"
#include "engine/model/load_ffn.h"
#include "engine/model/loader.h"
#include "engine/model/model_keys.h"

enum { MAX_VOCAB = 1 << 24 };

enum { DEFAULT_CTX = 131072 }; /* longest context that is prepared unasked */

/* --- vectors of a layer --- */

/* A norm's gain or a bias of a layer: its name, where it goes, its length, and whether every
 * layer must have it. Others have it where the file does. */
typedef struct layer_vector {
    const char *name;
    size_t at; /* of the pointer in model_layer */
    size_t n;
    bool must;
} layer_vector;

static err read_vectors(loader *o, const layer_vector *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = loader_part(o, list[i].name);
        char *layer = (char *)&o->m->layers[o->layer];
        float **to = (float **)(void *)(layer + list[i].at);

        if (list[i].must || loader_look(o, name)) TRY(loader_vector(o, name, list[i].n, 1, to));
    }
    return ERR_OK;
}

/* Before and behind the halves of a layer. A norm that some families call the one behind
 * attention is the one before the network. A layer without one there reads beside attention,
 * where its architecture allows that. */
static err read_norms(loader *o)
{
    const unsigned has = o->m->arch->has;
    const size_t D = o->m->D;
    const bool late = has & ARCH_LATE_NORM, bare = has & ARCH_BARE,
               mean = has & ARCH_LAYER_NORM;
    const bool own = !bare && !(has & ARCH_PARALLEL), post = has & ARCH_POST_NORMS;
    const char *const ffn = late ? "post_attention_norm.weight" : "ffn_norm.weight";
    model_layer *layer = &o->m->layers[o->layer];
    const layer_vector gains[] = {
        {"attn_norm.weight", offsetof(model_layer, attn_norm.gain), D, !bare},
        {ffn, offsetof(model_layer, ffn_norm.gain), D, own},
        {"post_ffw_norm.weight", offsetof(model_layer, ffn_post), D, post},
        {"post_attention_norm.weight", offsetof(model_layer, attn_post), D, post}};
    const layer_vector biases[] = {
        {"attn_norm.bias", offsetof(model_layer, attn_norm.bias), D, false},
        {"ffn_norm.bias", offsetof(model_layer, ffn_norm.bias), D, false}};

    TRY(read_vectors(o, gains, late ? 3 : 4));
    layer->parallel = has & ARCH_PARALLEL && !layer->ffn_norm.gain;
    return mean ? read_vectors(o, biases, 2) : ERR_OK;
}

/* A bias that the file has counts even where the architecture does not ask for one: there are
 * files of llama's architecture with biases. */
static err read_biases(loader *o)
{
    const model *m = o->m;
    const size_t Q = m->H * m->C;
    const bool must = m->arch->has & ARCH_BIAS && !loader_look_part(o, "attn_qkv.bias");
    model_layer *layer = &m->layers[o->layer];
    const layer_vector all[] = {
        {"attn_q.bias", offsetof(model_layer, q_bias), Q, must},
        {"attn_k.bias", offsetof(model_layer, k_bias), m->E, must},
        {"attn_v.bias", offsetof(model_layer, v_bias), m->E, must},
        {"attn_output.bias", offsetof(model_layer, o_bias), m->D, false},
        {"attn_sinks.weight", offsetof(model_layer, sinks), m->H, m->arch->has & ARCH_SINKS}};
    float *fused = NULL;

    TRY(read_vectors(o, all, sizeof all / sizeof all[0]));
    TRY(loader_maybe(o, loader_part(o, "attn_qkv.bias"), Q + 2 * m->E, 1, &fused));
    if (!fused) return ERR_OK;
    layer->q_bias = fused;
    layer->k_bias = fused + Q;
    layer->v_bias = fused + Q + m->E;
    return ERR_OK;
}

/* Gains of queries or keys: C for every head, a row for each, or one row for all of them, which
 * then share one mean square. */
static err read_head_norm(loader *o, const char *part, size_t heads, float **out)
{
    const size_t C = o->m->C, all = heads * C;
    const gguf_tensor *t = loader_look_part(o, part);
    float *v = NULL;

    if (!t && !(o->m->arch->has & ARCH_HEAD_NORM)) return ERR_OK;
    if (!t) return err_blame(o->why, ERR_MISSING, o->name);
    if (t->n_dims == 1 && t->dim[0] == C) {
        TRY(loader_vector(o, o->name, C, 1, &v));
        *out = loader_take(o->m, all);
        for (size_t i = 0; i < all; i++) (*out)[i] = v[i % C];
        return ERR_OK;
    }
    o->m->layers[o->layer].whole_norm = t->n_dims == 1;
    return t->n_dims == 1 ? loader_vector(o, o->name, all, 1, out)
                          : loader_vector(o, o->name, C, heads, out);
}

/* The largest Llama 4 has no such norm, and nothing in its file says so but its 128 experts. */
static void fill_unit_norm(model *m, model_layer *layer)
{
    const size_t Q = m->H * m->C;

    if (!(m->arch->has & ARCH_UNIT_NORM) || m->X == 128 || layer->rope_kind == MODEL_NO_ROPE)
        return;
    layer->q_norm = loader_take(m, Q);
    layer->k_norm = loader_take(m, m->E);
    for (size_t i = 0; i < Q; i++) layer->q_norm[i] = 1;
    for (size_t i = 0; i < m->E; i++) layer->k_norm[i] = 1;
}

static err read_head_norms(loader *o)
{
    model_layer *layer = &o->m->layers[o->layer];
    bool whole;

    TRY(read_head_norm(o, "attn_q_norm.weight", o->m->H, &layer->q_norm));
    whole = layer->whole_norm;
    TRY(read_head_norm(o, "attn_k_norm.weight", o->m->G, &layer->k_norm));
    if (layer->q_norm && layer->k_norm && whole != layer->whole_norm)
        return err_blame(o->why, ERR_SHAPE, o->name);
    fill_unit_norm(o->m, layer);
    return ERR_OK;
}

/* --- attention --- */

/* Rows of the file that K and V come from: `first`, then those of V behind them, or a tensor
 * of its own each. The cache projects with Wk and Wv themselves where it rebuilds keys in
 * floats, so it needs the rows as the file has them. */
static void note_kv(model_layer *layer, const gguf_tensor *k, const gguf_tensor *v,
                    size_t first, size_t E)
{
    layer->kv[0] = loader_rows(k, first, E);
    layer->kv[1] = loader_rows(v, first ? first + E : 0, E);
    layer->k_file = &layer->kv[0];
    layer->v_file = &layer->kv[1];
}

static const char fused_qkv[] = "attn_qkv.weight";

/* Of tensors that may be missing, which loading finds out. Every layer must: what is rebuilt
 * has one format for the whole context. Biases of one layer decide for all, too. */
static void find_kv_kinds(loader *o)
{
    bool all = !o->exact, biased = false;

    for (o->layer = 0; o->layer < o->m->L; o->layer++) {
        const gguf_tensor *both = loader_look_part(o, fused_qkv);
        const gguf_tensor *k = both ? both : loader_look_part(o, "attn_k.weight");
        const gguf_tensor *v = both ? both : loader_look_part(o, "attn_v.weight");

        all = all && k && v && matrix_type_wants_int8(k->type) &&
              matrix_type_wants_int8(v->type);
        biased |= loader_look_part(o, "attn_k.bias") || loader_look_part(o, "attn_qkv.bias");
    }
    o->layer = 0;
    o->m->int8_kv = all;
    o->m->key_bias = biased;
}

static err open_attention(loader *o)
{
    model *m = o->m;
    model_layer *layer = &m->layers[o->layer];
    const size_t Q = m->H * m->C;
    const loader_weight qkv[] = {{"attn_q.weight", &layer->q, Q, m->D},
                                 {"attn_k.weight", &layer->k, m->E, m->D},
                                 {"attn_v.weight", &layer->v, m->E, m->D}};
    const loader_weight out = {"attn_output.weight", &layer->o, m->D, Q};
    const gguf_tensor *k = loader_look_part(o, fused_qkv);

    if (k || m->arch->has & ARCH_FUSED) {
        TRY(loader_fused(o, fused_qkv, qkv, 3));
        note_kv(layer, k, k, Q, m->E);
    } else {
        TRY(loader_weights(o, qkv, 3));
        k = loader_look_part(o, qkv[1].name);
        note_kv(layer, k, loader_look_part(o, qkv[2].name), 0, m->E);
    }
    return loader_weights(o, &out, 1);
}

/* --- the whole --- */

/* Logits are scaled where their input is normed, which costs nothing. Granite's files have the
 * divisor. */
static err scale_logits(loader *o, const arch_keys *k)
{
    model *m = o->m;
    const bool divided = m->arch->has & ARCH_DIVIDED;
    double scale;

    TRY(arch_real(k, "logit_scale", 1, 1e6, &scale));
    for (size_t d = 0; scale != 1 && d < m->D; d++) {
        const float by = (float)(divided ? 1 / scale : scale);

        m->output_norm.gain[d] *= by;
        if (m->output_norm.bias) m->output_norm.bias[d] *= by;
    }
    return ERR_OK;
}

/* Tied weights are the embedding once more, packed: as an output it is multiplied, as an
 * embedding it is read by rows. Where nothing is generated there is no output. */
static err open_output(loader *o)
{
    static const char *const names[] = {"output.weight", "token_embd.weight"};
    model *m = o->m;
    const gguf_tensor *t = loader_look(o, names[0]);
    const bool tied = !t;
    gguf_tensor output = m->embedding;

    if (m->both_ways) return ERR_OK;
    if (t) {
        TRY(loader_find(o, names[0],
                        (const size_t[3]){m->D, t->dim[1] > m->V ? t->dim[1] : m->V, 0}, &t));
        output = loader_rows(t, 0, m->V);
    }
    TRY(loader_pack(o, &m->output, &output, names[tied]));
    t = loader_look(o, "output.bias");
    TRY(loader_maybe(o, "output.bias", t ? t->dim[0] : 0, 1, &m->output_bias));
    return t && t->dim[0] < m->V ? err_blame(o->why, ERR_SHAPE, "output.bias") : ERR_OK;
}

/* Norms of sums leave nothing to be normed in the end. */
static err open_ends(loader *o, const arch_keys *k)
{
    model *m = o->m;

    TRY(open_output(o));
    TRY(load_encoder(o));
    if (m->arch->has & ARCH_ENCODER && m->arch->has & ARCH_BARE) return ERR_OK;
    TRY(loader_vector(o, "output_norm.weight", m->D, 1, &m->output_norm.gain));
    if (m->arch->has & ARCH_LAYER_NORM)
        TRY(loader_maybe(o, "output_norm.bias", m->D, 1, &m->output_norm.bias));
    return scale_logits(o, k);
}

/* Rows past the last token are padding. A vocabulary is often padded to a multiple of 64 for
 * GPUs; the tokenizer's length is the true one, and ids beyond it must never be sampled. */
static err find_embedding(loader *o)
{
    static const char name[] = "token_embd.weight";
    const gguf_tensor *t = loader_look(o, name);
    gguf_array tokens;
    model *m = o->m;

    if (!t) return err_blame(o->why, ERR_MISSING, name);
    if (t->dim[1] > MAX_VOCAB) return err_blame(o->why, ERR_RANGE, name);
    TRY(loader_find(o, name, (const size_t[3]){m->D, t->dim[1], 0}, &t));
    m->V = t->dim[1];
    if (gguf_get_array(o->g, "tokenizer.ggml.tokens", &tokens) == ERR_OK && tokens.n &&
        tokens.n < m->V)
        m->V = tokens.n;
    m->embedding = loader_rows(t, 0, m->V);
    return ERR_OK;
}

static err open_layer(loader *o)
{
    TRY(read_norms(o));
    TRY(read_biases(o));
    TRY(read_head_norms(o));
    TRY(open_attention(o));
    TRY(load_encoder_layer(o));
    return load_ffn(o);
}

/* A model trained for a million positions would have tables of gigabytes that nobody asked
 * for. */
static size_t choose_ctx(const model *m, size_t ctx)
{
    return ctx ? ctx : (m->ctx_train < DEFAULT_CTX ? m->ctx_train : DEFAULT_CTX);
}

/* What all matrices take packed. The embedding is packed only where it is the output too; what
 * is left out of the file is none. */
static size_t measure_weights(const loader *o)
{
    size_t (*const bytes_of)(const gguf_tensor *) = o->exact ? matrix_exact_bytes
                                                             : matrix_bytes;
    const gguf_tensor *embedding = gguf_find(o->g, "token_embd.weight");
    const gguf_tensor *output = gguf_find(o->g, "output.weight");
    const gguf_tensor last = output ? loader_rows(output, 0, o->m->V) : o->m->embedding;
    size_t bytes = o->m->both_ways ? 0 : bytes_of(&last);

    for (size_t i = 0; i < gguf_tensors(o->g); i++) {
        const gguf_tensor *t = gguf_tensor_at(o->g, i);
        const bool gate = load_ffn_is_gate(t); /* a matrix of one row, written as a vector */
        const gguf_tensor rows = gate ? loader_rows(t, 0, 1) : *t;

        if (t != embedding && t != output && !loader_leaves_out(o, t->name) &&
            !load_encoder_reads_rows(t) && (gate || !loader_is_vector(t)))
            bytes += bytes_of(&rows);
    }
    return bytes;
}

/* Widths that no tensor has would be measured as if they were true. */
static err check_widths(loader *o)
{
    const model *m = o->m;
    const bool fused = loader_look_part(o, fused_qkv) || m->arch->has & ARCH_FUSED;
    const size_t Q = m->H * m->C, rows = fused ? Q + 2 * m->E : Q;
    const gguf_tensor *t = NULL;

    return loader_find(o, loader_part(o, fused ? fused_qkv : "attn_q.weight"),
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
    TRY(model_read_windows(&m, &keys));
    m.ctx = choose_ctx(&m, options->ctx);
    m.weight_bytes = measure_weights(&o);
    m.widest_F = load_ffn_widest(&o);
    find_kv_kinds(&o);
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

static err open_all(loader *o, const model_options *options)
{
    model *m = o->m;
    arch_keys keys = {.g = o->g, .why = o->why};
    rope_rule rules[2];

    TRY(arch_of(o->g, &keys.arch, o->why));
    m->arch = keys.arch;
    TRY(model_read_sizes(m, &keys));
    TRY(find_embedding(o));
    if (gguf_tensors(o->g) < m->L) return arch_fault(&keys, ERR_RANGE, "block_count");
    TRY(check_widths(o));
    m->layers = calloc(m->L, sizeof *m->layers);
    m->vectors = malloc(loader_count_vectors(o) * sizeof *m->vectors);
    if (!m->layers || !m->vectors) return ERR_NOMEM;
    m->ctx = choose_ctx(m, options->ctx);
    m->widest_F = load_ffn_widest(o);
    find_kv_kinds(o);
    TRY(model_read_windows(m, &keys));
    TRY(model_read_positions(m, &keys, rules));
    TRY(open_ends(o, &keys));
    for (; o->layer < m->L; o->layer++) {
        TRY(open_layer(o));
        if (options->permille)
            atomic_store(options->permille, (unsigned)(1000 * (o->layer + 1) / m->L));
    }
    TRY(loader_check_seen(o));
    m->weight_type = find_weight_type(o->g);
    TRY(model_open_ropes(m, rules));
    return key_scale_open(m);
}

err model_open_with(model **out, const gguf *g, const model_options *o, fault *why)
{
    model *m = calloc(1, sizeof *m);
    uint8_t *seen = calloc(gguf_tensors(g) + 1, 1);
    loader in = {.m = m, .g = g, .why = why, .exact = o->exact_products, .seen = seen};
    const err e = m && seen ? open_all(&in, o) : ERR_NOMEM;

    free(seen);
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
