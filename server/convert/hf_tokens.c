/* hf_tokens.c - writes a vocabulary as keys.
 *
 * Four kinds. `gpt2` keeps its merges in order; `llama` has a score for each piece instead, and
 * loaders merge what scores best: a score that is the negated rank of the first merge gives the
 * same order. `t5` has the scores it came with, `bert` nothing but its pieces. */
#include "server/convert/hf_tokens.h"

#include <stdio.h>
#include <string.h>

#include "engine/tokenizer/tok_kind.h"
#include "server/convert/hf_pretokenizer.h"
#include "server/convert/hf_roles.h"
#include "server/convert/hf_vocab.h"
#include "server/text.h"

static const char space_mark[] = "\xe2\x96\x81"; /* U+2581, SentencePiece's space */

static const cJSON *template_of(const cJSON *item, const char **name)
{
    const cJSON *text = json_get(item, "template"), *is = json_get(item, "name");

    *name = cJSON_IsString(is) ? is->valuestring : "";
    return cJSON_IsString(text) && **name ? text : NULL;
}

/* By its name, but for the one that is called default. */
static bool write_named(const cJSON *text, const char *name, gguf_writer *w)
{
    const bool usual = strcmp(name, "default") == 0;
    char key[128];

    snprintf(key, sizeof key, "tokenizer.chat_template%s%.60s", usual ? "" : ".",
             usual ? "" : name);
    gguf_write_text(w, key, text->valuestring, strlen(text->valuestring));
    return !usual;
}

/* A text, or several by name, whose names are a list then. None is no error: a base model has
 * no template, and is not served as a chat. */
static void write_template(const hf_folder *f, gguf_writer *w)
{
    const cJSON *all = f->chat_template, *item, *text;
    const char *name;
    uint64_t named = 0;

    if (!all) all = json_get(f->tokenizer_config, "chat_template");
    if (cJSON_IsString(all)) write_named(all, "default", w);
    if (!cJSON_IsArray(all)) return;
    cJSON_ArrayForEach (item, all) {
        text = template_of(item, &name);
        if (text) named += write_named(text, name, w);
    }
    if (named) gguf_write_array(w, "tokenizer.chat_templates", GGUF_TYPE_TEXT, named);
    cJSON_ArrayForEach (item, all)
        if (named && template_of(item, &name) && strcmp(name, "default") != 0)
            gguf_write_element_text(w, name, strlen(name));
}

/* A user-defined token of SentencePiece's is written with spaces, which is what it stands for;
 * that it is found in text by its marks is a key of ours. */
static void add_user(text_builder *t, const char *text)
{
    for (const char *mark; (mark = strstr(text, space_mark)); text = mark + 3) {
        text_add(t, text, (size_t)(mark - text));
        text_add_string(t, " ");
    }
    text_add_string(t, text);
}

/* WordPiece marks what goes on inside a word; a file marks what begins one. */
static void add_piece(text_builder *t, const char *text)
{
    const size_t n = strlen(text);
    const bool named = n > 1 && text[0] == '[' && text[n - 1] == ']';

    if (strncmp(text, "##", 2) == 0)
        text_add_string(t, text + 2);
    else
        text_addf(t, "%s%s", named ? "" : space_mark, text);
}

/* The embedding may have more rows than there are tokens; each needs a text of its own. */
static void add_token(const hf_vocab *v, size_t id, text_builder *t)
{
    const bool spm = v->kind == HF_LLAMA || v->kind == HF_T5;

    t->n = 0;
    text_add_string(t, "");
    if (!v->text[id])
        text_addf(t, "[PAD%zu]", id);
    else if (spm && v->type[id] == TOK_USER)
        add_user(t, v->text[id]);
    else if (v->kind == HF_BERT && v->type[id] == TOK_NORMAL)
        add_piece(t, v->text[id]);
    else
        text_add_string(t, v->text[id]);
}

static bool write_tokens(const hf_vocab *v, gguf_writer *w, fault *why)
{
    text_builder t = {0};
    bool failed;

    gguf_write_array(w, "tokenizer.ggml.tokens", GGUF_TYPE_TEXT, v->V);
    for (size_t i = 0; i < v->V; i++) {
        add_token(v, i, &t);
        gguf_write_element_text(w, t.failed ? "" : t.at, t.failed ? 0 : t.n);
    }
    failed = t.failed;
    text_free(&t);
    gguf_write_array(w, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, v->V);
    for (size_t i = 0; i < v->V; i++)
        gguf_write_element(w, &(int32_t){v->text[i] ? v->type[i] : TOK_UNUSED},
                           sizeof(int32_t));
    return !failed || fault_refuse(why, ERR_JSON, NULL, "out of memory");
}

/* What no merge makes, letters and bytes, is below all that one does. */
static void write_scores(const hf_vocab *v, gguf_writer *w)
{
    const float least = -(float)cJSON_GetArraySize(json_get(v->model, "merges"));

    gguf_write_array(w, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, v->V);
    for (size_t i = 0; i < v->V; i++) {
        const float rank = v->rank[i] == HF_UNRANKED ? least : -(float)v->rank[i];

        gguf_write_element(w, v->kind == HF_T5 ? &v->score[i] : &rank, sizeof(float));
    }
}

/* With one space between the parts, as the file has them, whichever form the folder had. */
static void write_merges(const hf_vocab *v, gguf_writer *w, text_builder *t)
{
    const cJSON *list = json_get(v->model, "merges"), *item;

    gguf_write_array(w, "tokenizer.ggml.merges", GGUF_TYPE_TEXT,
                     (uint64_t)cJSON_GetArraySize(list));
    cJSON_ArrayForEach (item, list) {
        const char *left = "", *right = "";
        size_t n = 0;

        (void)hf_vocab_read_merge(item, &left, &n, &right); /* read_merges has checked it */
        t->n = 0;
        text_add(t, left, n);
        text_add_string(t, " ");
        text_add_string(t, right);
        gguf_write_element_text(w, t->failed ? "" : t->at, t->failed ? 0 : t->n);
    }
}

/* Ids of added tokens that take away white space on one side. */
static void write_swallowers(const hf_vocab *v, gguf_writer *w, const char *key,
                             const char *member, bool always)
{
    const cJSON *list = json_get(v->f->tokenizer, "added_tokens"), *item;
    uint64_t n = 0;

    cJSON_ArrayForEach (item, list) n += hf_vocab_swallows(v, item, member);
    if (n == 0 && !always) return;
    gguf_write_array(w, key, GGUF_TYPE_UINT32, n);
    cJSON_ArrayForEach (item, list)
        if (hf_vocab_swallows(v, item, member))
            gguf_write_element(w, &(uint32_t){(uint32_t)json_get(item, "id")->valuedouble},
                               sizeof(uint32_t));
}

/* A list is written where it says something: phi3's always, for silence means others there. */
static void write_added(const hf_vocab *v, gguf_writer *w)
{
    const bool spm = v->kind == HF_LLAMA;

    write_swallowers(v, w, "xquantd.tokenizer.swallows_left", "lstrip", false);
    write_swallowers(v, w, "xquantd.tokenizer.swallows_right", "rstrip", spm);
    if (spm) gguf_write_bool(w, "xquantd.tokenizer.found_marked", true);
}

static bool write_all(const hf_vocab *v, gguf_writer *w, hf_tokens_about *about, fault *why)
{
    static const char *const kinds[] = {
        [HF_GPT2] = "gpt2", [HF_LLAMA] = "llama", [HF_T5] = "t5", [HF_BERT] = "bert"};
    hf_normalizer z;
    const char *pre = hf_normalizer_read(&z, v, why) ? hf_pretokenizer_name(v, &z, why) : NULL;
    text_builder t = {0};
    bool failed;

    if (!pre || !hf_normalizer_allows(&z, v, why)) return false;
    gguf_write_text(w, "tokenizer.ggml.model", kinds[v->kind], strlen(kinds[v->kind]));
    gguf_write_text(w, "tokenizer.ggml.pre", pre, strlen(pre));
    if (!write_tokens(v, w, why) || !hf_normalizer_write(&z, v, w, why)) return false;
    if (v->kind == HF_LLAMA || v->kind == HF_T5) write_scores(v, w);
    if (v->kind == HF_GPT2) write_merges(v, w, &t);
    failed = t.failed;
    text_free(&t);
    write_added(v, w);
    hf_roles_write(v, w, &about->ends);
    write_template(v->f, w);
    return !failed || fault_refuse(why, ERR_JSON, NULL, "out of memory");
}

bool hf_tokens_write(const hf_folder *f, size_t V, gguf_writer *w, hf_tokens_about *about,
                     fault *why)
{
    hf_vocab v;
    bool written;

    *about = (hf_tokens_about){0};
    written = hf_vocab_open(&v, f, V, &about->beyond, why) && write_all(&v, w, about, why);
    hf_vocab_close(&v);
    return written;
}
