/* test_hf_fp8.c - folders whose matrices are E4M3: what they become is, to the bit, what the
 * format says, times the scale of the tensor, the row or the block. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/kern.h"
#include "server/convert/convert.h"
#include "server/text.h"
#include "tests/folder.h"
#include "tests/test.h"

/* Llama of one layer: D = 16, H = G = 2, C = 8, F = 24, V = 9. */
static const struct {
    const char *name, *out;
    size_t rows, cols; /* cols 0: a vector */
    size_t heads;      /* whose rows change their order */
} tensors[] = {
    {"model.embed_tokens.weight", "token_embd.weight", 9, 16, 0},
    {"model.norm.weight", "output_norm.weight", 16, 0, 0},
    {"model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight", 16, 0, 0},
    {"model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight", 16, 0, 0},
    {"model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight", 16, 16, 2},
    {"model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", 16, 16, 2},
    {"model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight", 16, 16, 0},
    {"model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight", 16, 16, 0},
    {"model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight", 24, 16, 0},
    {"model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight", 24, 16, 0},
    {"model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight", 16, 24, 0},
    {"lm_head.weight", "output.weight", 9, 16, 0}};
enum { TENSORS = sizeof tensors / sizeof tensors[0] };

/* How scales are laid out: one for so many rows and columns. */
typedef struct layout {
    const char *suffix, *quant; /* of quantization_config */
    size_t down, across;        /* 0: the whole */
    int dims;                   /* of the scales */
} layout;

static const layout layouts[] = {
    {"weight_scale_inv", "{\"quant_method\":\"fp8\",\"weight_block_size\":[10,7]}", 10, 7, 2},
    {"weight_scale_inv", "{\"quant_method\":\"fp8\",\"weight_block_size\":null}", 0, 0, 0},
    {"weight_scale",
     "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"group_0\":{\"weights\":"
     "{\"num_bits\":8,\"type\":\"float\"}}}}",
     1, 0, 2}};

static uint8_t code_of(size_t tensor, size_t i)
{
    const uint8_t code = (uint8_t)((i * 37 + tensor * 11) ^ (i >> 3));

    return (code & 127) == 127 ? 5 : code; /* those two are no numbers */
}

/* As the format says it: s eeee mmm, bias 7, no infinities. */
static float meaning(uint8_t code)
{
    const double mantissa = code & 7;
    const int exponent = code >> 3 & 15;
    const double size = exponent ? (1 + mantissa / 8) * pow(2, exponent - 7)
                                 : mantissa / 8 * pow(2, -6);

    return (float)(code & 128 ? -size : size);
}

static float scale_of(size_t tensor, size_t i)
{
    return 0.001f * (float)(1 + tensor) + 0.0003f * (float)i;
}

static size_t parts(size_t n, size_t of)
{
    return of ? (n + of - 1) / of : 1;
}

/* --- the folder --- */

static void write_text(const folder *in, const char *file, const char *text)
{
    folder_write(in, file, text, strlen(text));
}

static void describe(text_builder *t, const char *name, const char *dtype, const char *shape,
                     size_t from, size_t to)
{
    text_addf(t, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
              t->n > 9 ? "," : "", name, dtype, shape, from, to);
}

static void add_scales(text_builder *t, text_builder *data, size_t i, const layout *l)
{
    const size_t down = parts(tensors[i].rows, l->down),
                 across = parts(tensors[i].cols, l->across);
    const size_t from = data->n, stem = strlen(tensors[i].name) - strlen("weight");
    char name[128], shape[32] = "";

    snprintf(name, sizeof name, "%.*s%s", (int)stem, tensors[i].name, l->suffix);
    if (l->dims) snprintf(shape, sizeof shape, "%zu,%zu", down, across);
    for (size_t s = 0; s < down * across; s++)
        text_add(data, (const char *)&(float){scale_of(i, s)}, sizeof(float));
    describe(t, name, "F32", shape, from, data->n);
}

static bool is_fp8(size_t i)
{
    return strstr(tensors[i].name, "_proj") != NULL;
}

static void add_tensor(text_builder *t, text_builder *data, size_t i)
{
    const size_t from = data->n, cols = tensors[i].cols;
    char shape[32];

    snprintf(shape, sizeof shape, cols ? "%zu,%zu" : "%zu", tensors[i].rows, cols);
    for (size_t k = 0; k < tensors[i].rows * (cols ? cols : 1); k++)
        if (is_fp8(i))
            text_add(data, (const char *)&(uint8_t){code_of(i, k)}, 1);
        else
            text_add(data, (const char *)&(float){1}, sizeof(float));
    describe(t, tensors[i].name, is_fp8(i) ? "F8_E4M3" : "F32", shape, from, data->n);
}

static void write_weights(const folder *in, const layout *l)
{
    text_builder t = {0}, data = {0};
    uint64_t length;
    size_t n;
    char *all;

    text_add(&t, "\0\0\0\0\0\0\0\0{", 9);
    for (size_t i = 0; i < TENSORS; i++) {
        add_tensor(&t, &data, i);
        if (is_fp8(i) && l->suffix) add_scales(&t, &data, i, l);
    }
    text_add_string(&t, "}");
    length = t.n - 8;
    memcpy(t.at, &length, sizeof length);
    text_add(&t, data.at, data.n);
    text_free(&data);
    all = text_take(&t, &n);
    CHECK(all != NULL);
    folder_write(in, "model.safetensors", all, n);
    free(all);
}

static bool convert(const folder *in, const layout *l, fault *why)
{
    convert_made made;
    char out[FOLDER_PATH], config[1024];

    snprintf(config, sizeof config,
             "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":16,"
             "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"intermediate_size\":24,"
             "\"vocab_size\":9,\"max_position_embeddings\":64,\"quantization_config\":%s}",
             l->quant);
    write_text(in, "config.json", config);
    write_text(in, "tokenizer.json",
               "{\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
               "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[[\"a\",\"b\"]]}}");
    write_weights(in, l);
    *why = (fault){0};
    return convert_run(&(convert_wish){.folder = in->path,
                                       .out = folder_path(in, "out.gguf", out),
                                       .type = GGUF_F16,
                                       .threads = 1},
                       &made, why);
}

/* --- what it became --- */

/* Row r of the file is this one of the folder. */
static size_t source_row(size_t i, size_t r)
{
    const size_t width = tensors[i].heads ? tensors[i].rows / tensors[i].heads : 1;
    const size_t at = r % width;

    return tensors[i].heads ? r - at + at % 2 * (width / 2) + at / 2 : r;
}

static void check_matrix(const gguf *g, size_t i, const layout *l)
{
    const gguf_tensor *t = gguf_find(g, tensors[i].out);
    const size_t cols = tensors[i].cols, across = parts(cols, l->across);

    CHECK(t && t->type == GGUF_F16);
    for (size_t k = 0; k < tensors[i].rows * cols; k++) {
        const size_t row = source_row(i, k / cols), col = k % cols;
        const size_t s = (l->down ? row / l->down : 0) * across +
                         (l->across ? col / l->across : 0);
        const uint16_t want = kern_half(meaning(code_of(i, row * cols + col)) * scale_of(i, s));
        uint16_t is;

        memcpy(&is, (const char *)t->data + 2 * k, 2);
        CHECK(is == want);
    }
}

TEST(hf_fp8_is_read_as_the_format_says_with_every_kind_of_scales)
{
    for (size_t k = 0; k < sizeof layouts / sizeof layouts[0]; k++) {
        const folder in = folder_make();
        char out[FOLDER_PATH];
        fault why;
        gguf *g;

        if (!convert(&in, &layouts[k], &why)) fprintf(stderr, "%s\n", why.sentence);
        CHECK(gguf_open(&g, folder_path(&in, "out.gguf", out), NULL) == ERR_OK);
        for (size_t i = 0; i < TENSORS; i++)
            if (is_fp8(i)) check_matrix(g, i, &layouts[k]);
        gguf_close(g);
        folder_remove(&in);
    }
}

TEST(hf_fp8_that_is_not_whole_is_refused_by_name)
{
    static const struct {
        layout l;
        const char *sentence;
    } rows[] = {
        {{NULL, "{\"quant_method\":\"fp8\"}", 0, 0, 0},
         "tensor model.layers.0.self_attn.q_proj.weight: its scales are missing"},
        {{"weight_scale_inv", "{\"quant_method\":\"fp8\",\"weight_block_size\":[8,8]}", 10, 7,
          2},
         "q_proj.weight_scale_inv: its shape is [2, 3], not [2, 2]"},
        {{"weight_scale_inv", "{\"quant_method\":\"fp8\",\"weight_block_size\":[8]}", 10, 7, 2},
         "config.json: weight_block_size must be two whole numbers"},
        {{"weight_scale_inv", "{\"quant_method\":\"gptq\"}", 10, 7, 2},
         "config.json: the weights are quantized already, by gptq; fp8 and mxfp4 are read"},
        {{"weight_scale_inv", "null", 10, 7, 2}, "F8_E4M3 is not supported"}};

    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        const folder in = folder_make();
        fault why;

        CHECK(!convert(&in, &rows[k].l, &why));
        if (!strstr(why.sentence, rows[k].sentence)) fprintf(stderr, "%s\n", why.sentence);
        CHECK(strstr(why.sentence, rows[k].sentence));
        folder_remove(&in);
    }
}
