/* hf_vocab.c - reads tokens and merges, and finds tokens by their text.
 *
 *   model.vocab -> text, type by number
 *   added_tokens over them: those are found whole in text, and may steer
 *   sorted by text -> unk_token, merges: all of their parts must be tokens
 *
 * The vocabulary is as large as the embedding has rows: numbers past that are an error in the
 * vocabulary itself and left out of the added tokens, where padded tables are common. */
#include "server/convert/hf_vocab.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tok_kind.h"
#include "server/text.h"

static const char tokenizer_json[] = "tokenizer.json";

bool hf_vocab_refuse(fault *why, const char *what, const char *of)
{
    return fault_refuse(why, ERR_JSON, NULL, "%s: %s%s%s", tokenizer_json, what, of ? " " : "",
                        of ? of : "");
}

/* --- tokens --- */

/* Of equal texts the lower id comes first: which one is found is not qsort's affair. */
static int by_text(const void *a, const void *b, void *arg)
{
    const hf_vocab *v = arg;
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    const int order = strcmp(v->text[i], v->text[j]);

    return order ? order : (i > j) - (i < j);
}

int32_t hf_vocab_find(const hf_vocab *v, const char *text, size_t n)
{
    size_t from = 0, to = v->n_order;

    while (from < to) {
        const size_t middle = from + (to - from) / 2;
        const char *there = v->text[v->order[middle]];
        /* text is a part of a merge, not a string that ends */
        const int order = strncmp(there, text, n);

        if (order == 0 && there[n] == '\0') return v->order[middle];
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return HF_NO_ID;
}

/* "<0x0A>". The character after the digits is read too, or "<0x0Ax" would be one. */
static bool is_byte_token(const char *text)
{
    unsigned byte;
    char end;

    return strlen(text) == 6 && sscanf(text, "<0x%2X%c", &byte, &end) == 2 && end == '>';
}

static bool is_byte(const hf_vocab *v, const char *text)
{
    return v->kind == HF_LLAMA && is_byte_token(text);
}

/* A list of ["piece", score]; a piece's place is its number. */
static bool read_pairs(hf_vocab *v, fault *why)
{
    const cJSON *list = json_get(v->model, "vocab"), *item;
    size_t id = 0;

    if (!cJSON_IsArray(list)) return hf_vocab_refuse(why, "it has no vocabulary", NULL);
    cJSON_ArrayForEach (item, list) {
        const cJSON *score = item->child ? item->child->next : NULL;

        if (!cJSON_IsArray(item) || !cJSON_IsString(item->child) || !cJSON_IsNumber(score) ||
            !isfinite((float)score->valuedouble))
            return hf_vocab_refuse(why, "a piece of the vocabulary is malformed", NULL);
        if (id >= v->V)
            return hf_vocab_refuse(why, "past the embedding's last row is token",
                                   item->child->valuestring);
        v->text[id] = item->child->valuestring;
        v->type[id] = TOK_NORMAL;
        v->score[id++] = (float)score->valuedouble;
    }
    return true;
}

/* Numbers come in any order, and some may be missing: rows that pad the embedding. */
static bool read_vocab(hf_vocab *v, fault *why)
{
    const cJSON *list = json_get(v->model, "vocab"), *item;

    if (v->kind == HF_T5) return read_pairs(v, why);
    if (!cJSON_IsObject(list)) return hf_vocab_refuse(why, "it has no vocabulary", NULL);
    cJSON_ArrayForEach (item, list) {
        size_t id;

        if (!json_is_int(item, 0, INT32_MAX))
            return hf_vocab_refuse(why, "no number for token", item->string);
        id = (size_t)item->valuedouble;
        if (id >= v->V)
            return hf_vocab_refuse(why, "past the embedding's last row is token", item->string);
        if (v->text[id])
            return hf_vocab_refuse(why, "two have the number of token", item->string);
        v->text[id] = item->string;
        v->type[id] = is_byte(v, item->string) ? TOK_BYTE : TOK_NORMAL;
    }
    return true;
}

/* Does a token steer, whatever its folder says? Several vocabularies do not mark such ones as
 * special, and then text that a user wrote would become them. */
static bool looks_special(const char *text)
{
    static const char *const frames[][2] = {{"<|", "|>"},
                                            {"<\xef\xbd\x9c", "\xef\xbd\x9c>"},
                                            {"<unused", ">"},
                                            {"<start_of_", ">"},
                                            {"<end_of_", ">"}};
    const size_t n = strlen(text);

    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        const size_t a = strlen(frames[i][0]), b = strlen(frames[i][1]);

        if (n >= a + b && memcmp(text, frames[i][0], a) == 0 &&
            memcmp(text + n - b, frames[i][1], b) == 0)
            return true;
    }
    return false;
}

/* Tokens that are found in text before anything is cut; control tokens steer. */
static bool read_added(hf_vocab *v, size_t *beyond, fault *why)
{
    const cJSON *list = json_get(v->f->tokenizer, "added_tokens"), *item;

    cJSON_ArrayForEach (item, list) {
        const cJSON *id = json_get(item, "id");
        const char *content = NULL;
        bool special = false;

        if (!json_get_string(item, "content", &content, why) ||
            !json_get_bool(item, "special", &special, why))
            return hf_folder_blame(why, tokenizer_json);
        if (!content || !*content || !json_is_int(id, 0, INT32_MAX))
            return hf_vocab_refuse(why, "an added token has no id or no content", NULL);
        if (cJSON_IsTrue(json_get(item, "single_word")))
            return hf_vocab_refuse(why, "single_word is not supported, of added token",
                                   content);
        if (id->valuedouble >= (double)v->V) {
            (*beyond)++;
            continue;
        }
        /* Over what the vocabulary has there: the tokenizer looks for added tokens first. */
        v->text[(size_t)id->valuedouble] = content;
        v->type[(size_t)id->valuedouble] = special || looks_special(content) ? TOK_CONTROL
                                                                             : TOK_USER;
    }
    return true;
}

bool hf_vocab_swallows(const hf_vocab *v, const cJSON *added, const char *flag)
{
    const cJSON *id = json_get(added, "id");

    return cJSON_IsTrue(json_get(added, flag)) && json_is_int(id, 0, (int64_t)v->V - 1);
}

/* Of byte-level kinds no text is unknown, and WordPiece names it by its id alone. Unigram has
 * its number. */
static bool read_unknown(hf_vocab *v, fault *why)
{
    const cJSON *number = json_get(v->model, "unk_id");
    const char *unknown = NULL;

    if (!json_get_string(v->model, "unk_token", &unknown, why))
        return hf_folder_blame(why, tokenizer_json);
    v->unknown = unknown ? hf_vocab_find(v, unknown, strlen(unknown)) : HF_NO_ID;
    if (v->kind == HF_T5 && json_is_int(number, 0, (int64_t)v->V - 1))
        v->unknown = (int32_t)number->valuedouble;
    if (v->unknown == HF_NO_ID && (v->kind == HF_T5 || v->kind == HF_BERT))
        return hf_vocab_refuse(why, "it has no token for what is unknown", NULL);
    if (v->unknown != HF_NO_ID && (v->kind == HF_LLAMA || v->kind == HF_T5))
        v->type[v->unknown] = TOK_UNKNOWN;
    return true;
}

static void sort_tokens(hf_vocab *v)
{
    for (size_t i = 0; i < v->V; i++)
        if (v->text[i]) v->order[v->n_order++] = (int32_t)i;
    qsort_r(v->order, v->n_order, sizeof *v->order, by_text, v);
}

/* --- merges --- */

/* Older files write a merge as one text, and a space that begins it belongs to its left part;
 * newer ones as a pair, whose parts may hold spaces. */
bool hf_vocab_read_merge(const cJSON *item, const char **left, size_t *n, const char **right)
{
    if (cJSON_IsString(item)) {
        const char *space = strchr(item->valuestring + !!*item->valuestring, ' ');

        if (!space) return false;
        *left = item->valuestring;
        *n = (size_t)(space - *left);
        *right = space + 1;
        return true;
    }
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 2 || !cJSON_IsString(item->child) ||
        !cJSON_IsString(item->child->next))
        return false;
    *left = item->child->valuestring;
    *n = strlen(*left);
    *right = item->child->next->valuestring;
    return true;
}

/* Rank what each merge makes; `made` is what it is put together in. */
static bool rank_merge(hf_vocab *v, const cJSON *item, int32_t rank, text_builder *made,
                       fault *why)
{
    const char *left = "", *right = "";
    size_t n = 0;
    int32_t id;

    if (!hf_vocab_read_merge(item, &left, &n, &right))
        return hf_vocab_refuse(why, "a merge is malformed", NULL);
    made->n = 0; /* one buffer for all: there are hundreds of thousands */
    text_add(made, left, n);
    text_add_string(made, right);
    if (made->failed) return fault_refuse(why, ERR_JSON, NULL, "out of memory");
    id = hf_vocab_find(v, made->at, made->n);
    if (id == HF_NO_ID || hf_vocab_find(v, left, n) == HF_NO_ID ||
        hf_vocab_find(v, right, strlen(right)) == HF_NO_ID)
        return hf_vocab_refuse(why, "a merge has parts that are no tokens:", made->at);
    if (v->rank[id] == HF_UNRANKED) v->rank[id] = rank;
    return true;
}

/* Of several merges that make one piece the first counts: it is what an encoder finds first. */
static bool read_merges(hf_vocab *v, fault *why)
{
    const cJSON *list = json_get(v->model, "merges"), *item;
    text_builder made = {0};
    int32_t rank = 0;
    bool ranked = true;

    if (!cJSON_IsArray(list)) return hf_vocab_refuse(why, "it has no merges", NULL);
    cJSON_ArrayForEach (item, list) {
        ranked = rank_merge(v, item, rank++, &made, why);
        if (!ranked) break;
    }
    text_free(&made);
    return ranked;
}

/* --- all of it --- */

/* What would cut or spell words in another way than the kind does. */
static bool check_model(const hf_vocab *v, fault *why)
{
    const cJSON *drop = json_get(v->model, "dropout");
    const cJSON *prefix = json_get(v->model, "continuing_subword_prefix");
    const cJSON *suffix = json_get(v->model, "end_of_word_suffix");
    const cJSON *most = json_get(v->model, "max_input_chars_per_word");

    if (cJSON_IsNumber(drop) && drop->valuedouble > 0)
        return hf_vocab_refuse(why, "dropout is not supported", NULL);
    if (v->kind == HF_BERT ? !cJSON_IsString(prefix) || strcmp(prefix->valuestring, "##") != 0
                           : cJSON_IsString(prefix) && *prefix->valuestring)
        return hf_vocab_refuse(why, "continuing_subword_prefix is not supported:",
                               cJSON_IsString(prefix) ? prefix->valuestring : NULL);
    if (cJSON_IsString(suffix) && *suffix->valuestring)
        return hf_vocab_refuse(why,
                               "end_of_word_suffix is not supported:", suffix->valuestring);
    if (v->kind == HF_BERT && most && !json_is_int(most, 100, 100))
        return hf_vocab_refuse(why, "max_input_chars_per_word is not 100", NULL);
    return true;
}

static bool read_kind(hf_vocab *v, fault *why)
{
    const char *type = "BPE";
    bool bytes = false;

    v->model = json_get(v->f->tokenizer, "model");
    if (!cJSON_IsObject(v->model)) return hf_vocab_refuse(why, "it has no model", NULL);
    if (!json_get_string(v->model, "type", &type, why) ||
        !json_get_bool(v->model, "byte_fallback", &bytes, why))
        return hf_folder_blame(why, tokenizer_json);
    /* words that are text, with bytes for what is no word, or words that are bytes */
    if (strcmp(type, "BPE") == 0)
        v->kind = bytes ? HF_LLAMA : HF_GPT2;
    else if (strcmp(type, "WordPiece") == 0)
        v->kind = HF_BERT;
    else if (strcmp(type, "Unigram") != 0)
        return hf_vocab_refuse(why, "tokenizers of this type are not supported:", type);
    else if (bytes)
        return hf_vocab_refuse(why, "Unigram with byte_fallback is not supported", NULL);
    else
        v->kind = HF_T5;
    return check_model(v, why);
}

static bool read_all(hf_vocab *v, size_t *beyond, fault *why)
{
    if (!read_kind(v, why) || !read_vocab(v, why) || !read_added(v, beyond, why)) return false;
    sort_tokens(v);
    if (!read_unknown(v, why)) return false;
    return v->kind == HF_T5 || v->kind == HF_BERT || read_merges(v, why);
}

bool hf_vocab_open(hf_vocab *v, const hf_folder *f, size_t V, size_t *beyond, fault *why)
{
    *beyond = 0;
    *v = (hf_vocab){.f = f,
                    .V = V,
                    .text = calloc(V, sizeof *v->text),
                    .type = calloc(V, sizeof *v->type),
                    .rank = malloc(V * sizeof *v->rank),
                    .score = calloc(V, sizeof *v->score),
                    .unknown = HF_NO_ID,
                    .order = malloc(V * sizeof *v->order)};
    if (!v->text || !v->type || !v->rank || !v->score || !v->order)
        return fault_refuse(why, ERR_JSON, NULL, "out of memory");
    memset(v->rank, 0xff, V * sizeof *v->rank); /* HF_UNRANKED, -1 */
    return read_all(v, beyond, why);
}

void hf_vocab_close(hf_vocab *v)
{
    free(v->text);
    free(v->type);
    free(v->rank);
    free(v->score);
    free(v->order);
}
