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

enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_CTX = 1 << 24, MAX_EXPERTS = 4096 };

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

/* A qwen3moe file's feed_forward_length may be that of all used experts together; where one
 * expert's is given, that counts. */
static err read_experts(model *m, const arch_keys *k)
{
    if (k->arch->has & ARCH_EXPERTS)
        TRY(arch_size(k, "expert_count", 0, MAX_EXPERTS, &m->X));
    else
        TRY(arch_count(k, "expert_count", MAX_EXPERTS, &m->X));
    if (!m->X) return ERR_OK;
    TRY(arch_size(k, "expert_used_count", 0, m->X, &m->used));
    if (k->arch->has & ARCH_EXPERTS) m->F /= m->used; /* until the file says so itself */
    return arch_size(k, "expert_feed_forward_length", m->F, MAX_WIDTH, &m->F);
}

/* Gemma 2 of 27 B scales by D/H instead of C, and nothing in its file says so but its number
 * of layers (arch.def: wide). */
static err read_scales(model *m, const arch_keys *k)
{
    const bool caps = k->arch->has & ARCH_CAPS, wide = k->arch->wide == m->L;
    double score = 1 / sqrt((double)(wide ? m->D / m->H : m->C)), cap;

    TRY(arch_real(k, "attention.scale", score, 1e6, &score));
    m->score_scale = (float)score;
    m->embed_scale = k->arch->has & ARCH_EMBED_SCALE ? sqrtf((float)m->D) : 1;
    if (caps) {
        TRY(arch_real(k, "attn_logit_softcapping", 50, 1e6, &cap));
        m->score_cap = (float)cap;
    }
    if (caps || arch_has_key(k, "final_logit_softcapping")) {
        TRY(arch_real(k, "final_logit_softcapping", 30, 1e6, &cap));
        m->logit_cap = (float)cap;
    }
    return ERR_OK;
}

/* In this order, since later keys have earlier sizes as their defaults and bounds. */
err model_read_sizes(model *m, const arch_keys *k)
{
    double eps;

    TRY(arch_size(k, "block_count", 0, MAX_LAYERS, &m->L));
    TRY(arch_size(k, "embedding_length", 0, MAX_WIDTH, &m->D));
    TRY(arch_size(k, "feed_forward_length", 0, MAX_WIDTH, &m->F));
    TRY(arch_size(k, "context_length", 0, MAX_CTX, &m->ctx_train));
    TRY(arch_size(k, "attention.head_count", 0, MAX_WIDTH, &m->H));
    TRY(arch_size(k, "attention.head_count_kv", m->H, m->H, &m->G));
    if (m->H % m->G) return arch_fault(k, ERR_RANGE, "attention.head_count_kv");
    TRY(read_heads(m, k));
    TRY(read_experts(m, k));
    TRY(read_scales(m, k));
    TRY(arch_real(k, "attention.layer_norm_rms_epsilon", 1e-5, 1, &eps));
    m->eps = (float)eps;
    return ERR_OK;
}

/* --- windows --- */

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
        m->layers[l].window = ((const uint8_t *)list.data)[l] ? window : 0;
    return ERR_OK;
}

/* A window of 0 keys is none, but where the architecture is built around it. */
static err read_windows(model *m, const arch_keys *k)
{
    static const char key[] = "attention.sliding_window",
                      pattern[] = "attention.sliding_window_pattern";
    size_t window, period;

    if (k->arch->window)
        TRY(arch_size(k, key, k->arch->window, MAX_CTX, &window));
    else
        TRY(arch_count(k, key, SIZE_MAX, &window));
    if (!window) return ERR_OK;
    if (window > MAX_CTX) window = MAX_CTX; /* no context is longer */
    if (arch_count(&(arch_keys){k->g, k->arch, NULL}, pattern, MAX_LAYERS, &period) ==
        ERR_KEYTYPE)
        return read_list(m, k, pattern, window);
    TRY(arch_count(k, pattern, MAX_LAYERS, &period));
    if (!arch_has_key(k, pattern)) period = k->arch->period;
    for (size_t l = 0; l < m->L; l++)
        m->layers[l].window = period && l % period == period - 1 ? 0 : window;
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

/* Gemma 3 has a second base for layers with a window, and no scaling there. */
err model_read_positions(model *m, const arch_keys *k, rope_rule *rules)
{
    rope_rule *own = &rules[1];

    TRY(read_windows(m, k));
    TRY(read_rule(m, k, &rules[0]));
    *own = (rope_rule){.halves = rules[0].halves, .scale = 1, .size = 1};
    if (!(k->arch->has & ARCH_LOCAL_ROPE)) return ERR_OK;
    own->n = rules[0].n;
    return arch_real(k, "rope.freq_base_swa", 10000, max_base, &own->base);
}

/* Layers share tables: at 131,072 positions one has 64 MB for a head of 64. */
err model_open_ropes(model *m, const rope_rule *rules)
{
    const bool local = rules[1].n;

    TRY(rope_open(&m->ropes[0], &rules[0], m->ctx));
    if (local) TRY(rope_open(&m->ropes[1], &rules[1], m->ctx));
    for (size_t l = 0; l < m->L; l++)
        m->layers[l].rope = &m->ropes[local && m->layers[l].window];
    return ERR_OK;
}
