/* test_convert.c - folders of the Hugging Face hub become model files, or a sentence. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/kern/kern.h"
#include "engine/model/model.h"
#include "engine/model/model_load.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/utf8.h"
#include "server/convert/convert.h"
#include "server/text.h"
#include "tests/folder.h"
#include "tests/hf.h"
#include "tests/read_file.h"
#include "tests/test.h"
#include "tests/tiny.h"

/* What is made of a folder stands in it. Static. */
static const char *out_of(const folder *p)
{
    static char path[FOLDER_PATH];

    return folder_path(p, "out.gguf", path);
}

static void write_text(const folder *p, const char *file, const char *text)
{
    folder_write(p, file, text, strlen(text));
}

/* Put `to` in place of the first `from` in a file. */
static void edit(const folder *p, const char *file, const char *from, const char *to)
{
    char path[FOLDER_PATH], *text, *at;
    text_builder t = {0};
    size_t n;

    folder_path(p, file, path);
    text = read_file(path, &n);
    at = memmem(text, n, from, strlen(from));
    CHECK(at != NULL);
    text_add(&t, text, (size_t)(at - text));
    text_add_string(&t, to);
    text_add(&t, at + strlen(from), n - (size_t)(at - text) - strlen(from));
    free(text);
    text = text_take(&t, &n);
    folder_write(p, file, text, n);
    free(text);
}

static bool convert(const folder *p, gguf_type type, convert_made *made, fault *why)
{
    const convert_wish w = {.folder = p->path, .out = out_of(p), .type = type, .threads = 2};

    *why = (fault){0};
    return convert_run(&w, made, why);
}

static gguf *converted(const folder *p, gguf_type type)
{
    convert_made made;
    fault why;
    gguf *g = NULL;

    if (!convert(p, type, &made, &why)) fprintf(stderr, "%s\n", why.sentence);
    CHECK(!why.sentence[0]);
    CHECK(gguf_open(&g, out_of(p), NULL) == ERR_OK);
    return g;
}

/* The tiny model in a folder; *bytes is what it was written from, with *file over it. */
static folder write_tiny(size_t shards, unsigned char **bytes, gguf **file)
{
    const folder p = folder_make();
    tiny *m = tiny_new();
    size_t n;

    *bytes = tiny_write(m, &n, NULL, NULL);
    tiny_free(m);
    CHECK(gguf_open_memory(file, *bytes, n, NULL) == ERR_OK);
    hf_write(*file, p.path, shards);
    return p;
}

/* A fresh folder of the tiny model, for one test to spoil. */
static folder folder_of_tiny(size_t shards)
{
    unsigned char *bytes;
    gguf *file;
    const folder p = write_tiny(shards, &bytes, &file);

    gguf_close(file);
    free(bytes);
    return p;
}

/* Same tensors, to the bit. */
static void check_tensors(const gguf *a, const gguf *b)
{
    CHECK(gguf_tensors(a) == gguf_tensors(b));
    for (size_t i = 0; i < gguf_tensors(a); i++) {
        const gguf_tensor *t = gguf_tensor_at(a, i), *u;
        char name[128];

        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.at);
        u = gguf_find(b, name);
        CHECK(u && u->type == t->type && u->bytes == t->bytes && u->n_dims == t->n_dims);
        CHECK(memcmp(u->dim, t->dim, sizeof t->dim) == 0);
        CHECK(memcmp(u->data, t->data, t->bytes) == 0);
    }
}

static void check_keys(const gguf *a, const gguf *b)
{
    static const char *const counts[] = {
        "llama.context_length",        "llama.embedding_length",
        "llama.block_count",           "llama.feed_forward_length",
        "llama.attention.head_count",  "llama.attention.head_count_kv",
        "llama.rope.dimension_count",  "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
    static const char *const reals[] = {"llama.rope.freq_base",
                                        "llama.attention.layer_norm_rms_epsilon"};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        uint64_t x = 1, y = 2;

        CHECK(gguf_get_u64(a, counts[i], &x) == ERR_OK);
        CHECK(gguf_get_u64(b, counts[i], &y) == ERR_OK && x == y);
    }
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        double x = 1, y = 2;

        CHECK(gguf_get_f64(a, reals[i], &x) == ERR_OK);
        CHECK(gguf_get_f64(b, reals[i], &y) == ERR_OK && !(x < y) && !(x > y));
    }
}

/* Same ids of a text, and the same pieces. */
static void check_tokenizers(const gguf *a, const gguf *b, const char *text)
{
    int32_t *x = malloc(strlen(text) * sizeof *x), *y = malloc(strlen(text) * sizeof *y);
    tokenizer *t = NULL, *u = NULL;
    size_t n = 0, m = 0;

    CHECK(x && y);
    CHECK(tokenizer_new(&t, a, NULL) == ERR_OK && tokenizer_new(&u, b, NULL) == ERR_OK);
    CHECK(tokenizer_size(t) == tokenizer_size(u) && tokenizer_bos(t) == tokenizer_bos(u));
    CHECK(tokenizer_adds_bos(t) == tokenizer_adds_bos(u));
    for (int32_t id = 0; (size_t)id < tokenizer_size(t); id++) {
        const gguf_text p = tokenizer_piece(t, id, true), q = tokenizer_piece(u, id, true);

        CHECK(p.n == q.n && memcmp(p.at, q.at, p.n) == 0);
        CHECK(tokenizer_is_special(t, id) == tokenizer_is_special(u, id));
        CHECK(tokenizer_is_end(t, id) == tokenizer_is_end(u, id));
    }
    CHECK(tokenizer_encode(t, text, strlen(text), TOKENIZER_SPECIALS, x, &n) == ERR_OK);
    CHECK(tokenizer_encode(u, text, strlen(text), TOKENIZER_SPECIALS, y, &m) == ERR_OK);
    CHECK(n == m && n > 0 && memcmp(x, y, n * sizeof *x) == 0);
    tokenizer_free(t);
    tokenizer_free(u);
    free(x);
    free(y);
}

/* A model through a folder and back. */
static void round_trip(const char *path, gguf_type type, size_t shards)
{
    const folder p = folder_make();
    gguf *was = NULL, *is;
    char *text = read_file("models/calibration.txt", NULL);

    text[utf8_prefix(text, 20000)] = '\0';
    CHECK(gguf_open(&was, path, NULL) == ERR_OK);
    hf_write(was, p.path, shards);
    is = converted(&p, type);
    check_tensors(was, is);
    check_keys(was, is);
    check_tokenizers(was, is, text);
    gguf_close(was);
    gguf_close(is);
    free(text);
    folder_remove(&p);
}

/* --- round trips --- */

TEST(convert_gives_the_embedded_model_back)
{
    round_trip("models/seedling-32m-mha-q8_0.gguf", GGUF_Q8_0, 1);
}

TEST(convert_gives_the_half_precision_models_back)
{
    static const char *const names[] = {"models/seedling-32m-mha-f16.gguf",
                                        "models/seedling-38m-gqa-f16.gguf"};

    for (size_t i = 0; i < 2; i++) {
        if (!test_shared(names[i])) SKIP("the F16 models are not there");
        round_trip(test_shared(names[i]), GGUF_F16, 1 + 2 * i);
    }
}

TEST(convert_writes_rows_by_the_type_that_they_fill)
{
    static const gguf_type types[] = {GGUF_F16, GGUF_BF16, GGUF_Q8_0, GGUF_Q4_K};
    static const gguf_type matrices[] = {GGUF_F16, GGUF_BF16, GGUF_Q8_0, GGUF_Q8_0};
    const folder p = folder_of_tiny(3);

    for (size_t i = 0; i < 4; i++) {
        gguf *g = converted(&p, types[i]); /* rows of 64: never a block of Q4_K */
        model *m = NULL;

        CHECK(gguf_find(g, "blk.1.attn_q.weight")->type == matrices[i]);
        CHECK(gguf_find(g, "blk.1.attn_norm.weight")->type == GGUF_F32);
        CHECK(model_open(&m, g, 0, NULL) == ERR_OK);
        model_close(m);
        gguf_close(g);
    }
    folder_remove(&p);
}

/* --- what goes along --- */

static double number_of(const gguf *g, const char *key)
{
    double v = NAN;

    (void)gguf_get_f64(g, key, &v);
    return v;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fabs(b);
}

TEST(convert_keeps_what_the_authors_say_of_sampling)
{
    const folder p = folder_of_tiny(1);
    gguf *g;

    write_text(&p, "generation_config.json",
               "{\"temperature\":0.7,\"top_k\":20,\"top_p\":0.8,\"min_p\":0.05,"
               "\"repetition_penalty\":1.05,\"do_sample\":true}");
    g = converted(&p, GGUF_F16);
    CHECK(near(number_of(g, "general.sampling.temp"), 0.7));
    CHECK(near(number_of(g, "general.sampling.top_k"), 20));
    CHECK(near(number_of(g, "general.sampling.top_p"), 0.8));
    CHECK(near(number_of(g, "general.sampling.min_p"), 0.05));
    CHECK(near(number_of(g, "general.sampling.penalty_repeat"), 1.05));
    CHECK(near(number_of(g, "general.sampling.penalty_last_n"), -1));
    gguf_close(g);
    write_text(&p, "generation_config.json", "{\"do_sample\":false,\"temperature\":0.7}");
    g = converted(&p, GGUF_F16);
    CHECK(fabs(number_of(g, "general.sampling.temp")) <= 0);
    CHECK(isnan(number_of(g, "general.sampling.top_k")));
    gguf_close(g);
    folder_remove(&p);
}

TEST(convert_keeps_every_token_that_ends_an_answer)
{
    const folder p = folder_of_tiny(1);
    tokenizer *t;
    gguf *g;

    write_text(&p, "generation_config.json", "{\"eos_token_id\":[65,66,67,68,69,70]}");
    g = converted(&p, GGUF_F16);
    CHECK(tokenizer_new(&t, g, NULL) == ERR_OK);
    for (int32_t id = 65; id <= 70; id++) CHECK(tokenizer_is_end(t, id));
    CHECK(!tokenizer_is_end(t, 71));
    tokenizer_free(t);
    gguf_close(g);
    folder_remove(&p);
}

TEST(convert_keeps_templates_with_their_names)
{
    const folder p = folder_of_tiny(1);
    gguf_text text;
    gguf *g;

    write_text(&p, "chat_template.json",
               "{\"chat_template\":[{\"name\":\"default\",\"template\":\"plain\"},"
               "{\"name\":\"tool_use\",\"template\":\"tools\"}]}");
    g = converted(&p, GGUF_F16);
    CHECK(gguf_get_text(g, "tokenizer.chat_template", &text) == ERR_OK && text.n == 5);
    CHECK(gguf_get_text(g, "tokenizer.chat_template.tool_use", &text) == ERR_OK);
    CHECK(text.n == 5 && memcmp(text.at, "tools", 5) == 0);
    gguf_close(g);
    folder_remove(&p);
}

/* --- what is wrong with a folder --- */

static bool refused(const folder *p, const char *sentence)
{
    convert_made made;
    fault why;

    if (convert(p, GGUF_F16, &made, &why)) strcpy(why.sentence, "yes");
    if (strstr(why.sentence, sentence) && access(out_of(p), F_OK) != 0) return true;
    fprintf(stderr, "said '%s', wanted '%s'\n", why.sentence, sentence);
    return false;
}

/* One edit of a file, and what must be said. */
static const struct {
    const char *file, *from, *to, *sentence;
} spoiled[] = {
    {"config.json", "LlamaForCausalLM", "MambaForCausalLM",
     "config.json: architecture MambaForCausalLM is not supported"},
    {"config.json", "\"architectures\"", "\"x\"", "config.json: it names no architecture"},
    {"config.json", "{", "", "config.json: it is not valid JSON"},
    {"config.json", "{\"arch", "[{\"arch", "config.json: it is not valid JSON"},
    {"config.json", "\"silu\"", "\"relu\"", "activation relu is not supported (silu is)"},
    {"config.json", "\"hidden_size\":64", "\"hidden_size\":0", "config.json: 'hidden_size'"},
    {"config.json", "\"hidden_size\":64", "\"hidden_size\":\"64\"", "'hidden_size' must be"},
    {"config.json", "\"hidden_size\":64", "\"y\":64", "config.json: hidden_size is missing"},
    {"config.json", "num_key_value_heads\":2", "num_key_value_heads\":3",
     "2 heads cannot share 3"},
    {"config.json", "num_attention_heads\":2", "num_attention_heads\":64",
     "head_dim 1 is not supported"},
    {"config.json", "\"num_hidden_layers\":2", "\"num_hidden_layers\":3",
     "tensor model.layers.2.input_layernorm.weight is missing (LlamaForCausalLM)"},
    {"config.json", "\"num_hidden_layers\":2", "\"num_hidden_layers\":1",
     "tensor model.layers.1.input_layernorm.weight is not one of LlamaForCausalLM"},
    {"config.json", "\"intermediate_size\":64", "\"intermediate_size\":32",
     "tensor model.layers.0.mlp.gate_proj.weight: its shape is [64, 64], not [32, 64]"},
    {"config.json", "embeddings\":true", "embeddings\":false",
     "tensor lm_head.weight is missing, and tie_word_embeddings is not set"},
    {"config.json", "\"rope_scaling\":null", "\"rope_scaling\":{\"type\":\"dynamic\"}",
     "rotary scaling 'dynamic' is not supported for LlamaForCausalLM"},
    {"config.json", "\"rope_scaling\":null", "\"rope_scaling\":{\"type\":\"linear\"}",
     "rope_scaling has no factor"},
    {"config.json", "\"rope_scaling\":null", "\"quantization_config\":{}",
     "the weights are quantized already, by an unnamed way; fp8 and mxfp4 are read"},
    {"config.json", "\"vocab_size\":263", "\"vocab_size\":264",
     "model.embed_tokens.weight: its shape is [263, 64], not [264, 64]"},
    {"tokenizer.json", "\"BPE\"", "\"WordLevel\"", "type are not supported: WordLevel"},
    {"tokenizer.json", "\"BPE\"", "\"Unigram\"", "tokenizer.json: it has no vocabulary"},
    {"tokenizer.json", "\"BPE\"", "\"WordPiece\"",
     "continuing_subword_prefix is not supported"},
    {"tokenizer.json", "\"unk_token\":null", "\"dropout\":0.1", "dropout is not supported"},
    {"tokenizer.json", "\"unk_token\":null", "\"end_of_word_suffix\":\"</w>\"",
     "end_of_word_suffix is not supported: </w>"},
    {"tokenizer.json", "\"normalizer\":null", "\"normalizer\":{\"type\":\"Nmt\"}",
     "this normalizer is not supported: Nmt"},
    {"tokenizer.json", "\"normalizer\":null", "\"normalizer\":{\"type\":3}",
     "a normalizer is malformed"},
    {"tokenizer.json", "\"normalizer\":null", "\"normalizer\":\"NFC\"",
     "a normalizer is malformed"},
    {"tokenizer.json", "\"normalizer\":null",
     "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{}]}",
     "a normalizer is malformed"},
    {"tokenizer.json", "\"normalizer\":null", "\"normalizer\":{\"type\":\"Sequence\"}",
     "a normalizer is malformed"},
    {"tokenizer.json", "\"normalizer\":null", "\"normalizer\":{\"type\":\"Prepend\"}",
     "a Prepend has no text"},
    {"tokenizer.json", "\"normalizer\":null",
     "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a+\"},\"content\":\"b\"}",
     "a Replace of this expression is not supported: a+"},
    {"tokenizer.json", "\"normalizer\":null",
     "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"b\"}",
     "a Replace has no pattern or no content"},
    {"tokenizer.json", "\"normalizer\":null", "\"normalizer\":{\"type\":\"Precompiled\"}",
     "this normalizer is not supported: Precompiled"},
    {"tokenizer.json", "\"normalizer\":null", "\"normalizer\":{\"type\":\"BertNormalizer\"}",
     "not supported: BertNormalizer"},
    {"tokenizer.json", "{\"id\":0,", "{\"single_word\":true,\"id\":0,",
     "single_word is not supported, of added token"},
    {"tokenizer.json", "\"behavior\":\"Isolated\"", "\"behavior\":\"MergedWithNext\"",
     "not known: split MergedWithNext (?i:"},
    {"tokenizer.json", "\"add_prefix_space\":false", "\"add_prefix_space\":true",
     "bytes plain space first"},
    {"tokenizer.json", "{1,3}", "{1,4}", "tokenizer.json: its way to cut text is not known"},
    {"tokenizer.json", "\"byte_fallback\":false", "\"byte_fallback\":3", "must be true or"},
    {"tokenizer.json", "\"merges\":[\"", "\"merges\":[\"qqq ", "parts that are no tokens"},
    {"tokenizer.json", "\"merges\":[", "\"merges\":[3,", "a merge is malformed"},
    {"tokenizer.json", "\"merges\":[", "\"x\":[", "it has no merges"},
    {"tokenizer.json", "\"vocab\":{", "\"vocab\":{\"zz\":7,\"zzz\":7,", "the number of token"},
    {"tokenizer.json", "\"vocab\":{", "\"vocab\":{\"zz\":0.5,", "no number for token zz"},
    {"tokenizer.json", "{\"id\":0,", "{", "an added token has no id"},
    {"generation_config.json", "{", "", "generation_config.json: it is not valid JSON"},
    {"generation_config.json", "{", "{\"temperature\":-1,",
     "generation_config.json: 'temperature'"},
    {"generation_config.json", "{", "{\"top_k\":\"many\",", "generation_config.json: 'top_k'"},
    {"model.safetensors", "F32", "I32", "I32 is not supported (F32, F16, BF16 are)"},
    {"model.safetensors", "[64]", "[65]", "model.safetensors: tensor"},
};

TEST(convert_refuses_what_it_does_not_know_by_name)
{
    for (size_t i = 0; i < sizeof spoiled / sizeof spoiled[0]; i++) {
        const folder p = folder_of_tiny(1);

        edit(&p, spoiled[i].file, spoiled[i].from, spoiled[i].to);
        CHECK(refused(&p, spoiled[i].sentence));
        folder_remove(&p);
    }
}

TEST(convert_refuses_folders_that_are_not_whole)
{
    static const struct {
        const char *file, *sentence;
    } rows[] = {
        {"config.json", "config.json: No such file"},
        {"tokenizer.json", "tokenizer.json: No such file"},
        {"model.safetensors.index.json",
         "neither model.safetensors nor model.safetensors.index"},
        {"model-00002-of-00003.safetensors", "model-00002-of-00003.safetensors: No such file"}};
    char path[FOLDER_PATH];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const folder p = folder_of_tiny(3);

        folder_path(&p, rows[i].file, path);
        CHECK(unlink(path) == 0);
        CHECK(refused(&p, rows[i].sentence));
        folder_remove(&p);
    }
}

TEST(convert_holds_the_index_against_its_files)
{
    static const char index[] = "model.safetensors.index.json";
    folder p = folder_of_tiny(3);

    edit(&p, index, "\"model.norm.weight\":\"model-00003",
         "\"model.norm.weight\":\"model-00001");
    CHECK(refused(&p, "model-00001-of-00003.safetensors: tensor model.norm.weight is missing"));
    folder_remove(&p);
    p = folder_of_tiny(3);
    edit(&p, index, "\"model.norm.weight\":", "\"model.other.weight\":");
    CHECK(refused(&p, "tensor model.other.weight is missing"));
    folder_remove(&p);
    p = folder_of_tiny(3);
    edit(&p, index, ",\"model.norm.weight\":\"model-00003-of-00003.safetensors\"", "");
    CHECK(refused(&p, "tensor model.norm.weight is not in model.safetensors.index.json"));
    folder_remove(&p);
    p = folder_of_tiny(3);
    edit(&p, index, "model-00003-of", "../model-00003-of");
    CHECK(refused(&p, "has no file of this folder"));
    write_text(&p, index, "{}");
    CHECK(refused(&p, "model.safetensors.index.json: it has no weight_map"));
    folder_remove(&p);
}

TEST(convert_refuses_values_that_the_type_cannot_hold)
{
    static const struct {
        float value;
        const char *sentence;
    } rows[] = {{NAN, "it has values that are no numbers"},
                {-INFINITY, "it has values that are no numbers"},
                {70000, "it has values that F16 does not reach; use --type BF16"}};

    for (size_t i = 0; i < 3; i++) {
        const folder p = folder_of_tiny(1);
        char path[FOLDER_PATH], *bytes;
        size_t n;
        uint64_t header;

        folder_path(&p, "model.safetensors", path);
        bytes = read_file(path, &n);
        memcpy(&header, bytes, sizeof header);
        memcpy(bytes + 8 + header + 400, &rows[i].value, sizeof(float));
        folder_write(&p, "model.safetensors", bytes, n);
        free(bytes);
        CHECK(refused(&p, "tensor model.embed_tokens.weight: it has values"));
        CHECK(refused(&p, rows[i].sentence));
        folder_remove(&p);
    }
}
