/* hf.c - writes the JSON and the weights of a Hugging Face folder. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/gguf/gguf.h"
#include "engine/model/matrix.h"
#include "server/text.h"
#include "tests/hf.h"
#include "tests/hf_forms.h"

enum { CONTROL = 3, USER = 4, MOST_LAYERS = 8 /* of a record's model */ };

static void fail(const char *what)
{
    fprintf(stderr, "hf: %s\n", what);
    exit(1);
}

static void write_file(const char *folder, const char *name, text_builder *t, FILE **keep)
{
    char path[4096], *text;
    size_t n;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "wb");
    text = text_take(t, &n);
    if (!f || !text || fwrite(text, 1, n, f) != n) fail(path);
    free(text);
    if (keep)
        *keep = f;
    else if (fclose(f) != 0)
        fail(path);
}

static uint64_t number(const gguf *g, const char *key)
{
    uint64_t v = 0;

    if (gguf_get_u64(g, key, &v) != ERR_OK) fail(key);
    return v;
}

static double real(const gguf *g, const char *key)
{
    double v = 0;

    if (gguf_get_f64(g, key, &v) != ERR_OK) fail(key);
    return v;
}

/* --- JSON --- */

static void write_config(const gguf *g, const char *folder)
{
    static const struct {
        const char *name, *key;
    } sizes[] = {{"hidden_size", "llama.embedding_length"},
                 {"num_hidden_layers", "llama.block_count"},
                 {"intermediate_size", "llama.feed_forward_length"},
                 {"num_attention_heads", "llama.attention.head_count"},
                 {"num_key_value_heads", "llama.attention.head_count_kv"},
                 {"max_position_embeddings", "llama.context_length"}};
    text_builder t = {0};

    text_add_string(&t, "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_act\":\"silu\"");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        text_addf(&t, ",\"%s\":%llu", sizes[i].name,
                  (unsigned long long)number(g, sizes[i].key));
    text_addf(&t, ",\"vocab_size\":%llu,\"rms_norm_eps\":%.9g,\"rope_theta\":%.9g",
              (unsigned long long)gguf_find(g, "token_embd.weight")->dim[1],
              real(g, "llama.attention.layer_norm_rms_epsilon"),
              real(g, "llama.rope.freq_base"));
    text_addf(&t, ",\"rope_scaling\":null,\"tie_word_embeddings\":%s}\n",
              gguf_find(g, "output.weight") ? "false" : "true");
    write_file(folder, "config.json", &t, NULL);
    text_addf(&t, "{\"eos_token_id\":[%llu,%llu]}\n",
              (unsigned long long)number(g, "tokenizer.ggml.eos_token_id"),
              (unsigned long long)number(g, "tokenizer.ggml.eot_token_id"));
    write_file(folder, "generation_config.json", &t, NULL);
}

static gguf_array list(const gguf *g, const char *key)
{
    gguf_array a;

    if (gguf_get_array(g, key, &a) != ERR_OK) fail(key);
    return a;
}

static int32_t type_of(const gguf_array *types, uint64_t id)
{
    int32_t type;

    memcpy(&type, (const char *)types->data + id * sizeof type, sizeof type);
    return type;
}

static gguf_text piece(const gguf *g, uint64_t id)
{
    const gguf_array tokens = list(g, "tokenizer.ggml.tokens");
    const void *at = tokens.data;
    gguf_text text = {"", 0};

    for (uint64_t i = 0; i <= id; i++) text = gguf_next_text(&at);
    return text;
}

static void add_tokens(text_builder *t, const gguf *g, bool added)
{
    const gguf_array tokens = list(g, "tokenizer.ggml.tokens");
    const gguf_array types = list(g, "tokenizer.ggml.token_type");
    const void *at = tokens.data;
    const char *comma = "";

    for (uint64_t i = 0; i < tokens.n; i++) {
        const gguf_text text = gguf_next_text(&at);
        const int32_t type = type_of(&types, i);

        if ((type == CONTROL || type == USER) != added) continue;
        text_add_string(t, comma);
        comma = ",";
        if (added) text_addf(t, "{\"id\":%llu,\"content\":", (unsigned long long)i);
        text_add_json(t, text.at, text.n);
        if (added)
            text_addf(t, ",\"special\":%s}", type == CONTROL ? "true" : "false");
        else
            text_addf(t, ":%llu", (unsigned long long)i);
    }
}

static void write_tokenizer(const gguf *g, const char *folder)
{
    const gguf_array merges = list(g, "tokenizer.ggml.merges");
    const gguf_text bos = piece(g, number(g, "tokenizer.ggml.bos_token_id"));
    const void *at = merges.data;
    text_builder t = {0};

    text_add_string(&t, "{\"version\":\"1.0\",\"added_tokens\":[");
    add_tokens(&t, g, true);
    text_add_string(
        &t, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Sequence\","
            "\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|"
            "'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}"
            "\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
            "\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","
            "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false}]},"
            "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
            "{\"id\":");
    text_add_json(&t, bos.at, bos.n);
    text_add_string(&t,
                    ",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]},"
                    "\"model\":{\"type\":\"BPE\",\"unk_token\":null,\"byte_fallback\":false,"
                    "\"ignore_merges\":true,\"vocab\":{");
    add_tokens(&t, g, false);
    text_add_string(&t, "},\"merges\":[");
    for (uint64_t i = 0; i < merges.n; i++) {
        const gguf_text merge = gguf_next_text(&at);

        if (i) text_add_string(&t, ",");
        text_add_json(&t, merge.at, merge.n);
    }
    text_add_string(&t, "]}}\n");
    write_file(folder, "tokenizer.json", &t, NULL);
}

static void write_tokenizer_config(const gguf *g, const char *folder)
{
    const gguf_text bos = piece(g, number(g, "tokenizer.ggml.bos_token_id"));
    const gguf_text eos = piece(g, number(g, "tokenizer.ggml.eos_token_id"));
    text_builder t = {0};
    gguf_text template = {"", 0};

    text_add_string(&t, "{\"bos_token\":{\"content\":");
    text_add_json(&t, bos.at, bos.n);
    text_add_string(&t, "},\"eos_token\":");
    text_add_json(&t, eos.at, eos.n);
    if (gguf_get_text(g, "tokenizer.chat_template", &template) == ERR_OK) {
        text_add_string(&t, ",\"chat_template\":");
        text_add_json(&t, template.at, template.n);
    }
    text_add_string(&t, "}\n");
    write_file(folder, "tokenizer_config.json", &t, NULL);
}

/* --- weights --- */

static const struct {
    const char *from, *to;
} names[] = {{"token_embd.weight", "model.embed_tokens.weight"},
             {"output_norm.weight", "model.norm.weight"},
             {"output.weight", "lm_head.weight"},
             {"attn_norm.weight", "input_layernorm.weight"},
             {"attn_q.weight", "self_attn.q_proj.weight"},
             {"attn_k.weight", "self_attn.k_proj.weight"},
             {"attn_v.weight", "self_attn.v_proj.weight"},
             {"attn_output.weight", "self_attn.o_proj.weight"},
             {"ffn_norm.weight", "post_attention_layernorm.weight"},
             {"ffn_gate.weight", "mlp.gate_proj.weight"},
             {"ffn_up.weight", "mlp.up_proj.weight"},
             {"ffn_down.weight", "mlp.down_proj.weight"}};

/* By a record's names. */
static void rename_as(const cJSON *record, const char *rest, unsigned layer, char *out,
                      size_t n)
{
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(record, "names");
    const cJSON *to = cJSON_GetObjectItemCaseSensitive(all, rest);
    const char *mark;

    if (!cJSON_IsString(to)) fail(rest);
    mark = strchr(to->valuestring, '%');
    if (mark)
        snprintf(out, n, "%.*s%u%s", (int)(mark - to->valuestring), to->valuestring, layer,
                 mark + 1);
    else
        snprintf(out, n, "%s", to->valuestring);
}

static void rename_tensor(const cJSON *record, const gguf_tensor *t, char *out, size_t n)
{
    char name[128], *rest;
    unsigned layer = 0;
    int prefix = 0;

    snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.at);
    rest = name;
    if (sscanf(name, "blk.%u.%n", &layer, &prefix) == 1) rest += prefix;
    if (record) {
        rename_as(record, rest, layer, out, n);
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].from, rest) != 0) continue;
        if (prefix)
            snprintf(out, n, "model.layers.%u.%s", layer, names[i].to);
        else
            snprintf(out, n, "%s", names[i].to);
        return;
    }
    fail(name);
}

static bool says(const cJSON *record, const char *member)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(record, member));
}

/* The heads of a matrix whose rows are in the order of interleaved rotation, else 0. */
static size_t rotated_heads(const gguf *g, const gguf_tensor *t, const cJSON *record)
{
    const cJSON *whole = cJSON_GetObjectItemCaseSensitive(record, "config");
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(whole, "text_config");
    const cJSON *config = text ? text : whole;
    const bool q = memmem(t->name.at, t->name.n, "attn_q.", 7),
               k = memmem(t->name.at, t->name.n, "attn_k.", 7);
    const char *name = q ? "num_attention_heads" : "num_key_value_heads";

    if ((!q && !k) || (record && !says(record, "together"))) return 0;
    if (record) return (size_t)cJSON_GetObjectItemCaseSensitive(config, name)->valuedouble;
    return number(g, q ? "llama.attention.head_count" : "llama.attention.head_count_kv");
}

/* Float types as they are; others as F32. */
static gguf_type written_type(const gguf_tensor *t)
{
    return t->type == GGUF_F16 || t->type == GGUF_BF16 ? t->type : GGUF_F32;
}

static size_t written_bytes(const gguf_tensor *t)
{
    return t->dim[0] * t->dim[1] * (written_type(t) == GGUF_F32 ? 4 : 2);
}

static void write_row(FILE *f, const gguf_tensor *t, size_t row, bool less_1)
{
    const size_t bytes = written_bytes(t) / t->dim[1];
    const void *from = (const char *)t->data + row * bytes;
    float *x = malloc(t->dim[0] * sizeof *x);

    if (!x) fail("out of memory");
    if (written_type(t) != t->type || less_1) {
        if (matrix_read_row(t, row, x) != ERR_OK) fail("type");
        for (size_t i = 0; less_1 && i < t->dim[0]; i++) x[i] -= 1;
        from = x;
    }
    if (fwrite(from, 1, bytes, f) != bytes) fail("write");
    free(x);
}

/* Row r of the folder's matrix: the first half of a head is what stands at even places. */
static void write_rows(FILE *f, const gguf_tensor *t, size_t heads, bool less_1)
{
    const size_t rows = t->dim[1], width = heads ? rows / heads : 1;

    for (size_t r = 0; r < rows; r++) {
        const size_t i = r % width;

        write_row(f, t, heads ? r - i + i % (width / 2) * 2 + i / (width / 2) : r, less_1);
    }
}

static void describe(text_builder *t, const cJSON *record, const gguf_tensor *tensor,
                     size_t *offset)
{
    char name[128];

    rename_tensor(record, tensor, name, sizeof name);
    text_addf(t, "\"%s\":{\"dtype\":\"%s\",\"shape\":[", name,
              gguf_type_name(written_type(tensor), NULL, NULL));
    if (tensor->n_dims == 2) text_addf(t, "%llu,", (unsigned long long)tensor->dim[1]);
    text_addf(t, "%llu],\"data_offsets\":[%zu,%zu]}", (unsigned long long)tensor->dim[0],
              *offset, *offset + written_bytes(tensor));
    *offset += written_bytes(tensor);
}

/* A model, and how its family writes it; NULL: llama. */
typedef struct source {
    const gguf *g;
    const cJSON *record;
} source;

/* Tensors that are made of others: all forms of a record, layer after layer. They are small. */
static hf_item *list_items(const source *from, size_t *n)
{
    const cJSON *forms = cJSON_GetObjectItemCaseSensitive(from->record, "forms"), *form;
    hf_item *list = NULL;

    *n = 0;
    for (size_t l = 0; l < MOST_LAYERS; l++)
        cJSON_ArrayForEach (form, forms) {
            const size_t more = hf_forms_list(from->g, form, l, NULL);

            list = reallocarray(list, *n + more + 1, sizeof *list);
            if (!list) fail("out of memory");
            *n += hf_forms_list(from->g, form, l, list + *n);
        }
    return list;
}

static bool is_plain(const source *from, const gguf_tensor *t)
{
    char name[128], *rest;
    unsigned layer;
    int prefix = 0;

    snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.at);
    rest = sscanf(name, "blk.%u.%n", &layer, &prefix) == 1 ? name + prefix : name;
    return !hf_forms_has(from->record, rest);
}

/* Tensors first .. last-1. */
static void write_shard(const source *from, const char *folder, const char *file,
                        const size_t at[2])
{
    text_builder t = {0};
    size_t offset = 0, items;
    hf_item *list = list_items(from, &items);
    uint64_t length;
    FILE *f;

    text_add(&t, "\0\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"}", 8 + 32 - 1);
    for (size_t i = at[0]; i < at[1]; i++) {
        if (!is_plain(from, gguf_tensor_at(from->g, i))) continue;
        text_add_string(&t, ",");
        describe(&t, from->record, gguf_tensor_at(from->g, i), &offset);
    }
    for (size_t i = 0; i < items; i++) {
        text_add_string(&t, ",");
        hf_forms_describe(&t, &list[i], &offset);
    }
    text_add_string(&t, "}");
    while (t.n % 8) text_add_string(&t, " ");
    length = t.n - 8;
    if (t.failed) fail("out of memory");
    memcpy(t.at, &length, 8);
    write_file(folder, file, &t, &f);
    for (size_t i = at[0]; i < at[1]; i++) {
        const gguf_tensor *one = gguf_tensor_at(from->g, i);
        const bool gain = memmem(one->name.at, one->name.n, "norm", 4) != NULL;

        if (!is_plain(from, one)) continue;
        write_rows(f, one, rotated_heads(from->g, one, from->record),
                   gain && says(from->record, "less_1"));
    }
    for (size_t i = 0; i < items; i++) hf_forms_write(f, &list[i]);
    free(list);
    if (fclose(f) != 0) fail(file);
}

static void write_weights(const source *from, const char *folder, size_t shards)
{
    const size_t n = gguf_tensors(from->g);
    text_builder map = {0};

    text_add_string(&map, "{\"metadata\":{},\"weight_map\":{");
    for (size_t s = 0; s < shards; s++) {
        const size_t at[2] = {n * s / shards, n * (s + 1) / shards};
        char file[64] = "model.safetensors";

        if (shards > 1)
            snprintf(file, sizeof file, "model-%05zu-of-%05zu.safetensors", s + 1, shards);
        write_shard(from, folder, file, at);
        for (size_t i = at[0]; i < at[1]; i++) {
            char name[128];

            if (!is_plain(from, gguf_tensor_at(from->g, i))) continue;
            rename_tensor(from->record, gguf_tensor_at(from->g, i), name, sizeof name);
            text_addf(&map, "%s\"%s\":\"%s\"", i ? "," : "", name, file);
        }
    }
    text_add_string(&map, "}}\n");
    if (shards > 1)
        write_file(folder, "model.safetensors.index.json", &map, NULL);
    else
        text_free(&map);
}

void hf_write(const gguf *g, const char *folder, size_t shards)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) fail(folder);
    write_config(g, folder);
    write_tokenizer(g, folder);
    write_tokenizer_config(g, folder);
    write_weights(&(source){g, NULL}, folder, shards);
}

void hf_write_as(const gguf *g, const char *folder, const cJSON *record)
{
    char *config = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(record, "config"));
    text_builder t = {0};

    if (!config) fail("no config");
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) fail(folder);
    text_add_string(&t, config);
    free(config);
    write_file(folder, "config.json", &t, NULL);
    write_tokenizer(g, folder);
    write_tokenizer_config(g, folder);
    write_weights(&(source){g, record}, folder, 1);
}
