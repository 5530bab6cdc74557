/* hf_roles.c - finds the tokens that have a part to play, in the three files that name them.
 *
 * tokenizer_config.json names them by text, generation_config.json and config.json by number,
 * and each may be absent or older than the others. The end of an answer is all that any of them
 * names: a chat model ends its turn with one token and its text with another. */
#include "server/convert/hf_roles.h"

#include <string.h>

/* A token that tokenizer_config.json names: as a text, or as an object with its content. */
static int32_t find_role(const hf_vocab *v, const char *role)
{
    const cJSON *item = json_get(v->f->tokenizer_config, role);

    if (cJSON_IsObject(item)) item = json_get(item, "content");
    return cJSON_IsString(item) ? hf_vocab_find(v, item->valuestring, strlen(item->valuestring))
                                : HF_NO_ID;
}

/* An id of a member that is a number or a list of them. Past the last: HF_NO_ID. */
static int32_t id_at(const hf_vocab *v, const cJSON *file, const char *member, int i)
{
    const cJSON *item = json_get(file, member);

    if (cJSON_IsArray(item))
        item = cJSON_GetArrayItem(item, i);
    else if (i > 0)
        return HF_NO_ID;
    if (!json_is_int(item, 0, INT32_MAX) || item->valuedouble >= (double)v->V) return HF_NO_ID;
    return (int32_t)item->valuedouble;
}

/* Each id once. */
static size_t add_end(int32_t id, int32_t *ends, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ends[i] == id) return n;
    if (id == HF_NO_ID) return n;
    ends[n] = id;
    return n + 1;
}

static void write_ends(const hf_vocab *v, gguf_writer *w, size_t *ends_left)
{
    static const char *const keys[HF_ENDS] = {"tokenizer.ggml.eos_token_id",
                                              "tokenizer.ggml.eot_token_id",
                                              "tokenizer.ggml.eom_token_id"};
    const cJSON *const files[] = {v->f->generation, v->f->config};
    int32_t ends[HF_ALL_ENDS], id;
    size_t n = add_end(find_role(v, "eos_token"), ends, 0);

    for (int k = 0; k < 2; k++)
        for (int i = 0; (id = id_at(v, files[k], "eos_token_id", i)) != HF_NO_ID; i++) {
            if (n == HF_ALL_ENDS) {
                bool known = false;

                for (size_t e = 0; e < n; e++) known |= ends[e] == id;
                *ends_left += !known;
                continue;
            }
            n = add_end(id, ends, n);
        }
    for (size_t i = 0; i < n && i < HF_ENDS; i++) gguf_write_u32(w, keys[i], (uint32_t)ends[i]);
    if (n <= HF_ENDS) return;
    gguf_write_array(w, "xquantd.tokenizer.ends", GGUF_TYPE_UINT32, n - HF_ENDS);
    for (size_t i = HF_ENDS; i < n; i++)
        gguf_write_element(w, &(uint32_t){(uint32_t)ends[i]}, sizeof(uint32_t));
}

/* The pieces that finish a prompt: a list, or NULL where no processor is a template. */
static const cJSON *find_template(const hf_vocab *v)
{
    const cJSON *after = json_get(v->f->tokenizer, "post_processor");
    const cJSON *list = json_get(after, "processors"), *step,
                *single = json_get(after, "single");

    cJSON_ArrayForEach (step, list)
        if (json_get(step, "single")) single = json_get(step, "single");
    return cJSON_IsArray(single) ? single : NULL;
}

/* Whether it puts this token before the prompt or behind. */
static bool template_has(const hf_vocab *v, const cJSON *list, int32_t id, bool first)
{
    const cJSON *piece = json_get(
        cJSON_GetArrayItem(list, first ? 0 : cJSON_GetArraySize(list) - 1), "SpecialToken");

    piece = json_get(piece, "id");
    return cJSON_IsString(piece) &&
           hf_vocab_find(v, piece->valuestring, strlen(piece->valuestring)) == id;
}

/* Classes that build their template themselves, with BOS unless told not to. */
static bool class_adds_bos(const hf_vocab *v)
{
    static const char *const classes[] = {"LlamaTokenizer",     "LlamaTokenizerFast",
                                          "CodeLlamaTokenizer", "CodeLlamaTokenizerFast",
                                          "GemmaTokenizer",     "GemmaTokenizerFast"};
    const cJSON *name = json_get(v->f->tokenizer_config, "tokenizer_class");

    if (!cJSON_IsString(name)) return v->kind == HF_LLAMA;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (strcmp(name->valuestring, classes[i]) == 0) return true;
    return false;
}

/* What the config says, else what the template does, else the family's default. */
static bool adds(const hf_vocab *v, const char *member, int32_t id, bool first)
{
    const cJSON *said = json_get(v->f->tokenizer_config, member), *list = find_template(v);

    if (id == HF_NO_ID) return false;
    if (cJSON_IsBool(said)) return cJSON_IsTrue(said);
    return list ? template_has(v, list, id, first) : first && class_adds_bos(v);
}

static void write_role(gguf_writer *w, const char *key, int32_t id)
{
    if (id != HF_NO_ID) gguf_write_u32(w, key, (uint32_t)id);
}

/* An encoder's first token is its class, and its last separates: a model file calls the first
 * BOS, too. */
static void write_encoder(const hf_vocab *v, gguf_writer *w)
{
    const int32_t separator = find_role(v, "sep_token");

    write_role(w, "tokenizer.ggml.cls_token_id", find_role(v, "cls_token"));
    write_role(w, "tokenizer.ggml.seperator_token_id", separator); /* spelled so */
    write_role(w, "tokenizer.ggml.mask_token_id", find_role(v, "mask_token"));
    gguf_write_bool(w, "tokenizer.ggml.add_sep_token",
                    adds(v, "add_sep_token", separator, false));
}

void hf_roles_write(const hf_vocab *v, gguf_writer *w, size_t *ends_left)
{
    int32_t bos = find_role(v, "bos_token"), unknown = find_role(v, "unk_token");

    if (bos == HF_NO_ID) bos = id_at(v, v->f->config, "bos_token_id", 0);
    if (bos == HF_NO_ID) bos = find_role(v, "cls_token");
    if (unknown == HF_NO_ID) unknown = v->unknown;
    write_role(w, "tokenizer.ggml.bos_token_id", bos);
    write_ends(v, w, ends_left);
    write_role(w, "tokenizer.ggml.padding_token_id", find_role(v, "pad_token"));
    write_role(w, "tokenizer.ggml.unknown_token_id", unknown);
    if (v->kind == HF_BERT || v->kind == HF_T5) write_encoder(v, w);
    gguf_write_bool(w, "tokenizer.ggml.add_bos_token", adds(v, "add_bos_token", bos, true));
    gguf_write_bool(w, "tokenizer.ggml.add_eos_token",
                    adds(v, "add_eos_token", find_role(v, "eos_token"), false));
}
