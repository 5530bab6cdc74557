/* hf_config.c - reads config.json.
 *
 * A member of config.json is one of three: a number that becomes a key as it is (hf_keys.def);
 * a size or a part of the rotary positions, which is read into hf_config; or something that
 * loaders of GGUF take for granted, and that is refused by name where it is otherwise. What is
 * in none of them does not change the numbers. The file has grown for years: the same thing has
 * two or three names, and the newer one wins. */
#include "server/convert/hf_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* LARGEST: 64 times the largest vocabulary of today, and far more than any width. */
enum { LARGEST = 1 << 24 };

typedef struct arch_row {
    const char *arch, *activation;
    double theta;
} arch_row;

static const arch_row archs[HF_ARCHS] = {
#define HF_ARCH(name, arch, activation, theta) {arch, activation, theta},
#include "server/convert/hf_archs.def"
#undef HF_ARCH
};

typedef struct class_row {
    const char *name, *text; /* text: the model_type that it must have; NULL: any */
    unsigned arch;           /* its row */
} class_row;

static const class_row classes[] = {
#define HF_CLASS(class_name, text, name) {class_name, text, HF_ROW_##name},
#include "server/convert/hf_classes.def"
#undef HF_CLASS
};

/* --- the architecture --- */

static const class_row *find_class(const hf_folder *f, fault *why)
{
    const cJSON *list = json_get(f->config, "architectures");
    const cJSON *name = cJSON_IsArray(list) ? cJSON_GetArrayItem(list, 0) : NULL;
    const char *text = "";
    bool known = false;

    if (!cJSON_IsString(name)) {
        fault_refuse(why, ERR_JSON, NULL, "it names no architecture");
        return NULL;
    }
    if (!json_get_string(f->config, "model_type", &text, why)) return NULL;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strcmp(classes[i].name, name->valuestring) != 0) continue;
        if (!classes[i].text || strcmp(classes[i].text, text) == 0) return &classes[i];
        known = true;
    }
    fault_refuse(why, ERR_JSON, NULL, "architecture %s%s%s is not supported", name->valuestring,
                 known ? " of text model " : "", known ? text : "");
    return NULL;
}

/* Members that published files leave out because the code of their class has them. */
static bool add_defaults(hf_folder *f, unsigned bit, fault *why)
{
    static const struct {
        unsigned archs;
        const char *name;
        double value;
    } rows[] = {
#define HF_DEFAULT(archs, name, value) {archs, #name, value},
#include "server/convert/hf_defaults.def"
#undef HF_DEFAULT
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!(rows[i].archs & bit) || json_get(f->config, rows[i].name)) continue;
        cJSON_DeleteItemFromObjectCaseSensitive(f->config, rows[i].name);
        if (!cJSON_AddNumberToObject(f->config, rows[i].name, rows[i].value))
            return fault_refuse(why, ERR_JSON, NULL, "out of memory");
    }
    return true;
}

/* What would change the numbers, and no key says. */
static bool check_ways(const hf_folder *f, const arch_row *a, fault *why)
{
    /* gemma's newer name first: its files keep an older one that their code no longer reads. */
    static const char *const names[] = {"hidden_activation", "hidden_act"};
    const char *act = NULL;

    for (size_t i = 0; i < 2 && !act; i++)
        if (!json_get_string(f->config, names[i], &act, why)) return false;
    /* the first gemmas were published with a name that their code has never meant */
    if (act && strcmp(act, "gelu") == 0 && strcmp(a->arch, "gemma") == 0) act = NULL;
    if (act && strcmp(act, a->activation) != 0)
        return fault_refuse(why, ERR_JSON, NULL, "activation %s is not supported (%s is)", act,
                            a->activation);
    return true;
}

/* --- sizes --- */

/* At least 1 and no larger than any real model, so that products of two sizes cannot overflow.
 */
static bool read_size(const hf_folder *f, const char *name, size_t otherwise, size_t *out,
                      fault *why)
{
    int64_t value = (int64_t)otherwise;

    if (!json_get_int(f->config, name, 1, LARGEST, &value, why)) return false;
    if (value == 0) return fault_refuse(why, ERR_JSON, NULL, "%s is missing", name);
    *out = (size_t)value;
    return true;
}

/* A file without num_key_value_heads is older than grouped heads: each has its own. */
static bool read_heads(hf_config *c, const hf_folder *f, fault *why)
{
    if (!read_size(f, "num_attention_heads", 0, &c->H, why) ||
        !read_size(f, "num_key_value_heads", c->H, &c->G, why) ||
        !read_size(f, "head_dim", c->D % c->H ? 0 : c->D / c->H, &c->C, why))
        return false;
    if (c->H % c->G)
        return fault_refuse(why, ERR_JSON, NULL, "%zu heads cannot share %zu keys and values",
                            c->H, c->G);
    /* Rotary positions turn numbers in pairs. */
    if (c->C % 2 || c->C / 2 > HF_ROPE_MAX)
        return fault_refuse(why, ERR_JSON, NULL, "head_dim %zu is not supported", c->C);
    c->E = c->G * c->C;
    return true;
}

/* What has no key because loaders derive it from the sizes: the softmax's scale, and which
 * layers of gemma3 look back only so far. */
static bool check_gemma(const hf_config *c, const hf_folder *f, fault *why)
{
    double scale = (double)c->C;
    int64_t pattern = 6;

    if (!(c->bit & (HF_GEMMA2 | HF_GEMMA3))) return true;
    if (!json_get_number(f->config, "query_pre_attn_scalar", 1, 65536, &scale, why) ||
        !json_get_int(f->config, "sliding_window_pattern", 1, INT32_MAX, &pattern, why))
        return false;
    /* the two that loaders know: by the head, and gemma2-27b's by the model */
    if (scale != (double)c->C && scale != (double)c->D / (double)c->H)
        return fault_refuse(why, ERR_JSON, NULL, "query_pre_attn_scalar %g is not supported",
                            scale);
    if (pattern != 6)
        return fault_refuse(why, ERR_JSON, NULL, "sliding_window_pattern %lld is not supported",
                            (long long)pattern);
    return true;
}

/* Is every item of the list what the last of each `period` layers is, and no other? */
static bool is_periodic(const cJSON *list, size_t period, const char *word)
{
    const cJSON *item;
    size_t l = 0;

    cJSON_ArrayForEach (item, list) {
        const bool last = l++ % period == period - 1;
        const bool is = word ? cJSON_IsString(item) && !strcmp(item->valuestring, word)
                             : cJSON_IsNumber(item) && item->valuedouble == 0;

        if (is != last) return false;
    }
    return true;
}

/* Which layers see all keys, or have no rotary positions: loaders know the last of each four,
 * of gpt-oss the last of two. */
static bool check_layers(const hf_config *c, const hf_folder *f, fault *why)
{
    static const char types[] = "layer_types", turning[] = "no_rope_layers";
    const unsigned typed = HF_COHERE2 | HF_OLMO2 | HF_EXAONE4 | HF_GPT_OSS | HF_LLAMA4;
    const size_t period = c->bit & HF_GPT_OSS ? 2 : 4;
    const bool windows = c->bit & HF_LLAMA4 || json_get(f->config, "sliding_window");

    if (c->bit & (HF_SMOLLM3 | HF_LLAMA4) &&
        !is_periodic(json_get(f->config, turning), 4, NULL))
        return fault_refuse(why, ERR_JSON, NULL, "%s other than every fourth is not supported",
                            turning);
    if (c->bit & typed && windows &&
        !is_periodic(json_get(f->config, types), period, "full_attention"))
        return fault_refuse(why, ERR_JSON, NULL, "%s other than every %s is not supported",
                            types, period == 2 ? "second" : "fourth");
    return true;
}

/* What these two have always, so that no key says it. */
static bool check_switches(const hf_config *c, const hf_folder *f, fault *why)
{
    static const struct {
        unsigned archs;
        const char *name;
        bool must;
    } rows[] = {{HF_APERTUS | HF_MINIMAX_M2, "use_qk_norm", true},
                {HF_LLAMA4, "attn_temperature_tuning", true},
                {HF_LLAMA4 | HF_GRANITE | HF_GRANITEMOE, "mlp_bias", false}};
    const bool plain = c->bit & HF_LLAMA4 && c->experts.X == 128;
    bool normed = !plain;
    double limit = 7, slope = 1.702;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool is = rows[i].must;

        if (!(rows[i].archs & c->bit)) continue;
        if (!json_get_bool(f->config, rows[i].name, &is, why)) return false;
        if (is != rows[i].must)
            return fault_refuse(why, ERR_JSON, NULL, "%s %s is not supported", rows[i].name,
                                is ? "true" : "false");
    }
    if (c->bit & HF_LLAMA4 && !json_get_bool(f->config, "use_qk_norm", &normed, why))
        return false;
    if (normed == plain)
        return fault_refuse(why, ERR_JSON, NULL,
                            "use_qk_norm with %zu experts is not supported", c->experts.X);
    if (c->bit & HF_GPT_OSS &&
        (!json_get_number(f->config, "swiglu_limit", 0, 1e6, &limit, why) ||
         !json_get_number(f->config, "swiglu_alpha", 0, 1e6, &slope, why)))
        return false;
    if (limit != 7 || slope != 1.702)
        return fault_refuse(why, ERR_JSON, NULL, "swiglu_limit %g is not supported", limit);
    return true;
}

/* Sliding windows that the architecture's keys cannot say. */
static bool read_window(hf_config *c, const hf_folder *f, fault *why)
{
    bool used = c->bit & (HF_LLAMA | HF_MIXTRAL);
    const unsigned windowless = HF_LLAMA | HF_MIXTRAL | HF_QWEN2 | HF_QWEN3 | HF_QWEN2MOE |
                                HF_QWEN3MOE;
    int64_t window = 0, context = 0;

    if (!json_get_bool(f->config, "use_sliding_window", &used, why) ||
        !json_get_int(f->config, "sliding_window", 0, INT32_MAX, &window, why) ||
        !json_get_int(f->config, "max_position_embeddings", 0, INT32_MAX, &context, why))
        return false;
    if (used && window && window < context && (c->bit & windowless)) c->window = (size_t)window;
    return true;
}

static bool read_sizes(hf_config *c, const hf_folder *f, fault *why)
{
    const char *dense = c->bit & HF_LLAMA4 ? "intermediate_size_mlp" : "intermediate_size";

    return read_size(f, "hidden_size", 0, &c->D, why) &&
           read_size(f, "num_hidden_layers", 0, &c->L, why) &&
           read_size(f, dense, 0, &c->F, why) && read_size(f, "vocab_size", 0, &c->V, why) &&
           read_heads(c, f, why) && hf_experts_read(&c->experts, c->bit, f->config, why) &&
           check_gemma(c, f, why) && check_layers(c, f, why) && check_switches(c, f, why) &&
           read_window(c, f, why) &&
           json_get_bool(f->config, "tie_word_embeddings", &c->tied, why);
}

/* --- rotary positions --- */

static bool read_factors(const cJSON *rope, const char *name, size_t n, float *out, fault *why)
{
    const cJSON *list = json_get(rope, name), *item;
    size_t i = 0;

    if (!cJSON_IsArray(list) || (size_t)cJSON_GetArraySize(list) != n)
        return fault_refuse(why, ERR_JSON, NULL, "%s must be %zu numbers", name, n);
    cJSON_ArrayForEach (item, list) {
        if (!cJSON_IsNumber(item) || !(item->valuedouble > 0))
            return fault_refuse(why, ERR_JSON, NULL, "%s must be %zu numbers above 0", name, n);
        out[i++] = (float)item->valuedouble;
    }
    return true;
}

/* Wavelengths beyond the trained context are stretched by `factor`, those far below it are
 * not, and between them a straight line leads over (Llama 3.1). */
static bool read_llama3(hf_rope *r, const cJSON *rope, fault *why)
{
    double factor = 8, low = 1, high = 4, context = 8192;

    if (!json_get_number(rope, "factor", 1, 1e6, &factor, why) ||
        !json_get_number(rope, "low_freq_factor", 1e-6, 1e6, &low, why) ||
        !json_get_number(rope, "high_freq_factor", 1e-6, 1e6, &high, why) ||
        !json_get_number(rope, "original_max_position_embeddings", 1, 1e9, &context, why))
        return false;
    if (!(high > low))
        return fault_refuse(why, ERR_JSON, NULL,
                            "high_freq_factor is not above low_freq_factor");
    for (size_t i = 0; i < r->pairs; i++) {
        const double wave = 2 * M_PI * pow(r->base, (double)i / (double)r->pairs);
        const double turns = context / wave;
        const double share = fmin(fmax((turns - low) / (high - low), 0), 1);

        r->freqs[i] = (float)(1 / ((1 - share) / factor + share));
    }
    r->has_freqs = true;
    return true;
}

/* phi3: divisors are given outright, one list within the original context and one beyond it;
 * the softmax is sharpened by what its paper derives from the stretch. */
static bool read_longrope(hf_rope *r, const cJSON *rope, double context, fault *why)
{
    const double original = r->original_context;
    const double stretch = context / original;

    if (!read_factors(rope, "long_factor", r->pairs, r->longs, why) ||
        !read_factors(rope, "short_factor", r->pairs, r->shorts, why))
        return false;
    r->attn_factor = stretch > 1 ? sqrt(1 + log(stretch) / log(original)) : 1;
    r->has_longs = true;
    return true;
}

/* What scores grow by is 1 + ln(factor) / 10 in the file's readers; another growth is written
 * as a factor of that one. */
static bool read_yarn(hf_rope *r, const cJSON *rope, bool smooth, fault *why)
{
    double growth = 0, scale = 1;
    bool rounded = true;

    if (!json_get_bool(rope, "truncate", &rounded, why) ||
        !json_get_number(rope, "beta_fast", 0, 1e6, &r->fast, why) ||
        !json_get_number(rope, "beta_slow", 0, 1e6, &r->slow, why) ||
        !json_get_number(rope, "mscale", 0, 1e6, &scale, why) ||
        !json_get_number(rope, "mscale_all_dim", 0, 1e6, &r->all, why) ||
        !json_get_number(rope, "llama_4_scaling_beta", 0, 1e6, &r->temper, why) ||
        !json_get_number(rope, "attention_factor", 0, 1e6, &growth, why))
        return false;
    if (rounded == smooth || scale != 1)
        return fault_refuse(why, ERR_JSON, NULL, "yarn %s is not supported",
                            scale != 1 ? "with mscale"
                            : smooth   ? "without truncate: false"
                                       : "with truncate");
    if (growth > 0) {
        r->attn_factor = growth / (1 + 0.1 * log(r->factor));
        r->all = 0;
    }
    return true;
}

/* linear and yarn, whose other numbers loaders have as constants. */
static bool read_stretch(hf_config *c, const cJSON *rope, const char *scaling, double context,
                         fault *why)
{
    hf_rope *r = &c->rope;
    int64_t original = (int64_t)context;

    r->scaling = scaling;
    if (!json_get_number(rope, "factor", 1e-6, 1e6, &r->factor, why)) return false;
    if (!(r->factor > 0))
        return fault_refuse(why, ERR_JSON, NULL, "rope_scaling has no factor");
    if (strcmp(scaling, "linear") == 0) return true;
    if (!read_yarn(r, rope, c->bit & HF_GPT_OSS, why)) return false;
    original = (int64_t)(context / r->factor);
    if (!json_get_int(rope, "original_max_position_embeddings", 1, LARGEST, &original, why))
        return false;
    r->original_context = (uint32_t)original;
    return true;
}

static bool read_scaling(hf_config *c, const hf_folder *f, const cJSON *rope, fault *why)
{
    const char *type = "default";
    size_t context = 0, original = 0;

    if (!json_get_string(rope, "type", &type, why) ||
        !json_get_string(rope, "rope_type", &type, why) ||
        !read_size(f, "max_position_embeddings", 0, &context, why) ||
        !read_size(f, "original_max_position_embeddings", context, &original, why))
        return false;
    /* phi3's loaders want the key whether positions are scaled or not */
    if (c->bit & HF_PHI3) c->rope.original_context = (uint32_t)original;
    if (strcmp(type, "default") == 0) return true;
    if (strcmp(type, "linear") == 0)
        return read_stretch(c, rope, "linear", (double)context, why);
    if (strcmp(type, "yarn") == 0) return read_stretch(c, rope, "yarn", (double)context, why);
    if (strcmp(type, "llama3") == 0 &&
        (c->bit & (HF_LLAMA | HF_EXAONE4 | HF_LLAMA4 | HF_APERTUS)))
        return read_llama3(&c->rope, rope, why);
    if ((strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0) && (c->bit & HF_PHI3))
        return read_longrope(&c->rope, rope, (double)context, why);
    return fault_refuse(why, ERR_JSON, NULL, "rotary scaling '%s' is not supported for %s",
                        type, c->class_name);
}

/* Newer files have all of it in rope_parameters, gemma's once for each kind of layer. */
static bool read_rope(hf_config *c, const hf_folder *f, double theta, fault *why)
{
    const cJSON *all = json_get(f->config, "rope_parameters"), *rope, *local;
    double share = 1, turning = 0;

    if (!all) all = json_get(f->config, "rope_scaling");
    rope = json_get(all, "full_attention") ? json_get(all, "full_attention") : all;
    local = json_get(all, "sliding_attention");
    c->rope.base = theta;
    if (!json_get_number(f->config, "rope_theta", 1, 1e12, &c->rope.base, why) ||
        !json_get_number(rope, "rope_theta", 1, 1e12, &c->rope.base, why) ||
        !json_get_number(f->config, "partial_rotary_factor", 0, 1, &share, why) ||
        !json_get_number(rope, "partial_rotary_factor", 0, 1, &share, why) ||
        !json_get_number(f->config, "rotary_dim", 0, (double)c->C, &turning, why))
        return false;
    if (c->bit & HF_MINIMAX_M2 && turning > 0) share = turning / (double)c->C;
    if (c->bit & HF_GEMMA3) c->rope.local_base = 10000; /* its class's default */
    if (!json_get_number(f->config, "rope_local_base_freq", 1, 1e12, &c->rope.local_base,
                         why) ||
        !json_get_number(local, "rope_theta", 1, 1e12, &c->rope.local_base, why))
        return false;
    c->rope.pairs = (size_t)(share * (double)c->C) / 2;
    if (c->rope.pairs == 0)
        return fault_refuse(why, ERR_JSON, NULL, "no part of a head rotates");
    return read_scaling(c, f, rope, why);
}

bool hf_config_read(hf_config *c, hf_folder *f, fault *why)
{
    const class_row *named = find_class(f, why);
    const arch_row *a = named ? &archs[named->arch] : NULL;

    *c = (hf_config){0};
    if (!a || !check_ways(f, a, why)) return hf_folder_blame(why, "config.json");
    c->class_name = named->name;
    c->arch = a->arch;
    c->bit = 1u << named->arch;
    c->tied = c->bit & HF_TIED; /* unless it is said */
    if (f->wrapped) c->tied = !hf_folder_take(f, "lm_head.weight");
    return ((!f->wrapped || add_defaults(f, c->bit, why)) && read_sizes(c, f, why) &&
            read_rope(c, f, a->theta, why)) ||
           hf_folder_blame(why, "config.json");
}
