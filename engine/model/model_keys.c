/* model_keys.c - sizes, scales, windows and angles, key by key.
 *
 * Where a file is silent, the default is what the reference implementation of that architecture
 * assumes (llama.cpp's loader; Hugging Face's configuration of the family), not what is usual.
 * Bounds are far above any model there is, and low enough that no product of two of them
 * overflows: they are what a fuzzed file meets. */
#include "engine/model/model_keys.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_LAYERS = MODEL_MAX_LAYERS,
    MAX_WIDTH = 1 << 20,
    MAX_CTX = 1 << 24,
    MAX_EXPERTS = 4096
};

enum { BOOL = 7 }; /* the file's value type of a list of yes and no */

static const char dimension_key[] = "rope.dimension_count", base_key[] = "rope.freq_base";
static const double max_base = 1e12, max_factor = 1e6;

/* --- sizes --- */

static err read_heads(model *m, const arch_keys *k)
{
    const size_t C = m->D % m->H ? 0 : m->D / m->H; /* 0: the file must say */
    size_t value;

    TRY(arch_size(k, "attention.key_length", C, MAX_WIDTH, &m->C));
    if (m->C > MAX_WIDTH / m->H) return arch_fault(k, ERR_RANGE, "attention.head_count");
    if (m->C % 2) return arch_fault(k, ERR_RANGE, "attention.key_length");
    TRY(arch_size(k, "attention.value_length", m->C, MAX_WIDTH, &value));
    if (value != m->C) return arch_fault(k, ERR_RANGE, "attention.value_length");
    m->E = m->G * m->C;
    return ERR_OK;
}

/* Numbers of expert_gating_func, as files have them. */
static err read_gate(model *m, const arch_keys *k)
{
    static const char key[] = "expert_gating_func";
    static const experts_gate gates[] = {
        [1] = EXPERTS_SOFTMAX, [2] = EXPERTS_SIGMOID, [3] = EXPERTS_CHOSEN};
    size_t number;

    m->rule.gate = k->arch->has & ARCH_SIGMOID  ? EXPERTS_SIGMOID
                   : k->arch->has & ARCH_CHOSEN ? EXPERTS_CHOSEN
                                                : EXPERTS_SOFTMAX;
    TRY(arch_count(k, key, 1000, &number));
    if (number > 3) return arch_fault(k, ERR_RANGE, key);
    if (number) m->rule.gate = gates[number];
    return ERR_OK;
}

/* A scale of 0 is what files without one have. */
static err read_choice(model *m, const arch_keys *k)
{
    double scale = 0;

    m->rule.sum = !(k->arch->has & ARCH_UNSUMMED);
    TRY(read_gate(m, k));
    TRY(arch_bool(k, "expert_weights_norm", &m->rule.sum));
    TRY(arch_plain(k, "expert_weights_scale", 0, 1e6, &scale));
    m->rule.scale = scale != 0 ? (float)scale : 1;
    return ERR_OK;
}

/* A qwen3moe file's feed_forward_length may be that of all used experts together; where one
 * expert's is given, that counts. */
static err read_experts(model *m, const arch_keys *k)
{
    if (k->arch->has & ARCH_EXPERTS)
        TRY(arch_size(k, "expert_count", 0, MAX_EXPERTS, &m->X));
    else
        TRY(arch_count(k, "expert_count", MAX_EXPERTS, &m->X));
    if (!m->X) return ERR_OK;
    TRY(arch_count(k, "leading_dense_block_count", MAX_LAYERS, &m->dense_layers));
    TRY(arch_size(k, "interleave_moe_layer_step", 1, MAX_LAYERS, &m->expert_step));
    TRY(arch_size(k, "expert_used_count", 0, m->X, &m->rule.used));
    TRY(read_choice(m, k));
    m->expert_F = m->F;
    if (k->arch->has & ARCH_EXPERTS && m->F > m->rule.used) m->expert_F /= m->rule.used;
    return arch_size(k, "expert_feed_forward_length", m->expert_F, MAX_WIDTH, &m->expert_F);
}

/* Where the architecture has caps, or the file says so. */
static err read_cap(const arch_keys *k, const char *key, double otherwise, float *out)
{
    double cap;

    if (!(k->arch->has & ARCH_CAPS) && !arch_has_key(k, key)) return ERR_OK;
    TRY(arch_real(k, key, otherwise, 1e6, &cap));
    *out = (float)cap;
    return ERR_OK;
}

/* Gemma 2 of 27 B scales by D/H instead of C, and nothing in its file says so but its number
 * of layers (arch.def: wide). */
static err read_scales(model *m, const arch_keys *k)
{
    const bool wide = k->arch->wide == m->L;
    double score = 1 / sqrt((double)(wide ? m->D / m->H : m->C)), residual;
    double embedding = k->arch->has & ARCH_EMBED_SCALE ? (double)sqrtf((float)m->D) : 1;

    TRY(arch_real(k, "attention.scale", score, 1e6, &score));
    TRY(arch_real(k, "embedding_scale", embedding, 1e6, &embedding));
    TRY(arch_real(k, "residual_scale", 1, 1e6, &residual));
    m->score_scale = (float)score;
    m->embed_scale = (float)embedding;
    m->residual_scale = (float)residual;
    TRY(read_cap(k, "attn_logit_softcapping", 50, &m->score_cap));
    return read_cap(k, "final_logit_softcapping", 30, &m->logit_cap);
}

/* Queries grow with the logarithm of the position. Llama 4's files say nothing of it; Mistral's
 * begins where the trained context ends. */
static err read_temper(model *m, const arch_keys *k)
{
    const bool always = k->arch->has & ARCH_TEMPERED;
    size_t original;

    TRY(arch_size(k, "rope.scaling.original_context_length", m->ctx_train, MAX_CTX, &original));
    TRY(arch_plain(k, "attention.temperature_scale", always ? 0.1 : 0, 1e6, &m->temper));
    TRY(arch_size(k, "attention.temperature_length", always ? 8192 : original, MAX_CTX,
                  &m->temper_floor));
    m->temper_offset = always;
    return ERR_OK;
}

static err refuse_keys(const arch_keys *k)
{
    static const struct {
        const char *key;
        double plain;
    } refused[] = {
#define REFUSED(key, plain) {key, plain},
#include "engine/model/arch_refused.def"
#undef REFUSED
    };

    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        TRY(arch_refuse(k, refused[i].key, refused[i].plain));
    return ERR_OK;
}

/* Layers that only guess the tokens after the next one are the last, and are left out. */
static err read_layers(model *m, const arch_keys *k)
{
    static const char key[] = "nextn_predict_layers";
    size_t guessing;

    TRY(arch_size(k, "block_count", 0, MAX_LAYERS, &m->L));
    TRY(arch_count(k, key, MAX_LAYERS, &guessing));
    if (guessing >= m->L) return arch_fault(k, ERR_RANGE, key);
    m->L -= guessing;
    return ERR_OK;
}

/* Which keys a query sees, and what becomes of a text's rows. A reranker's head (4) is another
 * kind of answer; 0, that every row stays, is what is not asked for here. */
static err read_reading(model *m, const arch_keys *k)
{
    static const char key[] = "pooling_type";
    static const model_pooling kinds[] = {
        [1] = MODEL_MEAN, [2] = MODEL_FIRST, [3] = MODEL_LAST};
    bool causal = !(k->arch->has & ARCH_ENCODER);
    size_t kind;

    TRY(arch_bool(k, "attention.causal", &causal));
    TRY(arch_count(k, key, 1000, &kind));
    if (kind > 3) return arch_fault(k, ERR_PART, key);
    m->both_ways = !causal;
    m->makes_vectors = !causal || kind;
    m->erf = k->arch->has & ARCH_ENCODER && k->arch->has & ARCH_UNGATED;
    m->pooling = kind ? kinds[kind] : causal ? MODEL_LAST : MODEL_MEAN;
    return ERR_OK;
}

/* In this order, since later keys have earlier sizes as their defaults and bounds. */
err model_read_sizes(model *m, const arch_keys *k)
{
    double eps;

    TRY(refuse_keys(k));
    TRY(read_layers(m, k));
    TRY(arch_size(k, "embedding_length", 0, MAX_WIDTH, &m->D));
    TRY(arch_size(k, "feed_forward_length", 0, MAX_WIDTH, &m->F));
    TRY(arch_size(k, "context_length", 0, MAX_CTX, &m->ctx_train));
    TRY(arch_size(k, "attention.head_count", 0, MAX_WIDTH, &m->H));
    TRY(arch_size(k, "attention.head_count_kv", m->H, m->H, &m->G));
    if (m->H % m->G) return arch_fault(k, ERR_RANGE, "attention.head_count_kv");
    TRY(read_heads(m, k));
    TRY(read_experts(m, k));
    TRY(read_scales(m, k));
    TRY(read_temper(m, k));
    TRY(read_reading(m, k));
    TRY(arch_real(k,
                  k->arch->has & ARCH_LAYER_NORM ? "attention.layer_norm_epsilon"
                                                 : "attention.layer_norm_rms_epsilon",
                  1e-5, 1, &eps));
    m->eps = (float)eps;
    return ERR_OK;
}

/* --- windows --- */

/* In the layer too, where there are layers: a model that is only measured has none. */
static void set_window(model *m, size_t l, size_t window)
{
    m->window = window;
    m->windowed[l / 8] |= (uint8_t)(1 << l % 8);
    if (m->layers) m->layers[l].window = window;
}

/* The list form of the pattern: does a window slide over layer l? True means a window. The
 * list is read where it lies; bytes other than 0 and 1 were refused when the file was
 * opened. */
static err read_list(model *m, const arch_keys *k, const char *key, size_t window)
{
    char name[128];
    gguf_array list;

    snprintf(name, sizeof name, "%s.%s", k->arch->name, key);
    if (gguf_get_array(k->g, name, &list) != ERR_OK || list.type != BOOL)
        return err_blame(k->why, ERR_KEYTYPE, name);
    if (list.n < m->L) return err_blame(k->why, ERR_RANGE, name);
    for (size_t l = 0; l < m->L; l++)
        if (((const uint8_t *)list.data)[l]) set_window(m, l, window);
    return ERR_OK;
}

/* A window of 0 keys is none, but where the architecture is built around it. Those that begin
 * at multiples of their length have to hold whole blocks. */
err model_read_windows(model *m, const arch_keys *k)
{
    static const char key[] = "attention.sliding_window",
                      pattern[] = "attention.sliding_window_pattern";
    const bool chunked = k->arch->has & ARCH_CHUNKED;
    size_t window, period;

    if (k->arch->window && !(chunked && arch_has_key(k, key)))
        TRY(arch_size(k, key, k->arch->window, MAX_CTX, &window));
    else
        TRY(arch_count(k, key, SIZE_MAX, &window));
    if (!window) return ERR_OK;
    if (chunked && window % KERN_KEYS) return arch_fault(k, ERR_RANGE, key);
    if (window > MAX_CTX) window = MAX_CTX; /* no context is longer */
    if (arch_count(&(arch_keys){k->g, k->arch, NULL}, pattern, MAX_LAYERS, &period) ==
        ERR_KEYTYPE)
        return read_list(m, k, pattern, window);
    TRY(arch_count(k, pattern, MAX_LAYERS, &period));
    if (!arch_has_key(k, pattern)) period = k->arch->period;
    for (size_t l = 0; l < m->L; l++)
        if (!period || l % period != period - 1) set_window(m, l, window);
    return ERR_OK;
}

/* --- angles --- */

static bool is_word(gguf_text text, const char *word)
{
    return text.n == strlen(word) && memcmp(text.at, word, text.n) == 0;
}

/* Defaults are the paper's: 32 and 1 turns are where pairs keep their angle, and where they
 * are scaled. */
static err read_yarn(const model *m, const arch_keys *k, rope_rule *r)
{
    TRY(arch_real(k, "rope.scaling.yarn_ext_factor", 1, 1, &r->blend));
    TRY(arch_real(k, "rope.scaling.yarn_beta_fast", 32, max_factor, &r->fast));
    TRY(arch_real(k, "rope.scaling.yarn_beta_slow", 1, max_factor, &r->slow));
    TRY(arch_plain(k, "rope.scaling.yarn_log_multiplier", 0, max_factor, &r->all));
    r->smooth = k->arch->has & ARCH_SMOOTH_YARN;
    return arch_real(k, "rope.scaling.original_context_length", (double)m->ctx_train,
                     (double)MAX_CTX, &r->original);
}

/* rope.scale_linear is what files had before rope.scaling.factor; the newer key wins. A type
 * that is not known is refused: wrong angles give fluent nonsense. */
static err read_scaling(const model *m, const arch_keys *k, rope_rule *r)
{
    static const char type_key[] = "rope.scaling.type";
    double factor = 1;
    gguf_text type;

    TRY(arch_text(k, type_key, &type));
    TRY(arch_real(k, "rope.scaling.attn_factor", 1, max_factor, &r->size));
    if (arch_has_key(k, "rope.scaling.factor"))
        TRY(arch_real(k, "rope.scaling.factor", 1, max_factor, &factor));
    else
        TRY(arch_real(k, "rope.scale_linear", 1, max_factor, &factor));
    r->scale = 1 / factor;
    if (is_word(type, "yarn")) return read_yarn(m, k, r);
    if (is_word(type, "none")) r->scale = 1;
    if (type.n && !is_word(type, "none") && !is_word(type, "linear") &&
        !is_word(type, "longrope"))
        return arch_fault(k, ERR_RANGE, type_key);
    return ERR_OK;
}

/* Factors of frequencies [n/2]: one list for every length, or one for contexts within the
 * original length and one for longer ones. None: NULL. */
static err read_factors(const model *m, const arch_keys *k, rope_rule *r)
{
    const char *name = "rope_freqs.weight";
    const gguf_tensor *t = gguf_find(k->g, name);
    size_t original;

    if (!t) {
        TRY(arch_size(k, "rope.scaling.original_context_length", m->ctx_train, MAX_CTX,
                      &original));
        name = m->ctx > original ? "rope_factors_long.weight" : "rope_factors_short.weight";
        t = gguf_find(k->g, name);
    }
    if (!t) return ERR_OK;
    if (t->n_dims != 1 || t->dim[0] != r->n / 2) return err_blame(k->why, ERR_SHAPE, name);
    if (t->type != GGUF_F32) return err_blame(k->why, ERR_TENSORTYPE, name);
    r->factors = t->data;
    for (size_t i = 0; i < r->n / 2; i++)
        if (!(r->factors[i] > 0 && r->factors[i] < 1e9f))
            return err_blame(k->why, ERR_RANGE, name);
    return ERR_OK;
}

/* A base of 1 or less would turn all pairs alike. */
static err read_rule(const model *m, const arch_keys *k, rope_rule *r)
{
    *r = (rope_rule){.halves = k->arch->has & ARCH_HALVES, .scale = 1, .size = 1};
    TRY(arch_size(k, dimension_key, m->C, m->C, &r->n));
    if (r->n % 2) return arch_fault(k, ERR_RANGE, dimension_key);
    TRY(arch_real(k, base_key, 10000, max_base, &r->base));
    if (r->base <= 1) return arch_fault(k, ERR_RANGE, base_key);
    TRY(read_scaling(m, k, r));
    return read_factors(m, k, r);
}

/* Whether a key says that positions do not rotate: granite's is a switch, others' says nothing
 * of the kind. */
static err read_rotation(const arch_keys *k, bool *rotates)
{
    bool said = true;

    TRY(arch_bool(k, "rope.scaling.finetuned", &said));
    *rotates = said || !(k->arch->has & ARCH_DIVIDED);
    return ERR_OK;
}

/* Which angles each layer follows. */
static void choose_ropes(model *m, bool local)
{
    const bool last = m->arch->has & ARCH_NOPE, wide = m->arch->has & ARCH_WIDE_NOPE;
    const size_t period = m->arch->period;
    bool windows = false;

    for (size_t l = 0; l < m->L; l++) windows |= m->layers[l].window > 0;
    for (size_t l = 0; l < m->L; l++) {
        model_layer *layer = &m->layers[l];
        const bool still = (last && l % period == period - 1) ||
                           (wide && windows && !layer->window);

        layer->rope_kind = still                    ? MODEL_NO_ROPE
                           : local && layer->window ? MODEL_LOCAL_ROPE
                                                    : MODEL_ROPE;
    }
}

/* Layers with a window may have rules of their own: another base, and in Gemma 3 and OLMo 3 no
 * scaling, which is what the others were stretched by. */
err model_read_positions(model *m, const arch_keys *k, rope_rule *rules)
{
    static const char base[] = "rope.freq_base_swa";
    const bool local = k->arch->has & ARCH_LOCAL_ROPE, plain = k->arch->has & ARCH_LOCAL_PLAIN;
    rope_rule *own = &rules[1];
    bool rotates;

    TRY(read_rule(m, k, &rules[0]));
    TRY(read_rotation(k, &rotates));
    if (!rotates) rules[0].n = 0;
    *own = rules[0];
    if (local || plain)
        *own = (rope_rule){.n = rules[0].n, .halves = rules[0].halves, .scale = 1, .size = 1};
    TRY(arch_real(k, base, local ? 10000 : rules[0].base, max_base, &own->base));
    if (own->base <= 1) return arch_fault(k, ERR_RANGE, base);
    if (!local && !plain && own->base == rules[0].base) own->n = 0;
    choose_ropes(m, own->n > 0);
    return ERR_OK;
}

/* Layers share tables: at 131,072 positions one has 64 MB for a head of 64. */
err model_open_ropes(model *m, const rope_rule *rules)
{
    TRY(rope_open(&m->ropes[MODEL_ROPE], &rules[0], m->ctx));
    if (rules[1].n) TRY(rope_open(&m->ropes[MODEL_LOCAL_ROPE], &rules[1], m->ctx));
    TRY(rope_open(&m->ropes[MODEL_NO_ROPE], &(rope_rule){.scale = 1, .size = 1}, m->ctx));
    for (size_t l = 0; l < m->L; l++) m->layers[l].rope = &m->ropes[m->layers[l].rope_kind];
    return ERR_OK;
}
