/* hf_tokens.c - writes a vocabulary as keys.
 *
 * Two kinds, told apart by byte_fallback: `gpt2` keeps its merges in order, `llama` has a score
 * for each piece instead, and loaders merge what scores best. A score that is the negated rank
 * of the first merge gives the same order. */
#include "server/convert/hf_tokens.h"

#include <stdio.h>
#include <string.h>

#include "engine/tokenizer/tok_kind.h"
#include "server/convert/hf_pretokenizer.h"
#include "server/convert/hf_roles.h"
#include "server/convert/hf_vocab.h"
#include "server/text.h"

static const char space_mark[] = "\xe2\x96\x81"; /* U+2581, SentencePiece's space */

/* A text, or several by name, of which one is called default. */
static void write_template(const hf_folder *f, gguf_writer *w)
{
    const cJSON *text = f->chat_template, *item;

    if (!text) text = json_get(f->tokenizer_config, "chat_template");
    if (cJSON_IsArray(text)) {
        const cJSON *list = text;

        text = NULL;
        cJSON_ArrayForEach (item, list) {
            const cJSON *name = json_get(item, "name");

            if (cJSON_IsString(name) && strcmp(name->valuestring, "default") == 0)
                text = json_get(item, "template");
        }
    }
    /* None is no error: a base model has no template, and is not served as a chat. */
    if (cJSON_IsString(text))
        gguf_write_text(w, "tokenizer.chat_template", text->valuestring,
                        strlen(text->valuestring));
}

/* A user-defined token of SentencePiece is written with spaces, for it is found in the text. */
static void write_user_token(gguf_writer *w, const char *text, text_builder *t)
{
    t->n = 0;
    for (const char *mark; (mark = strstr(text, space_mark)); text = mark + 3) {
        text_add(t, text, (size_t)(mark - text));
        text_add_string(t, " ");
    }
    text_add_string(t, text);
    gguf_write_element_text(w, t->failed ? "" : t->at, t->failed ? 0 : t->n);
}

static bool write_tokens(const hf_vocab *v, gguf_writer *w, fault *why)
{
    text_builder t = {0};
    bool failed;

    gguf_write_array(w, "tokenizer.ggml.tokens", GGUF_TYPE_TEXT, v->V);
    for (size_t i = 0; i < v->V; i++) {
        char name[32];

        /* the embedding may have more rows than there are tokens; each row needs a text of its
         * own */
        if (!v->text[i]) snprintf(name, sizeof name, "[PAD%zu]", i);
        if (v->text[i] && v->type[i] == TOK_USER && v->bytes_fall_back)
            write_user_token(w, v->text[i], &t);
        else
            gguf_write_element_text(w, v->text[i] ? v->text[i] : name,
                                    strlen(v->text[i] ? v->text[i] : name));
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
    for (size_t i = 0; i < v->V; i++)
        gguf_write_element(w, &(float){v->rank[i] == HF_UNRANKED ? least : -(float)v->rank[i]},
                           sizeof(float));
    gguf_write_bool(w, "tokenizer.ggml.add_space_prefix", hf_pretokenizer_adds_space(v->f));
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

static bool write_all(const hf_vocab *v, gguf_writer *w, hf_tokens_about *about, fault *why)
{
    const char *kind = v->bytes_fall_back ? "llama" : "gpt2";
    const char *pre = v->bytes_fall_back ? "default" : hf_pretokenizer_name(v, why);
    text_builder t = {0};
    bool failed;

    gguf_write_text(w, "tokenizer.ggml.model", kind, strlen(kind));
    if (!pre) return false;
    gguf_write_text(w, "tokenizer.ggml.pre", pre, strlen(pre));
    if (!write_tokens(v, w, why)) return false;
    if (v->bytes_fall_back)
        write_scores(v, w);
    else
        write_merges(v, w, &t);
    failed = t.failed;
    text_free(&t);
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
