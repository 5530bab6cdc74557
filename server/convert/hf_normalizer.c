/* hf_normalizer.c - a list of normalizers, nested or not, becomes steps.
 *
 *   byte-level         any steps, all of them in the file's list
 *   SentencePiece's    steps, then Prepend "▁" and Replace " " by "▁": what that kind does
 * itself unigram            rules (Precompiled), runs of spaces, spaces at the ends WordPiece
 * BertNormalizer alone
 *
 * A step behind the marks would see marks where the kind sees spaces, so it is refused. */
#include "server/convert/hf_normalizer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "engine/tokenizer/tok_kind.h"
#include "engine/tokenizer/tok_normal.h"

static const char mark[] = "\xe2\x96\x81"; /* U+2581 */

enum { DEPTH_MOST = 8 };

static bool refuse(fault *why, const char *type)
{
    return hf_vocab_refuse(why, "this normalizer is not supported:", type);
}

static bool is_text(const cJSON *item, const char *text)
{
    return cJSON_IsString(item) && strcmp(item->valuestring, text) == 0;
}

/* --- steps --- */

static bool add(hf_normalizer *z, const char *text, fault *why)
{
    if (z->n == HF_STEP_TEXTS) return hf_vocab_refuse(why, "it has too many normalizers", NULL);
    z->text[z->n++] = text;
    return true;
}

/* A step that is done before the marks are set. */
static bool add_step(hf_normalizer *z, const char *name, const char *type, fault *why)
{
    if (z->marks || z->pads || z->rules)
        return hf_vocab_refuse(why, "behind SentencePiece's steps it has a normalizer", type);
    return add(z, name, why);
}

static bool read_strip(hf_normalizer *z, const cJSON *step, fault *why)
{
    const bool left = cJSON_IsTrue(json_get(step, "strip_left"));
    const bool right = cJSON_IsTrue(json_get(step, "strip_right"));

    /* a unigram vocabulary that joins spaces has none at its ends */
    if (z->rules) return (z->joins_spaces = true);
    return (!left || add_step(z, "strip_left", "Strip", why)) &&
           (!right || add_step(z, "strip_right", "Strip", why));
}

static bool read_prepend(hf_normalizer *z, const hf_vocab *v, const cJSON *step, fault *why)
{
    const cJSON *text = json_get(step, "prepend");

    if (!cJSON_IsString(text) || !*text->valuestring)
        return hf_vocab_refuse(why, "a Prepend has no text", NULL);
    if (v->kind != HF_GPT2 && is_text(text, mark)) return (z->pads = true);
    return add_step(z, "prepend", "Prepend", why) && add(z, text->valuestring, why);
}

/* The spaces of SentencePiece's: each a mark, or runs of them one. */
static bool read_spaces(hf_normalizer *z, const hf_vocab *v, const cJSON *pattern,
                        const cJSON *content, bool *read)
{
    const cJSON *string = json_get(pattern, "String"), *regex = json_get(pattern, "Regex");
    const bool space = is_text(content, " "), marked = is_text(content, mark);

    *read = true;
    if (v->kind != HF_GPT2 && is_text(string, " ") && marked) return (z->marks = true);
    if (v->kind == HF_T5 && is_text(regex, " {2,}") && (space || marked))
        return (z->joins_spaces = true);
    *read = false;
    return true;
}

static bool read_replace(hf_normalizer *z, const hf_vocab *v, const cJSON *step, fault *why)
{
    const cJSON *pattern = json_get(step, "pattern"), *content = json_get(step, "content");
    const cJSON *string = json_get(pattern, "String"), *regex = json_get(pattern, "Regex");
    bool read;

    if (!cJSON_IsString(content) || (!cJSON_IsString(string) && !cJSON_IsString(regex)) ||
        !*(string ? string : regex)->valuestring)
        return hf_vocab_refuse(why, "a Replace has no pattern or no content", NULL);
    if (!read_spaces(z, v, pattern, content, &read) || read) return read;
    if (!string)
        return hf_vocab_refuse(
            why, "a Replace of this expression is not supported:", regex->valuestring);
    return add_step(z, "replace", "Replace", why) && add(z, string->valuestring, why) &&
           add(z, content->valuestring, why);
}

/* A table of what is written instead of what, compiled by sentencepiece: GGUF has a key for it,
 * and its readers apply it to the text as it comes. */
static bool read_rules(hf_normalizer *z, const hf_vocab *v, const cJSON *step, fault *why)
{
    const cJSON *rules = json_get(step, "precompiled_charsmap");

    if (v->kind != HF_T5) return refuse(why, "Precompiled");
    if (!cJSON_IsString(rules) || z->rules)
        return hf_vocab_refuse(why, "a Precompiled normalizer has no rules", NULL);
    if (z->n || z->marks || z->pads)
        return hf_vocab_refuse(why, "before Precompiled it has another normalizer", NULL);
    z->rules = rules->valuestring;
    return true;
}

static bool read_bert(hf_normalizer *z, const hf_vocab *v, const cJSON *step, fault *why)
{
    const cJSON *strips = json_get(step, "strip_accents");

    if (v->kind != HF_BERT || z->bert) return refuse(why, "BertNormalizer");
    if (cJSON_IsFalse(json_get(step, "clean_text")) ||
        cJSON_IsFalse(json_get(step, "handle_chinese_chars")))
        return refuse(why, "BertNormalizer without clean_text or handle_chinese_chars");
    z->bert = true;
    z->lowers = !cJSON_IsFalse(json_get(step, "lowercase"));
    /* null: accents go where capitals go */
    z->strips = cJSON_IsBool(strips) ? cJSON_IsTrue(strips) : z->lowers;
    return true;
}

/* --- all of them --- */

static const char *step_of(const char *type)
{
    static const struct {
        const char *type, *step;
    } rows[] = {
#define HF_NORMALIZER(type, step) {type, step},
#include "server/convert/hf_normalizers.def"
#undef HF_NORMALIZER
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].type, type) == 0) return rows[i].step;
    return NULL;
}

static bool read_one(hf_normalizer *z, const hf_vocab *v, const cJSON *item, int depth,
                     fault *why)
{
    const cJSON *name = json_get(item, "type"), *list = json_get(item, "normalizers"), *step;
    const char *type = cJSON_IsString(name) ? name->valuestring : NULL, *simple;

    if (!type || depth == DEPTH_MOST)
        return hf_vocab_refuse(why, "a normalizer is malformed", NULL);
    if (strcmp(type, "Sequence") == 0) {
        if (!cJSON_IsArray(list))
            return hf_vocab_refuse(why, "a normalizer is malformed", NULL);
        cJSON_ArrayForEach (step, list)
            if (!read_one(z, v, step, depth + 1, why)) return false;
        return true;
    }
    simple = step_of(type);
    if (simple) return add_step(z, simple, type, why);
    if (strcmp(type, "Strip") == 0) return read_strip(z, item, why);
    if (strcmp(type, "Prepend") == 0) return read_prepend(z, v, item, why);
    if (strcmp(type, "Replace") == 0) return read_replace(z, v, item, why);
    if (strcmp(type, "Precompiled") == 0) return read_rules(z, v, item, why);
    if (strcmp(type, "BertNormalizer") == 0) return read_bert(z, v, item, why);
    return refuse(why, type);
}

/* Kinds that do steps themselves do no others but those before: unigram's and WordPiece's none.
 */
bool hf_normalizer_read(hf_normalizer *z, const hf_vocab *v, fault *why)
{
    const cJSON *item = json_get(v->f->tokenizer, "normalizer");

    *z = (hf_normalizer){0};
    if (item && !read_one(z, v, item, 0, why)) return false;
    if (v->kind == HF_BERT && !z->bert)
        return hf_vocab_refuse(why, "its WordPiece has no BertNormalizer", NULL);
    return z->n == 0 || (v->kind != HF_BERT && v->kind != HF_T5) || refuse(why, z->text[0]);
}

/* Added tokens are found before any step, except those that are `normalized`, which
 * tokenizer.json finds behind them. That is the same where no step changes such a token: steps
 * here change capitals and what is no ASCII, or what they are told to. */
static bool may_change(const hf_normalizer *z, const char *text)
{
    for (size_t i = 0; i < z->n; i++) {
        const char *step = z->text[i];

        if (strcmp(step, "replace") == 0) {
            if (strstr(text, z->text[i + 1])) return true;
            i += 2;
        } else if (strcmp(step, "prepend") == 0) {
            i++;
        } else if (strcmp(step, "lowercase") == 0) {
            for (const char *c = text; *c; c++)
                if (*c >= 'A' && *c <= 'Z') return true;
        }
    }
    for (const char *c = text; z->n && *c; c++)
        if ((unsigned char)*c >= 0x80) return true;
    return false;
}

bool hf_normalizer_allows(const hf_normalizer *z, const hf_vocab *v, fault *why)
{
    const cJSON *list = json_get(v->f->tokenizer, "added_tokens"), *item;

    cJSON_ArrayForEach (item, list) {
        const cJSON *content = json_get(item, "content");

        if (cJSON_IsTrue(json_get(item, "normalized")) && may_change(z, content->valuestring))
            return hf_vocab_refuse(why, "a normalizer changes added token",
                                   content->valuestring);
    }
    return true;
}

/* --- writing --- */

static bool write_rules(const char *rules, gguf_writer *w, fault *why)
{
    const size_t n = strlen(rules);
    unsigned char *bytes = n < INT_MAX ? malloc(n / 4 * 3 + 1) : NULL;
    size_t pad = 0, got = 0;
    int decoded;

    if (!bytes) return fault_refuse(why, ERR_JSON, NULL, "out of memory");
    decoded = EVP_DecodeBlock(bytes, (const unsigned char *)rules, (int)n);
    while (pad < 2 && pad < n && rules[n - 1 - pad] == '=') pad++;
    if (decoded >= 0) got = (size_t)decoded - pad; /* it counts the padding as zeros */
    if (decoded >= 0) {
        gguf_write_array(w, "tokenizer.ggml.precompiled_charsmap", GGUF_TYPE_UINT8, got);
        gguf_write_element(w, bytes, got);
    }
    free(bytes);
    return decoded >= 0 || hf_vocab_refuse(why, "the rules of Precompiled are no base64", NULL);
}

bool hf_normalizer_write(const hf_normalizer *z, const hf_vocab *v, gguf_writer *w, fault *why)
{
    if (v->kind == HF_GPT2 || z->n) {
        gguf_write_array(w, TOK_NORMAL_KEY, GGUF_TYPE_TEXT, z->n);
        for (size_t i = 0; i < z->n; i++)
            gguf_write_element_text(w, z->text[i], strlen(z->text[i]));
    }
    if (z->bert) {
        gguf_write_bool(w, "tokenizer.ggml.normalizer.lowercase", z->lowers);
        gguf_write_bool(w, "tokenizer.ggml.normalizer.strip_accents", z->strips);
    }
    if (v->kind == HF_LLAMA || v->kind == HF_T5)
        gguf_write_bool(w, "tokenizer.ggml.add_space_prefix", z->pads);
    if (z->pads_first) gguf_write_bool(w, "xquantd.tokenizer.space_prefix_first", true);
    if (z->pads_single) gguf_write_bool(w, TOK_SINGLE_KEY, true);
    if (v->kind == HF_T5)
        gguf_write_bool(w, "tokenizer.ggml.remove_extra_whitespaces", z->joins_spaces);
    return !z->rules || write_rules(z->rules, w, why);
}
