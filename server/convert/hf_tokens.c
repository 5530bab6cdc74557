/* hf_tokens.c - reads a vocabulary from tokenizer.json, and writes it as keys. */
#include "server/convert/hf_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/text.h"

/* The file's token types. */
enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

enum { NO_ID = -1, UNRANKED = -1 };

static const char tokenizer_json[] = "tokenizer.json";
static const char space_mark[] = "\xe2\x96\x81"; /* U+2581, SentencePiece's space */

typedef struct vocab {
    const hf_folder *f;
    const cJSON *model;
    size_t V;
    bool bytes_fall_back; /* the kind `llama` */
    const char **text;    /* [V] NULL: no token has that id */
    uint8_t *type;        /* [V] */
    int32_t *rank;        /* [V] of the merge that makes it */
    int32_t *order;       /* [n_order] ids by text */
    size_t n_order;
} vocab;

static bool refuse(json_fault *why, const char *what, const char *of)
{
    return json_refuse(why, NULL, NULL, "%s: %s%s%s", tokenizer_json, what, of ? " " : "",
                       of ? of : "");
}

/* --- tokens --- */

static int by_text(const void *a, const void *b, void *arg)
{
    const vocab *v = arg;
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    const int order = strcmp(v->text[i], v->text[j]);

    return order ? order : (i > j) - (i < j);
}

/* The id of n bytes of text, or NO_ID. */
static int32_t find(const vocab *v, const char *text, size_t n)
{
    size_t from = 0, to = v->n_order;

    while (from < to) {
        const size_t middle = from + (to - from) / 2;
        const char *there = v->text[v->order[middle]];
        const int order = strncmp(there, text, n);

        if (order == 0 && there[n] == '\0') return v->order[middle];
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return NO_ID;
}

static bool is_byte_token(const char *text)
{
    unsigned byte;
    char end;

    return strlen(text) == 6 && sscanf(text, "<0x%2X%c", &byte, &end) == 2 && end == '>';
}

static bool read_vocab(vocab *v, json_fault *why)
{
    const cJSON *list = json_get(v->model, "vocab"), *item;

    if (!cJSON_IsObject(list)) return refuse(why, "it has no vocabulary", NULL);
    cJSON_ArrayForEach (item, list) {
        size_t id;

        if (!json_is_int(item, 0, INT32_MAX))
            return refuse(why, "no number for token", item->string);
        id = (size_t)item->valuedouble;
        if (id >= v->V)
            return refuse(why, "past the embedding's last row is token", item->string);
        if (v->text[id]) return refuse(why, "two have the number of token", item->string);
        v->text[id] = item->string;
        v->type[id] = v->bytes_fall_back && is_byte_token(item->string) ? BYTE : NORMAL;
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
static bool read_added(vocab *v, hf_tokens_about *about, json_fault *why)
{
    const cJSON *list = json_get(v->f->tokenizer, "added_tokens"), *item;

    cJSON_ArrayForEach (item, list) {
        const cJSON *id = json_get(item, "id");
        const char *content = NULL;
        bool special = false;

        if (!json_get_string(item, "content", &content, why) ||
            !json_get_bool(item, "special", &special, why))
            return hf_folder_blame(why, tokenizer_json);
        if (!content || !json_is_int(id, 0, INT32_MAX))
            return refuse(why, "an added token has no id or no content", NULL);
        if (id->valuedouble >= (double)v->V) {
            about->beyond++;
            continue;
        }
        v->text[(size_t)id->valuedouble] = content;
        v->type[(size_t)id->valuedouble] = special || looks_special(content) ? CONTROL : USER;
    }
    return true;
}

static bool read_unknown(vocab *v, json_fault *why)
{
    const char *unknown = NULL;
    int32_t id;

    if (!json_get_string(v->model, "unk_token", &unknown, why))
        return hf_folder_blame(why, tokenizer_json);
    id = unknown ? find(v, unknown, strlen(unknown)) : NO_ID;
    if (id != NO_ID && v->bytes_fall_back) v->type[id] = UNKNOWN;
    return true;
}

static void sort_tokens(vocab *v)
{
    for (size_t i = 0; i < v->V; i++)
        if (v->text[i]) v->order[v->n_order++] = (int32_t)i;
    qsort_r(v->order, v->n_order, sizeof *v->order, by_text, v);
}

/* --- merges --- */

/* "left right", or newer ["left", "right"], which may hold spaces. */
static bool read_merge(const cJSON *item, const char **left, size_t *n, const char **right)
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
static bool rank_merge(vocab *v, const cJSON *item, int32_t rank, text_builder *made,
                       json_fault *why)
{
    const char *left = "", *right = "";
    size_t n = 0;
    int32_t id;

    if (!read_merge(item, &left, &n, &right)) return refuse(why, "a merge is malformed", NULL);
    made->n = 0;
    text_add(made, left, n);
    text_add_string(made, right);
    if (made->failed) return json_refuse(why, NULL, NULL, "out of memory");
    id = find(v, made->at, made->n);
    if (id == NO_ID || find(v, left, n) == NO_ID || find(v, right, strlen(right)) == NO_ID)
        return refuse(why, "a merge has parts that are no tokens:", made->at);
    if (v->rank[id] == UNRANKED) v->rank[id] = rank;
    return true;
}

static bool read_merges(vocab *v, json_fault *why)
{
    const cJSON *list = json_get(v->model, "merges"), *item;
    text_builder made = {0};
    int32_t rank = 0;
    bool ranked = true;

    if (!cJSON_IsArray(list)) return refuse(why, "it has no merges", NULL);
    cJSON_ArrayForEach (item, list) {
        ranked = rank_merge(v, item, rank++, &made, why);
        if (!ranked) break;
    }
    text_free(&made);
    return ranked;
}

/* --- how text is cut --- */

static void add_step(text_builder *t, const cJSON *step)
{
    const cJSON *type = json_get(step, "type"), *pattern = json_get(step, "pattern");
    const cJSON *regex = json_get(pattern, "Regex");
    const char *name = cJSON_IsString(type) ? type->valuestring : "";

    if (!regex) regex = json_get(pattern, "String");
    if (strcmp(name, "Split") == 0 && cJSON_IsString(regex)) {
        text_add_string(t, "split ");
        text_add_string(t, regex->valuestring);
    } else if (strcmp(name, "Digits") == 0 &&
               cJSON_IsTrue(json_get(step, "individual_digits"))) {
        text_add_string(t, "digits");
    } else if (strcmp(name, "ByteLevel") == 0) {
        text_add_string(t,
                        cJSON_IsFalse(json_get(step, "use_regex")) ? "bytes plain" : "bytes");
    } else {
        text_add_string(t, name);
    }
    text_add_string(t, "\n");
}

static bool steps_match(const char *steps, const char *row)
{
    const size_t n = strlen(row);

    return row[n - 1] == '*' ? strncmp(steps, row, n - 1) == 0 : strcmp(steps, row) == 0;
}

static const char *name_steps(const char *steps, const cJSON *ignore_merges)
{
    typedef enum whole { APART, WHOLE, EITHER } whole;
    static const struct {
        const char *name;
        whole kept;
        const char *steps;
    } rows[] = {
#define HF_PRETOKENIZER(name, kept, steps) {name, kept, steps},
#include "server/convert/hf_pretokenizers.def"
#undef HF_PRETOKENIZER
    };
    const whole wanted = cJSON_IsFalse(ignore_merges) ? APART : WHOLE;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (steps_match(steps, rows[i].steps) &&
            (rows[i].kept == wanted || rows[i].kept == EITHER))
            return rows[i].name;
    return NULL;
}

static bool write_pretokenizer(const vocab *v, gguf_writer *w, json_fault *why)
{
    const cJSON *pre = json_get(v->f->tokenizer, "pre_tokenizer");
    const cJSON *list = json_get(pre, "pretokenizers"), *step;
    text_builder t = {0};
    const char *name;
    char *steps;
    bool known;

    text_add_string(&t, "");
    cJSON_ArrayForEach (step, list) add_step(&t, step);
    if (!list && pre) add_step(&t, pre);
    steps = text_take(&t, NULL);
    if (!steps) return json_refuse(why, NULL, NULL, "out of memory");
    name = name_steps(steps, json_get(v->model, "ignore_merges"));
    known = name || refuse(why, "its way to cut text is not known:", steps);
    if (name) gguf_write_text(w, "tokenizer.ggml.pre", name, strlen(name));
    free(steps);
    return known;
}

/* Does the first of a normalizer's or pre-tokenizer's steps put a space before the text? */
static bool has_step(const cJSON *item, const char *member, const char *type)
{
    const cJSON *list = json_get(item, member), *step, *name = json_get(item, "type");

    if (cJSON_IsString(name) && strcmp(name->valuestring, type) == 0) return true;
    cJSON_ArrayForEach (step, list) {
        name = json_get(step, "type");
        if (cJSON_IsString(name) && strcmp(name->valuestring, type) == 0) return true;
    }
    return false;
}

static bool adds_space(const hf_folder *f)
{
    const cJSON *pre = json_get(f->tokenizer, "pre_tokenizer");
    const cJSON *scheme = json_get(pre, "prepend_scheme");

    if (has_step(json_get(f->tokenizer, "normalizer"), "normalizers", "Prepend")) return true;
    if (!has_step(pre, "pretokenizers", "Metaspace")) return false;
    if (cJSON_IsString(scheme)) return strcmp(scheme->valuestring, "never") != 0;
    return !cJSON_IsFalse(json_get(pre, "add_prefix_space"));
}

/* --- tokens that have a part to play --- */

/* A token that tokenizer_config.json names: as a text, or as an object with its content. */
static int32_t find_role(const vocab *v, const char *role)
{
    const cJSON *item = json_get(v->f->tokenizer_config, role);

    if (cJSON_IsObject(item)) item = json_get(item, "content");
    return cJSON_IsString(item) ? find(v, item->valuestring, strlen(item->valuestring)) : NO_ID;
}

/* An id of a member that is a number or a list of them. Past the last: NO_ID. */
static int32_t id_at(const vocab *v, const cJSON *file, const char *member, int i)
{
    const cJSON *item = json_get(file, member);

    if (cJSON_IsArray(item))
        item = cJSON_GetArrayItem(item, i);
    else if (i > 0)
        return NO_ID;
    if (!json_is_int(item, 0, INT32_MAX) || item->valuedouble >= (double)v->V) return NO_ID;
    return (int32_t)item->valuedouble;
}

static size_t add_end(int32_t id, int32_t *ends, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ends[i] == id) return n;
    if (id == NO_ID) return n;
    if (n < HF_ENDS) ends[n] = id;
    return n + 1;
}

static void write_ends(const vocab *v, gguf_writer *w, hf_tokens_about *about)
{
    static const char *const keys[HF_ENDS] = {"tokenizer.ggml.eos_token_id",
                                              "tokenizer.ggml.eot_token_id",
                                              "tokenizer.ggml.eom_token_id"};
    const cJSON *const files[] = {v->f->generation, v->f->config};
    int32_t ends[HF_ENDS], id;
    size_t n = add_end(find_role(v, "eos_token"), ends, 0);

    for (int k = 0; k < 2; k++)
        for (int i = 0; (id = id_at(v, files[k], "eos_token_id", i)) != NO_ID; i++) {
            if (n == HF_ENDS) {
                bool known = false;

                for (size_t e = 0; e < HF_ENDS; e++) known |= ends[e] == id;
                about->ends += !known;
                continue;
            }
            n = add_end(id, ends, n);
        }
    for (size_t i = 0; i < n; i++) gguf_write_u32(w, keys[i], (uint32_t)ends[i]);
}

/* Whether the template that finishes a prompt puts this token before it or behind. */
static bool template_has(const vocab *v, int32_t id, bool first)
{
    const cJSON *after = json_get(v->f->tokenizer, "post_processor");
    const cJSON *list = json_get(after, "processors"), *step,
                *single = json_get(after, "single");
    const cJSON *piece;

    cJSON_ArrayForEach (step, list)
        if (json_get(step, "single")) single = json_get(step, "single");
    piece = single ? cJSON_GetArrayItem(single, first ? 0 : cJSON_GetArraySize(single) - 1)
                   : NULL;
    piece = json_get(json_get(piece, "SpecialToken"), "id");
    return id != NO_ID && cJSON_IsString(piece) &&
           find(v, piece->valuestring, strlen(piece->valuestring)) == id;
}

static bool adds(const vocab *v, const char *member, int32_t id, bool first)
{
    const cJSON *said = json_get(v->f->tokenizer_config, member);

    return id != NO_ID &&
           (cJSON_IsBool(said) ? cJSON_IsTrue(said) : template_has(v, id, first));
}

static void write_roles(const vocab *v, gguf_writer *w, hf_tokens_about *about)
{
    const int32_t padding = find_role(v, "pad_token"), unknown = find_role(v, "unk_token");
    int32_t bos = find_role(v, "bos_token");

    if (bos == NO_ID) bos = id_at(v, v->f->config, "bos_token_id", 0);
    if (bos != NO_ID) gguf_write_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)bos);
    write_ends(v, w, about);
    if (padding != NO_ID)
        gguf_write_u32(w, "tokenizer.ggml.padding_token_id", (uint32_t)padding);
    if (unknown != NO_ID)
        gguf_write_u32(w, "tokenizer.ggml.unknown_token_id", (uint32_t)unknown);
    gguf_write_bool(w, "tokenizer.ggml.add_bos_token", adds(v, "add_bos_token", bos, true));
    gguf_write_bool(w, "tokenizer.ggml.add_eos_token",
                    adds(v, "add_eos_token", find_role(v, "eos_token"), false));
}

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
    if (cJSON_IsString(text))
        gguf_write_text(w, "tokenizer.chat_template", text->valuestring,
                        strlen(text->valuestring));
}

/* --- keys --- */

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

static bool write_tokens(const vocab *v, gguf_writer *w, json_fault *why)
{
    text_builder t = {0};
    bool failed;

    gguf_write_array(w, "tokenizer.ggml.tokens", GGUF_TYPE_TEXT, v->V);
    for (size_t i = 0; i < v->V; i++) {
        char name[32];

        if (!v->text[i]) snprintf(name, sizeof name, "[PAD%zu]", i);
        if (v->text[i] && v->type[i] == USER && v->bytes_fall_back)
            write_user_token(w, v->text[i], &t);
        else
            gguf_write_element_text(w, v->text[i] ? v->text[i] : name,
                                    strlen(v->text[i] ? v->text[i] : name));
    }
    failed = t.failed;
    text_free(&t);
    gguf_write_array(w, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, v->V);
    for (size_t i = 0; i < v->V; i++)
        gguf_write_element(w, &(int32_t){v->text[i] ? v->type[i] : UNUSED}, sizeof(int32_t));
    return !failed || json_refuse(why, NULL, NULL, "out of memory");
}

static void write_scores(const vocab *v, gguf_writer *w)
{
    enum { FLOAT32 = 6 };
    const float least = -(float)cJSON_GetArraySize(json_get(v->model, "merges"));

    gguf_write_array(w, "tokenizer.ggml.scores", FLOAT32, v->V);
    for (size_t i = 0; i < v->V; i++)
        gguf_write_element(w, &(float){v->rank[i] == UNRANKED ? least : -(float)v->rank[i]},
                           sizeof(float));
    gguf_write_bool(w, "tokenizer.ggml.add_space_prefix", adds_space(v->f));
}

static void write_merges(const vocab *v, gguf_writer *w, text_builder *t)
{
    const cJSON *list = json_get(v->model, "merges"), *item;

    gguf_write_array(w, "tokenizer.ggml.merges", GGUF_TYPE_TEXT,
                     (uint64_t)cJSON_GetArraySize(list));
    cJSON_ArrayForEach (item, list) {
        const char *left = "", *right = "";
        size_t n = 0;

        (void)read_merge(item, &left, &n, &right); /* read_merges has checked it */
        t->n = 0;
        text_add(t, left, n);
        text_add_string(t, " ");
        text_add_string(t, right);
        gguf_write_element_text(w, t->failed ? "" : t->at, t->failed ? 0 : t->n);
    }
}

static bool write_all(const vocab *v, gguf_writer *w, hf_tokens_about *about, json_fault *why)
{
    const char *kind = v->bytes_fall_back ? "llama" : "gpt2";
    text_builder t = {0};
    bool failed;

    gguf_write_text(w, "tokenizer.ggml.model", kind, strlen(kind));
    if (v->bytes_fall_back)
        gguf_write_text(w, "tokenizer.ggml.pre", "default", strlen("default"));
    else if (!write_pretokenizer(v, w, why))
        return false;
    if (!write_tokens(v, w, why)) return false;
    if (v->bytes_fall_back)
        write_scores(v, w);
    else
        write_merges(v, w, &t);
    failed = t.failed;
    text_free(&t);
    write_roles(v, w, about);
    write_template(v->f, w);
    return !failed || json_refuse(why, NULL, NULL, "out of memory");
}

/* --- all of it --- */

static bool read_kind(vocab *v, json_fault *why)
{
    const char *type = "BPE";

    v->model = json_get(v->f->tokenizer, "model");
    if (!cJSON_IsObject(v->model)) return refuse(why, "it has no model", NULL);
    if (!json_get_string(v->model, "type", &type, why) ||
        !json_get_bool(v->model, "byte_fallback", &v->bytes_fall_back, why))
        return hf_folder_blame(why, tokenizer_json);
    return strcmp(type, "BPE") == 0 ||
           refuse(why, "only tokenizers of type BPE are supported, not", type);
}

static bool read_all(vocab *v, hf_tokens_about *about, json_fault *why)
{
    if (!read_kind(v, why) || !read_vocab(v, why) || !read_added(v, about, why)) return false;
    sort_tokens(v);
    return read_unknown(v, why) && read_merges(v, why);
}

bool hf_tokens_write(const hf_folder *f, size_t V, gguf_writer *w, hf_tokens_about *about,
                     json_fault *why)
{
    vocab v = {.f = f,
               .V = V,
               .text = calloc(V, sizeof *v.text),
               .type = calloc(V, sizeof *v.type),
               .rank = malloc(V * sizeof *v.rank),
               .order = malloc(V * sizeof *v.order)};
    bool written;

    *about = (hf_tokens_about){0};
    if (v.rank) memset(v.rank, 0xff, V * sizeof *v.rank); /* UNRANKED */
    if (v.text && v.type && v.rank && v.order)
        written = read_all(&v, about, why) && write_all(&v, w, about, why);
    else
        written = json_refuse(why, NULL, NULL, "out of memory");
    free(v.text);
    free(v.type);
    free(v.rank);
    free(v.order);
    return written;
}
