/* random_parts.c - which tensors an architecture has, under the names that llama.cpp gives
 * them, and how large their numbers are. Written from its tables of names and Hugging Face's
 * code of each family, not from the loader that it tests. */
#include "tests/random_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAYER_TENSORS = 40, OTHER_TENSORS = 12 };

/* An entry of a layer: which architectures have it. */
typedef struct part {
    const char *name;
    size_t cols, rows, planes;
    bool wanted;
} part;

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);

    return n >= m && strcmp(name + n - m, end) == 0;
}

static void add(random_part **at, const char *name, const part *p)
{
    random_part *t = (*at)++;
    const bool gain = strstr(name, "norm") != NULL && !ends_with(name, ".bias");
    const bool small = gain || ends_with(name, "_norm.bias");

    snprintf(t->name, sizeof t->name, "%s", name);
    t->cols = p->cols;
    t->rows = p->rows;
    t->planes = p->planes ? p->planes : 1;
    t->mean = gain;
    t->matrix = p->rows && !gain && !ends_with(name, ".bias");
    t->deviation = t->matrix ? 1 / sqrt((double)p->cols) : small ? 0.2 : 0.5;
}

static void add_parts(random_part **at, const part *parts, size_t n, size_t l)
{
    for (size_t i = 0; i < n; i++) {
        char name[64];

        snprintf(name, sizeof name, "blk.%zu.%s", l, parts[i].name);
        if (parts[i].wanted) add(at, name, &parts[i]);
    }
}

/* Gains of heads: C for all, one for each head, or one row for all of them. */
static part head_gains(const random_wish *w, const char *name, size_t heads)
{
    const size_t C = w->head_dim;

    if (random_is(w, "olmo2 minimax-m2")) return (part){name, heads * C, 0, 0, true};
    if (w->beside) return (part){name, C, heads, 0, true};
    return (part){name, C, 0, 0, w->arch->has & ARCH_HEAD_NORM};
}

static void add_attention(random_part **at, const random_wish *w, size_t l)
{
    const unsigned has = w->arch->has;
    const size_t D = w->d, C = w->head_dim, Q = w->heads * C, E = w->kv_heads * C;
    const bool fused = has & ARCH_FUSED || random_is(w, "phi2 nomic-bert"),
               bare = has & ARCH_BARE;
    const bool biased = has & ARCH_BIAS || random_is(w, "starcoder2 seed_oss glm4moe");
    const bool shifted = random_is(w, "phi2 starcoder2 stablelm");
    const part parts[] = {
        {"attn_norm.weight", D, 0, 0, !bare},
        {"attn_norm.bias", D, 0, 0, shifted},
        {"attn_q.weight", D, Q, 0, !fused},
        {"attn_k.weight", D, E, 0, !fused},
        {"attn_v.weight", D, E, 0, !fused},
        {"attn_qkv.weight", D, Q + 2 * E, 0, fused},
        {"attn_qkv.bias", Q + 2 * E, 0, 0, random_is(w, "phi2")},
        {"attn_q.bias", Q, 0, 0, biased},
        {"attn_k.bias", E, 0, 0, biased},
        {"attn_v.bias", E, 0, 0, biased},
        head_gains(w, "attn_q_norm.weight", w->heads),
        head_gains(w, "attn_k_norm.weight", w->kv_heads),
        {"attn_sinks.weight", w->heads, 0, 0, has & ARCH_SINKS},
        {"attn_output.weight", Q, D, 0, true},
        {"attn_output.bias", D, 0, 0, random_is(w, "gpt-oss phi2 starcoder2 bert")},
        {"post_attention_norm.weight", D, 0, 0, has & (ARCH_POST_NORMS | ARCH_LATE_NORM)}};

    add_parts(at, parts, sizeof parts / sizeof parts[0], l);
}

/* Layers of a model with experts that have none. */
static bool is_dense(const random_wish *w, size_t l)
{
    return !w->experts || (random_is(w, "llama4") && l % 2 == 0) ||
           (random_is(w, "glm4moe") && l == 0);
}

static void add_dense(random_part **at, const random_wish *w, size_t l)
{
    const unsigned has = w->arch->has;
    const size_t D = w->d, F = random_dense_ffn(w);
    const bool fused = has & ARCH_FUSED || random_is(w, "glm4"), bare = has & ARCH_UNGATED;
    const bool biased = random_is(w, "phi2 starcoder2 bert");
    const part parts[] = {{"ffn_gate.weight", D, F, 0, !fused && !bare},
                          {"ffn_up.weight", D, fused ? 2 * F : F, 0, true},
                          {"ffn_up.bias", F, 0, 0, biased},
                          {"ffn_down.weight", F, D, 0, true},
                          {"ffn_down.bias", D, 0, 0, biased}};

    add_parts(at, parts, sizeof parts / sizeof parts[0], l);
}

static void add_experts(random_part **at, const random_wish *w, size_t l)
{
    const size_t D = w->d, F = w->ffn, X = w->experts, S = random_shared_ffn(w);
    const bool oss = random_is(w, "gpt-oss");
    const part parts[] = {{"ffn_gate_inp.weight", D, X, 0, true},
                          {"ffn_gate_inp.bias", X, 0, 0, oss},
                          {"exp_probs_b.bias", X, 0, 0, random_is(w, "glm4moe minimax-m2")},
                          {"ffn_gate_exps.weight", D, F, X, true},
                          {"ffn_gate_exps.bias", F, X, 0, oss},
                          {"ffn_up_exps.weight", D, F, X, true},
                          {"ffn_up_exps.bias", F, X, 0, oss},
                          {"ffn_down_exps.weight", F, D, X, true},
                          {"ffn_down_exps.bias", D, X, 0, oss},
                          {"ffn_gate_inp_shexp.weight", D, 0, 0, random_is(w, "qwen2moe")},
                          {"ffn_gate_shexp.weight", D, S, 0, S > 0},
                          {"ffn_up_shexp.weight", D, S, 0, S > 0},
                          {"ffn_down_shexp.weight", S, D, 0, S > 0}};

    add_parts(at, parts, sizeof parts / sizeof parts[0], l);
}

static void add_layer(random_part **at, const random_wish *w, size_t l)
{
    const unsigned has = w->arch->has;
    const bool parallel = has & ARCH_PARALLEL && (w->beside || !random_is(w, "stablelm"));
    const bool own = !(has & (ARCH_BARE | ARCH_LATE_NORM)) && !parallel;
    const part norms[] = {
        {"ffn_norm.weight", w->d, 0, 0, own},
        {"ffn_norm.bias", w->d, 0, 0, own && random_is(w, "starcoder2 stablelm")}};
    const part post = {"post_ffw_norm.weight", w->d, 0, 0, has & ARCH_POST_NORMS};
    const bool sums = random_is(w, "bert nomic-bert");
    const part after[] = {{"attn_output_norm.weight", w->d, 0, 0, sums},
                          {"attn_output_norm.bias", w->d, 0, 0, sums},
                          {"layer_output_norm.weight", w->d, 0, 0, sums},
                          {"layer_output_norm.bias", w->d, 0, 0, sums}};

    add_attention(at, w, l);
    add_parts(at, norms, 2, l);
    if (is_dense(w, l))
        add_dense(at, w, l);
    else
        add_experts(at, w, l);
    add_parts(at, &post, 1, l);
    add_parts(at, after, 4, l);
}

/* What stands before the first layer and behind the last, of models for embeddings. */
static void add_encoder(random_part **at, const random_wish *w)
{
    const size_t D = w->d;

    if (random_is(w, "bert"))
        add(at, "position_embd.weight", &(part){.cols = D, .rows = w->ctx});
    if (random_is(w, "bert nomic-bert")) {
        add(at, "token_types.weight", &(part){.cols = D, .rows = 2});
        add(at, "token_embd_norm.weight", &(part){.cols = D});
        add(at, "token_embd_norm.bias", &(part){.cols = D});
    }
    if (!random_is(w, "gemma-embedding")) return;
    add(at, "dense_2.weight", &(part){.cols = D, .rows = 2 * D});
    add(at, "dense_3.weight", &(part){.cols = 2 * D, .rows = D});
}

random_part *random_parts_list(const random_wish *w, size_t *n)
{
    random_part *list = calloc(LAYER_TENSORS * w->layers + OTHER_TENSORS, sizeof *list),
                *at = list;
    const bool tied = w->arch->has & ARCH_EMBED_SCALE || random_is(w, "command-r cohere2");
    const part table = {.cols = w->d, .rows = w->vocab}, gain = {.cols = w->d};
    const part factors = {.cols = w->turning / 2};

    if (!list) return NULL;
    add(&at, "token_embd.weight", &table);
    at[-1].deviation = tied ? 1 / sqrt((double)w->d) : 1;
    for (size_t l = 0; l < w->layers; l++) add_layer(&at, w, l);
    add_encoder(&at, w);
    if (!random_is(w, "bert nomic-bert")) add(&at, "output_norm.weight", &gain);
    if (random_is(w, "phi2 starcoder2 stablelm")) add(&at, "output_norm.bias", &gain);
    if (!tied && !random_is(w, "bert nomic-bert")) add(&at, "output.weight", &table);
    if (random_is(w, "phi2")) add(&at, "output.bias", &(part){.cols = w->vocab});
    if (w->rope == RANDOM_FACTORS) add(&at, "rope_freqs.weight", &factors);
    if (w->rope == RANDOM_LONG) {
        add(&at, "rope_factors_long.weight", &factors);
        add(&at, "rope_factors_short.weight", &factors);
    }
    *n = (size_t)(at - list);
    return list;
}
