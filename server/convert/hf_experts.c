/* hf_experts.c - experts by config.json.
 *
 * Each family has names of its own for the same few numbers; where several are known, the first
 * that the file has counts. What would choose or place experts otherwise than loaders do is
 * refused by its name. */
#include "server/convert/hf_experts.h"

#include <stdio.h>

#include "server/convert/hf_archs.h"

enum { MOST = 4096, WIDEST = 1 << 20 };

/* The first of these members that is there; 0: none is. */
static bool read_first(const cJSON *config, const char *const names[3], int64_t most,
                       size_t *out, fault *why)
{
    int64_t value = 0;

    for (int i = 0; i < 3 && names[i] && value == 0; i++)
        if (!json_get_int(config, names[i], 0, most, &value, why)) return false;
    *out = (size_t)value;
    return true;
}

static bool read_counts(hf_experts *e, const cJSON *config, fault *why)
{
    static const char *const counts[] = {"num_experts", "num_local_experts",
                                         "n_routed_experts"};
    static const char *const used[] = {"num_experts_per_tok", NULL, NULL};

    if (!read_first(config, counts, MOST, &e->X, why) ||
        !read_first(config, used, MOST, &e->used, why))
        return false;
    if (e->X && e->used && e->used <= e->X) return true;
    return fault_refuse(why, ERR_JSON, NULL, "%s: %zu of %zu experts cannot be used",
                        e->X ? "num_experts_per_tok" : counts[0], e->used, e->X);
}

static bool read_widths(hf_experts *e, unsigned arch, const cJSON *config, fault *why)
{
    static const char *const widths[] = {"moe_intermediate_size", "intermediate_size", NULL};
    static const char *const shared[] = {"shared_expert_intermediate_size",
                                         "shared_intermediate_size", NULL};
    int64_t many = 1;

    if (!read_first(config, widths, WIDEST, &e->F, why) ||
        !read_first(config, shared, WIDEST, &e->shared, why) ||
        !json_get_int(config, "n_shared_experts", 0, 64, &many, why))
        return false;
    if (e->F == 0) return fault_refuse(why, ERR_JSON, NULL, "moe_intermediate_size is missing");
    if (arch & HF_GLM4MOE) e->shared = (size_t)many * e->F;
    if (arch & HF_LLAMA4) e->shared = e->F;
    if (arch & HF_QWEN2MOE && !e->shared)
        return fault_refuse(why, ERR_JSON, NULL, "shared_expert_intermediate_size is missing");
    return true;
}

/* Qwen's could be anywhere; no key says so. */
static bool read_places(hf_experts *e, unsigned arch, const cJSON *config, fault *why)
{
    int64_t dense = 0, step = 1, sparse = 1, guessing = 0;

    if (!json_get_int(config, "first_k_dense_replace", 0, MOST, &dense, why) ||
        !json_get_int(config, "interleave_moe_layer_step", 1, MOST, &step, why) ||
        !json_get_int(config, "decoder_sparse_step", 1, MOST, &sparse, why) ||
        !json_get_int(config, "num_nextn_predict_layers", 0, 16, &guessing, why))
        return false;
    if (sparse != 1 || cJSON_GetArraySize(json_get(config, "mlp_only_layers")) > 0)
        return fault_refuse(why, ERR_JSON, NULL, "%s is not supported",
                            sparse != 1 ? "decoder_sparse_step" : "mlp_only_layers");
    e->dense = arch & HF_GLM4MOE ? (size_t)dense : 0;
    e->step = arch & HF_LLAMA4 ? (size_t)step : 1;
    e->guessing = (size_t)guessing;
    return true;
}

static bool check_groups(const cJSON *config, fault *why)
{
    int64_t groups = 1;

    if (!json_get_int(config, "n_group", 0, MOST, &groups, why)) return false;
    return groups <= 1 || fault_refuse(why, ERR_JSON, NULL, "n_group %lld is not supported",
                                       (long long)groups);
}

bool hf_experts_read(hf_experts *e, unsigned arch, const cJSON *config, fault *why)
{
    *e = (hf_experts){.summed = arch & HF_GLM4MOE}; /* its class's default; qwen's is not */
    if (!(arch & HF_CROWDS)) return true;
    e->said = arch & (HF_QWEN2MOE | HF_QWEN3MOE | HF_GLM4MOE);
    return read_counts(e, config, why) && read_widths(e, arch, config, why) &&
           read_places(e, arch, config, why) && check_groups(config, why) &&
           json_get_bool(config, "norm_topk_prob", &e->summed, why);
}

bool hf_experts_in(const hf_experts *e, size_t l)
{
    return e->X && l >= e->dense && (l + 1) % e->step == 0;
}

static void write_count(gguf_writer *w, const char *arch, const char *key, size_t value)
{
    char name[128];

    snprintf(name, sizeof name, "%s.%s", arch, key);
    gguf_write_u32(w, name, (uint32_t)value);
}

void hf_experts_write(const hf_experts *e, unsigned arch, const char *name, gguf_writer *w)
{
    char key[128];

    if (!e->X) return;
    write_count(w, name, "expert_count", e->X);
    write_count(w, name, "expert_used_count", e->used);
    write_count(w, name, "expert_feed_forward_length", e->F);
    if (e->shared) write_count(w, name, "expert_shared_feed_forward_length", e->shared);
    if (arch & HF_GLM4MOE) write_count(w, name, "expert_shared_count", e->shared / e->F);
    /* numbers of llama.cpp: 2 is the sigmoid; the others' is what loaders take for granted */
    if (arch & (HF_GLM4MOE | HF_MINIMAX_M2)) write_count(w, name, "expert_gating_func", 2);
    if (!e->said) return;
    snprintf(key, sizeof key, "%s.expert_weights_norm", name);
    gguf_write_bool(w, key, e->summed);
}
