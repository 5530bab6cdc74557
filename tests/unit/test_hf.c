/* test_hf.c - the architectures and vocabularies of the Hugging Face hub: what their folders
 * hold, and what must stand in the file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/kern.h"
#include "server/convert/convert.h"
#include "server/text.h"
#include "tests/folder.h"
#include "tests/test.h"

/* A tensor of a folder, and of the file; cols 0: a vector. "%" is the layer. */
typedef struct tensor {
    const char *name, *out;
    size_t rows, cols;
} tensor;

typedef struct arch {
    const char *class_name, *name, *config; /* members of config.json besides the common ones */
    const tensor *tensors;
    size_t n;
    bool gemma;
} arch;

/* D = 16, H = 4, G = 2, C = 8 (not D / H), F = 24, V = 9, L = 2 in all of them. */
#define ENDS                                                                     \
    {"model.embed_tokens.weight", "token_embd.weight", 9, 16},                   \
        {"model.norm.weight", "output_norm.weight", 16, 0},                      \
    {                                                                            \
        "model.layers.%.input_layernorm.weight", "blk.%.attn_norm.weight", 16, 0 \
    }
#define ATTENTION                                                                    \
    {"model.layers.%.self_attn.q_proj.weight", "blk.%.attn_q.weight", 32, 16},       \
        {"model.layers.%.self_attn.k_proj.weight", "blk.%.attn_k.weight", 16, 16},   \
        {"model.layers.%.self_attn.v_proj.weight", "blk.%.attn_v.weight", 16, 16},   \
    {                                                                                \
        "model.layers.%.self_attn.o_proj.weight", "blk.%.attn_output.weight", 16, 32 \
    }
#define FORWARD                                                                \
    {"model.layers.%.mlp.gate_proj.weight", "blk.%.ffn_gate.weight", 24, 16},  \
        {"model.layers.%.mlp.up_proj.weight", "blk.%.ffn_up.weight", 24, 16},  \
    {                                                                          \
        "model.layers.%.mlp.down_proj.weight", "blk.%.ffn_down.weight", 16, 24 \
    }
#define FFN_NORM                                                                         \
    {                                                                                    \
        "model.layers.%.post_attention_layernorm.weight", "blk.%.ffn_norm.weight", 16, 0 \
    }
#define QK_NORMS                                                                   \
    {"model.layers.%.self_attn.q_norm.weight", "blk.%.attn_q_norm.weight", 8, 0},  \
    {                                                                              \
        "model.layers.%.self_attn.k_norm.weight", "blk.%.attn_k_norm.weight", 8, 0 \
    }
#define GEMMA_NORMS                                                                            \
    {"model.layers.%.post_attention_layernorm.weight", "blk.%.post_attention_norm.weight", 16, \
     0},                                                                                       \
        {"model.layers.%.pre_feedforward_layernorm.weight", "blk.%.ffn_norm.weight", 16, 0},   \
    {                                                                                          \
        "model.layers.%.post_feedforward_layernorm.weight", "blk.%.post_ffw_norm.weight", 16,  \
            0                                                                                  \
    }
#define OUTPUT                                   \
    {                                            \
        "lm_head.weight", "output.weight", 9, 16 \
    }

static const tensor llama[] = {ENDS, ATTENTION, FFN_NORM, FORWARD, OUTPUT};
static const tensor qwen2[] = {
    ENDS,
    ATTENTION,
    {"model.layers.%.self_attn.q_proj.bias", "blk.%.attn_q.bias", 32, 0},
    {"model.layers.%.self_attn.k_proj.bias", "blk.%.attn_k.bias", 16, 0},
    {"model.layers.%.self_attn.v_proj.bias", "blk.%.attn_v.bias", 16, 0},
    FFN_NORM,
    FORWARD,
    OUTPUT};
static const tensor qwen3[] = {ENDS, ATTENTION, QK_NORMS, FFN_NORM, FORWARD, OUTPUT};
static const tensor phi3[] = {
    ENDS,
    {"model.layers.%.self_attn.qkv_proj.weight", "blk.%.attn_qkv.weight", 64, 16},
    {"model.layers.%.self_attn.o_proj.weight", "blk.%.attn_output.weight", 16, 32},
    FFN_NORM,
    {"model.layers.%.mlp.gate_up_proj.weight", "blk.%.ffn_up.weight", 48, 16},
    {"model.layers.%.mlp.down_proj.weight", "blk.%.ffn_down.weight", 16, 24},
    OUTPUT};
static const tensor gemma2[] = {ENDS, ATTENTION, GEMMA_NORMS, FORWARD};
static const tensor gemma3[] = {ENDS, ATTENTION, QK_NORMS, GEMMA_NORMS, FORWARD};

#define SILU     "\"hidden_act\":\"silu\""
#define GELU     "\"hidden_activation\":\"gelu_pytorch_tanh\",\"sliding_window\":32"
#define OF(list) list, sizeof list / sizeof list[0]

static const arch archs[] = {
    {"LlamaForCausalLM", "llama", SILU, OF(llama), false},
    {"MistralForCausalLM", "llama", SILU, OF(llama), false},
    {"Qwen2ForCausalLM", "qwen2", SILU, OF(qwen2), false},
    {"Qwen3ForCausalLM", "qwen3", SILU, OF(qwen3), false},
    {"Phi3ForCausalLM", "phi3", SILU, OF(phi3), false},
    {"Gemma2ForCausalLM", "gemma2",
     GELU ",\"attn_logit_softcapping\":50.0,\"final_logit_softcapping\":30.0", OF(gemma2),
     true},
    {"Gemma3ForCausalLM", "gemma3", GELU, OF(gemma3), true}};

enum { LAYERS = 2, LLAMA = 0, PHI3 = 4, GEMMA2 = 5, GEMMA3 = 6 };

/* Value i of a tensor: by its name, so that no two are the same. A half holds it. */
static float value_of(const char *name, size_t i)
{
    unsigned h = 5381;

    for (const char *c = name; *c; c++) h = h * 33 + (unsigned char)*c;
    return (float)((h + 37 * i) % 1000) / 256;
}

static void fill(char out[128], const char *pattern, size_t layer)
{
    const char *mark = strchr(pattern, '%');

    if (mark)
        snprintf(out, 128, "%.*s%zu%s", (int)(mark - pattern), pattern, layer, mark + 1);
    else
        snprintf(out, 128, "%s", pattern);
}

static void write_file(const folder *in, const char *file, text_builder *t)
{
    size_t n;
    char *text = text_take(t, &n);

    CHECK(text != NULL);
    folder_write(in, file, text, n);
    free(text);
}

static void add_tensor(text_builder *header, text_builder *data, const tensor *t, size_t layer)
{
    const size_t n = t->rows * (t->cols ? t->cols : 1);
    char name[128];

    fill(name, t->name, layer);
    text_addf(header, "%s\"%s\":{\"dtype\":\"F16\",\"shape\":[%zu", header->n > 9 ? "," : "",
              name, t->rows);
    if (t->cols) text_addf(header, ",%zu", t->cols);
    text_addf(header, "],\"data_offsets\":[%zu,%zu]}", data->n, data->n + 2 * n);
    for (size_t i = 0; i < n; i++) {
        const uint16_t half = kern_half(value_of(name, i));

        text_add(data, (const char *)&half, 2);
    }
}

static void write_weights(const folder *in, const arch *a)
{
    text_builder header = {0}, data = {0};
    uint64_t length;
    char *bytes;
    size_t n;

    text_add(&header, "\0\0\0\0\0\0\0\0{", 9);
    for (size_t i = 0; i < a->n; i++)
        for (size_t l = 0; l < (strchr(a->tensors[i].name, '%') ? LAYERS : 1); l++)
            add_tensor(&header, &data, &a->tensors[i], l);
    text_add_string(&header, "}");
    length = header.n - 8;
    memcpy(header.at, &length, sizeof length);
    bytes = text_take(&data, &n);
    text_add(&header, bytes, n);
    free(bytes);
    write_file(in, "model.safetensors", &header);
}

/* A vocabulary of nine, as bytes: only its form matters. */
static const char small_tokenizer[] =
    "{\"added_tokens\":[{\"id\":8,\"content\":\"<s>\",\"special\":true},"
    "{\"id\":6,\"content\":\"<|tool|>\",\"special\":false},"
    "{\"id\":7,\"content\":\"<tool>\",\"special\":false}],"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
    "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[[\"a\",\"b\"]]}}";

/* The file that a new folder becomes; drop removes both. */
static gguf *converted(const arch *a, const char *more, const char *tokenizer, folder *in,
                       fault *why)
{
    convert_wish w = {.type = GGUF_F16, .threads = 1};
    text_builder t = {0};
    convert_made made;
    gguf *g = NULL;
    char out[FOLDER_PATH];

    *in = folder_make();
    w.folder = in->path;
    w.out = folder_path(in, "out.gguf", out);
    text_addf(&t, "{\"architectures\":[\"%s\"],%s,%s\"hidden_size\":16,", a->class_name,
              a->config, more);
    text_add_string(&t, "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"head_dim\":8,"
                        "\"num_key_value_heads\":2,\"intermediate_size\":24,\"vocab_size\":9,"
                        "\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-5}");
    write_file(in, "config.json", &t);
    text_add_string(&t, tokenizer);
    write_file(in, "tokenizer.json", &t);
    write_weights(in, a);
    *why = (fault){0};
    if (convert_run(&w, &made, why)) CHECK(gguf_open(&g, out, NULL) == ERR_OK);
    return g;
}

static void drop(const folder *in, gguf *g)
{
    gguf_close(g);
    folder_remove(in);
}

static gguf *must(const arch *a, const char *more, const char *tokenizer, folder *in)
{
    fault why;
    gguf *g = converted(a, more, tokenizer, in, &why);

    if (!g) fprintf(stderr, "%s\n", why.sentence);
    CHECK(g != NULL);
    return g;
}

/* --- tensors --- */

/* Where value i of the file's tensor stands in the folder's: rows of llama's q and k go from a
 * head's halves to neighbours. */
static size_t source_of(const arch *a, const tensor *t, size_t i)
{
    const bool turned = strcmp(a->name, "llama") == 0 &&
                        (strstr(t->name, "q_proj.w") || strstr(t->name, "k_proj.w"));
    const size_t row = i / 16, head = row / 8, place = row % 8;

    if (!turned) return i;
    return (head * 8 + (place % 2) * 4 + place / 2) * 16 + i % 16;
}

static void check_tensor(const arch *a, const tensor *t, size_t layer, const gguf *g)
{
    const bool gain = a->gemma && strstr(t->name, "norm.weight");
    const size_t n = t->rows * (t->cols ? t->cols : 1);
    char name[128], out[128];
    const gguf_tensor *is;

    fill(name, t->name, layer);
    fill(out, t->out, layer);
    is = gguf_find(g, out);
    CHECK(is && is->type == (t->cols ? GGUF_F16 : GGUF_F32));
    CHECK(is->dim[0] == (t->cols ? t->cols : t->rows) && is->dim[1] == (t->cols ? t->rows : 1));
    for (size_t i = 0; i < n; i++) {
        const float was = value_of(name, source_of(a, t, i)) + (gain ? 1.0f : 0.0f);
        float value;
        uint16_t half;

        if (t->cols) {
            memcpy(&half, (const char *)is->data + 2 * i, 2);
            value = kern_float(half);
        } else {
            memcpy(&value, (const char *)is->data + 4 * i, 4);
        }
        CHECK(fabsf(value - was) <= 0.002f * (was + 1));
        if (!gain) CHECK(fabsf(value - kern_float(kern_half(was))) <= 0);
    }
}

TEST(hf_every_architecture_has_its_tensors)
{
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        const arch *a = &archs[i];
        folder in;
        gguf *g = must(a, "", small_tokenizer, &in);
        size_t count = 0;
        gguf_text name;

        CHECK(gguf_get_text(g, "general.architecture", &name) == ERR_OK);
        CHECK(name.n == strlen(a->name) && memcmp(name.at, a->name, name.n) == 0);
        for (size_t k = 0; k < a->n; k++)
            for (size_t l = 0; l < (strchr(a->tensors[k].name, '%') ? LAYERS : 1); l++, count++)
                check_tensor(a, &a->tensors[k], l, g);
        CHECK(gguf_tensors(g) == count);
        drop(&in, g);
    }
}

/* --- keys --- */

static double number(const gguf *g, const char *key)
{
    double value = NAN;

    (void)gguf_get_f64(g, key, &value);
    return value;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fabs(b);
}

TEST(hf_sizes_and_caps_become_keys)
{
    folder in;
    gguf *g = must(&archs[GEMMA2], "", small_tokenizer, &in);

    CHECK(near(number(g, "gemma2.block_count"), 2) && near(number(g, "gemma2.vocab_size"), 9));
    CHECK(near(number(g, "gemma2.attention.head_count_kv"), 2));
    CHECK(near(number(g, "gemma2.attention.key_length"), 8));
    CHECK(near(number(g, "gemma2.attention.value_length"), 8));
    CHECK(near(number(g, "gemma2.attention.sliding_window"), 32));
    CHECK(near(number(g, "gemma2.attn_logit_softcapping"), 50));
    CHECK(near(number(g, "gemma2.final_logit_softcapping"), 30));
    CHECK(near(number(g, "gemma2.attention.layer_norm_rms_epsilon"), 1e-5));
    drop(&in, g);
    g = must(&archs[GEMMA3], "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0},",
             small_tokenizer, &in);
    CHECK(near(number(g, "gemma3.rope.freq_base"), 1e6));
    CHECK(near(number(g, "gemma3.rope.freq_base_swa"), 1e4));
    CHECK(near(number(g, "gemma3.rope.scaling.factor"), 8));
    CHECK(isnan(number(g, "gemma3.final_logit_softcapping")));
    drop(&in, g);
}

TEST(hf_llama3_stretches_long_waves_and_leaves_short_ones)
{
    const float *freqs;
    folder in;
    gguf *g = must(&archs[LLAMA],
                   "\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\","
                   "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                   "\"original_max_position_embeddings\":1024},",
                   small_tokenizer, &in);
    const gguf_tensor *t = gguf_find(g, "rope_freqs.weight");

    CHECK(t && t->type == GGUF_F32 && t->n_dims == 1 && t->dim[0] == 4);
    freqs = t->data; /* aligned as the file is */
    CHECK(near((double)freqs[0], 1) && near((double)freqs[3], 8));
    /* pair 1: wave 2 pi 500000^(1/4) = 167.08, 6.13 turns: short; pair 2: 4443 tokens: long */
    CHECK(near((double)freqs[1], 1) && near((double)freqs[2], 8));
    CHECK(near(number(g, "llama.rope.freq_base"), 500000));
    drop(&in, g);
    g = must(&archs[LLAMA],
             "\"rope_parameters\":{\"rope_theta\":10000.0,\"rope_type\":\"llama3\","
             "\"original_max_position_embeddings\":128},",
             small_tokenizer, &in);
    freqs = gguf_find(g, "rope_freqs.weight")->data;
    /* pair 1: wave 20 pi, 2.0372 turns: a share of 0.34573 is kept */
    CHECK(fabs((double)freqs[1] - 1 / ((1 - 0.345728) / 8 + 0.345728)) < 1e-3);
    drop(&in, g);
}

TEST(hf_longrope_becomes_two_tensors_and_a_factor)
{
    folder in;
    gguf *g = must(
        &archs[PHI3],
        "\"original_max_position_embeddings\":1024,\"rope_scaling\":{\"type\":\"su\","
        "\"long_factor\":[1,2,3,4],\"short_factor\":[1,1,1,2]},",
        small_tokenizer, &in);
    const gguf_tensor *t = gguf_find(g, "rope_factors_long.weight");

    CHECK(t && t->dim[0] == 4 && near((double)((const float *)t->data)[3], 4));
    t = gguf_find(g, "rope_factors_short.weight");
    CHECK(t && t->dim[0] == 4 && near((double)((const float *)t->data)[3], 2));
    CHECK(near(number(g, "phi3.rope.scaling.original_context_length"), 1024));
    CHECK(near(number(g, "phi3.rope.scaling.attn_factor"), sqrt(1 + log(4) / log(1024))));
    CHECK(near(number(g, "phi3.attention.sliding_window"), 0));
    drop(&in, g);
}

TEST(hf_yarn_becomes_keys)
{
    folder in;
    gguf *g = must(&archs[LLAMA],
                   "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,"
                   "\"mscale_all_dim\":0.5,\"llama_4_scaling_beta\":0.1},",
                   small_tokenizer, &in);

    CHECK(near(number(g, "llama.rope.scaling.yarn_log_multiplier"), 0.5));
    CHECK(near(number(g, "llama.attention.temperature_scale"), 0.1));
    drop(&in, g);
    g = must(&archs[LLAMA],
             "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"attention_factor\":1},",
             small_tokenizer, &in);
    CHECK(near(number(g, "llama.rope.scaling.attn_factor"), 1 / (1 + 0.1 * log(4))));
    drop(&in, g);
}

TEST(hf_what_no_key_says_is_refused)
{
    static const struct {
        size_t arch;
        const char *more, *sentence;
    } rows[] = {
        {GEMMA2, "\"query_pre_attn_scalar\":7,", "query_pre_attn_scalar 7 is not supported"},
        {GEMMA3, "\"sliding_window_pattern\":4,", "sliding_window_pattern 4 is not supported"},
        {PHI3, "\"rope_scaling\":{\"type\":\"su\",\"long_factor\":[1]},", "must be 4 numbers"},
        {LLAMA, "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"truncate\":false},",
         "yarn with truncate is not supported"},
        {LLAMA, "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"mscale\":2},",
         "yarn with mscale"},
        {LLAMA, "\"rope_scaling\":{\"type\":\"longrope\"},", "'longrope' is not supported"},
        {LLAMA, "\"partial_rotary_factor\":0.1,", "no part of a head rotates"}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        folder in;
        fault why;
        gguf *g = converted(&archs[rows[i].arch], rows[i].more, small_tokenizer, &in, &why);

        if (g || !strstr(why.sentence, rows[i].sentence)) fprintf(stderr, "%s\n", why.sentence);
        CHECK(!g && strstr(why.sentence, "config.json: ") == why.sentence);
        CHECK(strstr(why.sentence, rows[i].sentence));
        drop(&in, g);
    }
}

/* --- vocabularies --- */

static gguf_text token(const gguf *g, const char *key, size_t i)
{
    gguf_text text = {"", 0};
    gguf_array list;
    const void *at;

    CHECK(gguf_get_array(g, key, &list) == ERR_OK && i < list.n);
    at = list.data;
    for (size_t k = 0; k <= i; k++) text = gguf_next_text(&at);
    return text;
}

static bool text_is(gguf_text t, const char *text)
{
    return t.n == strlen(text) && memcmp(t.at, text, t.n) == 0;
}

static int32_t type_at(const gguf *g, size_t i)
{
    gguf_array list;
    int32_t type;

    CHECK(gguf_get_array(g, "tokenizer.ggml.token_type", &list) == ERR_OK && list.n == 9);
    memcpy(&type, (const char *)list.data + 4 * i, 4);
    return type;
}

static float score_at(const gguf *g, size_t i)
{
    gguf_array list;
    float score;

    CHECK(gguf_get_array(g, "tokenizer.ggml.scores", &list) == ERR_OK && list.n == 9);
    memcpy(&score, (const char *)list.data + 4 * i, 4);
    return score;
}

TEST(hf_byte_level_vocabulary_keeps_ids_merges_and_kinds)
{
    folder in;
    gguf *g = must(&archs[LLAMA], "\"bos_token_id\":8,\"eos_token_id\":[8,2,1,0],",
                   small_tokenizer, &in);
    gguf_text text;
    bool adds = true;

    CHECK(gguf_get_text(g, "tokenizer.ggml.pre", &text) == ERR_OK && text_is(text, "gpt-2"));
    CHECK(text_is(token(g, "tokenizer.ggml.tokens", 2), "ab") && type_at(g, 2) == 1);
    CHECK(text_is(token(g, "tokenizer.ggml.tokens", 3), "[PAD3]") && type_at(g, 3) == 5);
    CHECK(text_is(token(g, "tokenizer.ggml.tokens", 8), "<s>") && type_at(g, 8) == 3);
    CHECK(type_at(g, 6) == 3 && type_at(g, 7) == 4); /* a mark that steers, and a word */
    CHECK(text_is(token(g, "tokenizer.ggml.merges", 0), "a b"));
    CHECK(near(number(g, "tokenizer.ggml.bos_token_id"), 8));
    CHECK(near(number(g, "tokenizer.ggml.eos_token_id"), 8));
    CHECK(near(number(g, "tokenizer.ggml.eot_token_id"), 2));
    CHECK(near(number(g, "tokenizer.ggml.eom_token_id"), 1));
    CHECK(gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &adds) == ERR_OK && !adds);
    drop(&in, g);
}

TEST(hf_sentencepiece_vocabulary_has_scores_by_rank)
{
    static const char tokenizer[] =
        "{\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true},"
        "{\"id\":7,\"content\":\"\xe2\x96\x81\xe2\x96\x81\",\"special\":false},"
        "{\"id\":12,\"content\":\"<far>\",\"special\":true}],"
        "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\","
        "\"prepend\":\"\xe2\x96\x81\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
        "\"content\":\"\xe2\x96\x81\"}]},\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\","
        "\"byte_fallback\":true,\"vocab\":{\"<unk>\":0,\"<0x0A>\":1,\"a\":2,\"b\":3,\"ab\":4,"
        "\"aba\":5},\"merges\":[\"a b\",\"ab a\"]}}";
    folder in;
    gguf *g = must(&archs[LLAMA], "", tokenizer, &in);
    gguf_text text;
    bool space = false;

    CHECK(gguf_get_text(g, "tokenizer.ggml.model", &text) == ERR_OK && text_is(text, "llama"));
    CHECK(gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &space) == ERR_OK && space);
    CHECK(type_at(g, 0) == 2 && type_at(g, 1) == 6 && type_at(g, 2) == 1);
    CHECK(type_at(g, 7) == 4 && text_is(token(g, "tokenizer.ggml.tokens", 7), "  "));
    CHECK(score_at(g, 4) > score_at(g, 5) && score_at(g, 5) > score_at(g, 2));
    drop(&in, g);
}
