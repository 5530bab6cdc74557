/* random.c - keys, tensors and weights of a random model. */
#include "tests/random.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/model/matrix.h"
#include "tests/encode.h"
#include "tests/random_parts.h"

enum { U32 = 4, F32 = 6, BOOL = 7, TEXT = 8, ARRAY = 9 }; /* value types */
enum { ALIGN = 32, UNUSED = 5, MAX_WORDS = 64 };

/* The keys, written to memory first: their number stands before them. */
typedef struct key_list {
    FILE *f;
    char *bytes;
    size_t size, n;
    const char *arch;
} key_list;

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "random model: %s\n", what);
    exit(1);
}

/* --- values --- */

static void put(FILE *f, const void *bytes, size_t n)
{
    if (n && fwrite(bytes, 1, n, f) != n) fail("cannot write");
}

static void put_u32(FILE *f, size_t v)
{
    put(f, &(uint32_t){(uint32_t)v}, sizeof(uint32_t));
}

static void put_u64(FILE *f, size_t v)
{
    put(f, &(uint64_t){v}, sizeof(uint64_t));
}

static void put_text(FILE *f, const char *text, size_t n)
{
    put_u64(f, n);
    put(f, text, n);
}

static void put_key(key_list *k, const char *key, uint32_t type)
{
    put_text(k->f, key, strlen(key));
    put_u32(k->f, type);
    k->n++;
}

/* "<arch>.key" */
static void put_arch_key(key_list *k, const char *key, uint32_t type)
{
    char name[128];

    snprintf(name, sizeof name, "%s.%s", k->arch, key);
    put_key(k, name, type);
}

static void put_size(key_list *k, const char *key, size_t value)
{
    put_arch_key(k, key, U32);
    put_u32(k->f, value);
}

static void put_real(key_list *k, const char *key, float value)
{
    put_arch_key(k, key, F32);
    put(k->f, &value, sizeof value);
}

static void put_word(key_list *k, const char *key, const char *text)
{
    put_arch_key(k, key, TEXT);
    put_text(k->f, text, strlen(text));
}

/* --- the tokenizer, from another model --- */

static gguf_array array_of(const gguf *g, const char *key)
{
    gguf_array a;

    if (gguf_get_array(g, key, &a) != ERR_OK) fail(key);
    return a;
}

static void copy_text(key_list *k, const gguf *g, const char *key)
{
    gguf_text text;

    if (gguf_get_text(g, key, &text) != ERR_OK) fail(key);
    put_key(k, key, TEXT);
    put_text(k->f, text.at, text.n);
}

static void copy_number(key_list *k, const gguf *g, const char *key)
{
    uint64_t value;

    if (gguf_get_u64(g, key, &value) != ERR_OK) fail(key);
    put_key(k, key, U32);
    put_u32(k->f, value);
}

static void copy_bool(key_list *k, const gguf *g, const char *key)
{
    bool value;

    if (gguf_get_bool(g, key, &value) != ERR_OK) fail(key);
    put_key(k, key, BOOL);
    put(k->f, &(uint8_t){value}, 1);
}

static void put_array(key_list *k, const char *key, uint32_t type, const gguf_array *a,
                      size_t n)
{
    put_key(k, key, ARRAY);
    put_u32(k->f, type);
    put_u64(k->f, n);
    put(k->f, a->data, (size_t)((const char *)a->end - (const char *)a->data));
}

static void copy_vocabulary(key_list *k, const gguf *g, size_t V)
{
    const gguf_array tokens = array_of(g, "tokenizer.ggml.tokens");
    const gguf_array types = array_of(g, "tokenizer.ggml.token_type");
    const gguf_array merges = array_of(g, "tokenizer.ggml.merges");

    if (tokens.n > V) fail("--vocab is smaller than the tokenizer's");
    put_array(k, "tokenizer.ggml.tokens", TEXT, &tokens, V);
    for (size_t i = tokens.n; i < V; i++) {
        char name[32];
        const int n = snprintf(name, sizeof name, "<|unused_%zu|>", i);

        put_text(k->f, name, (size_t)n);
    }
    put_array(k, "tokenizer.ggml.token_type", types.type, &types, V);
    for (size_t i = types.n; i < V; i++) put_u32(k->f, UNUSED);
    put_array(k, "tokenizer.ggml.merges", TEXT, &merges, merges.n);
}

static void copy_tokenizer(key_list *k, const gguf *g, size_t V)
{
    copy_text(k, g, "tokenizer.ggml.model");
    copy_text(k, g, "tokenizer.ggml.pre");
    copy_vocabulary(k, g, V);
    copy_number(k, g, "tokenizer.ggml.bos_token_id");
    copy_number(k, g, "tokenizer.ggml.eos_token_id");
    copy_number(k, g, "tokenizer.ggml.eot_token_id");
    copy_bool(k, g, "tokenizer.ggml.add_bos_token");
    copy_bool(k, g, "tokenizer.ggml.add_eos_token");
    copy_text(k, g, "tokenizer.chat_template");
}

/* --- keys --- */

/* Numbers that only some architectures have, as large as they are in real models or larger. */
static void put_extras(key_list *k, const random_wish *w)
{
    static const struct {
        const char *archs, *key;
        uint32_t type;
        float value;
    } extras[] = {
#define RANDOM_KEY(archs, type, key, value) {archs, key, type, value},
#include "tests/random_keys.def"
#undef RANDOM_KEY
    };

    for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
        if (!random_is(w, extras[i].archs)) continue;
        if (extras[i].type == F32)
            put_real(k, extras[i].key, extras[i].value);
        else if (extras[i].type == U32)
            put_size(k, extras[i].key, (size_t)extras[i].value);
        else {
            put_arch_key(k, extras[i].key, BOOL);
            put(k->f, &(uint8_t){extras[i].value != 0}, 1);
        }
    }
}

/* xIELU's, a list each: another number for every layer. */
static void put_bends(key_list *k, const random_wish *w)
{
    static const struct {
        const char *key;
        float first, step;
    } lists[] = {{"xielu.alpha_p", 0.2f, 0.1f},
                 {"xielu.alpha_n", 0.5f, -0.1f},
                 {"xielu.beta", 0.5f, 0},
                 {"xielu.eps", -1e-6f, 0}};

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        put_key(k, lists[i].key, ARRAY);
        put_u32(k->f, F32);
        put_u64(k->f, w->layers);
        for (size_t l = 0; l < w->layers; l++)
            put(k->f, &(float){lists[i].first + (float)l * lists[i].step}, sizeof(float));
    }
}

/* Small caps, so that a small model's scores reach them. */
static void put_features(key_list *k, const random_wish *w)
{
    if (w->arch->has & ARCH_CAPS) {
        put_real(k, "attn_logit_softcapping", 2);
        put_real(k, "final_logit_softcapping", 3);
    }
    if (w->window) put_size(k, "attention.sliding_window", w->window);
    if (w->experts) {
        put_size(k, "expert_count", w->experts);
        put_size(k, "expert_used_count", w->used);
        put_size(k, "expert_feed_forward_length", w->ffn);
    }
    if (random_shared_ffn(w))
        put_size(k, "expert_shared_feed_forward_length", random_shared_ffn(w));
    if (w->pooling) put_size(k, "pooling_type", w->pooling);
    if (w->arch->has & ARCH_XIELU) put_bends(k, w);
    put_extras(k, w);
}

static void put_rope(key_list *k, const random_wish *w)
{
    put_size(k, "rope.dimension_count", w->turning);
    put_real(k, "rope.freq_base", w->arch->has & ARCH_LOCAL_ROPE ? 1e6f : 10000);
    if (w->rope == RANDOM_LINEAR) {
        put_word(k, "rope.scaling.type", "linear");
        put_real(k, "rope.scaling.factor", 2.5f);
    }
    if (w->rope == RANDOM_YARN) {
        put_word(k, "rope.scaling.type", "yarn");
        put_real(k, "rope.scaling.factor", 4);
    }
    if (w->rope == RANDOM_LONG) put_real(k, "rope.scaling.attn_factor", 1.19f);
    if (w->rope == RANDOM_YARN || w->rope == RANDOM_LONG)
        put_size(k, "rope.scaling.original_context_length", w->ctx / 4);
}

static void put_keys(key_list *k, const random_wish *w, const gguf *g)
{
    put_key(k, "general.architecture", TEXT);
    put_text(k->f, k->arch, strlen(k->arch));
    put_key(k, "general.name", TEXT);
    put_text(k->f, "random", 6);
    put_size(k, "context_length", w->ctx);
    put_size(k, "embedding_length", w->d);
    put_size(k, "block_count", w->layers);
    put_size(k, "feed_forward_length", random_dense_ffn(w));
    put_size(k, "attention.head_count", w->heads);
    put_size(k, "attention.head_count_kv", w->kv_heads);
    put_size(k, "attention.key_length", w->head_dim);
    put_size(k, "attention.value_length", w->head_dim);
    put_real(k,
             w->arch->has & ARCH_LAYER_NORM ? "attention.layer_norm_epsilon"
                                            : "attention.layer_norm_rms_epsilon",
             1e-5f);
    put_rope(k, w);
    put_features(k, w);
    copy_tokenizer(k, g, w->vocab);
}

/* --- tensors --- */

static gguf_type type_of(const random_wish *w, const random_part *t)
{
    return t->matrix ? w->type : GGUF_F32;
}

static size_t row_bytes(const random_wish *w, const random_part *t)
{
    size_t columns = 1, bytes = 0;

    (void)gguf_type_name(type_of(w, t), &columns, &bytes);
    if (t->cols % columns) fail("a width is no whole block of --type");
    return t->cols / columns * bytes;
}

static size_t tensor_bytes(const random_wish *w, const random_part *t)
{
    return row_bytes(w, t) * (t->rows ? t->rows : 1) * t->planes;
}

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static void put_tensors(FILE *f, const random_wish *w, const random_part *list, size_t n)
{
    size_t offset = 0;

    for (size_t i = 0; i < n; i++) {
        const random_part *t = &list[i];

        put_text(f, t->name, strlen(t->name));
        put_u32(f, t->planes > 1 ? 3 : t->rows ? 2 : 1);
        put_u64(f, t->cols);
        if (t->rows) put_u64(f, t->rows);
        if (t->planes > 1) put_u64(f, t->planes);
        put_u32(f, (size_t)type_of(w, t));
        put_u64(f, offset);
        offset += aligned(tensor_bytes(w, t));
    }
}

static void pad(FILE *f, size_t at)
{
    static const char zeros[ALIGN];

    put(f, zeros, aligned(at) - at);
}

/* Uniform, of variance 1. */
static float next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*state >> 32) * (float)(1.7320508075688772 / 2147483648.0);
}

/* How large channel c of the residual stream is beside others: every seventh of the first. */
static float size_of_channel(const random_wish *w, size_t c)
{
    return c % 7 == 3 && c / 7 < w->massive ? 100.0f : 1.0f;
}

/* What a weight is multiplied by for massive channels: those that write to the stream. */
static float loudness(const random_wish *w, const random_part *t, size_t row, size_t col)
{
    if (strstr(t->name, "token_embd")) return size_of_channel(w, col);
    if (strstr(t->name, "attn_output") || strstr(t->name, "ffn_down"))
        return size_of_channel(w, row % w->d);
    return 1;
}

/* Factors rise from pair to pair, the long ones fast. */
static bool fill_factors(const random_part *t, float *row)
{
    const float slope = strstr(t->name, "short") ? 0.02f : 0.4f;

    if (strncmp(t->name, "rope_f", 6) != 0) return false;
    for (size_t i = 0; i < t->cols; i++) row[i] = 1 + slope * (float)i;
    return true;
}

static void put_data(FILE *f, const random_wish *w, const random_part *t, uint64_t state)
{
    const size_t rows = (t->rows ? t->rows : 1) * t->planes, bytes = row_bytes(w, t);
    float *row = malloc(t->cols * sizeof *row);
    uint8_t *coded = malloc(bytes);

    if (!row || !coded) fail("out of memory");
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < t->cols && !fill_factors(t, row); i++)
            row[i] = ((float)t->mean + (float)t->deviation * next_random(&state)) *
                     loudness(w, t, r, i);
        encode_row(type_of(w, t), row, t->cols, coded);
        put(f, coded, bytes);
    }
    pad(f, tensor_bytes(w, t));
    free(coded);
    free(row);
}

void random_write(const random_wish *asked, FILE *f)
{
    random_wish w = *asked;
    key_list keys = {.arch = w.arch->name};
    fault why = {0};
    random_part *list;
    gguf *g;
    size_t n;

    if (gguf_open(&g, w.tokens, &why) != ERR_OK) fail(w.tokens);
    if (!w.vocab) w.vocab = array_of(g, "tokenizer.ggml.tokens").n;
    list = random_parts_list(&w, &n);
    if (!list) fail("out of memory");
    keys.f = open_memstream(&keys.bytes, &keys.size);
    if (!keys.f) fail("out of memory");
    put_keys(&keys, &w, g);
    fclose(keys.f);
    put(f, "GGUF", 4);
    put_u32(f, 3);
    put_u64(f, n);
    put_u64(f, keys.n);
    put(f, keys.bytes, keys.size);
    put_tensors(f, &w, list, n);
    pad(f, (size_t)ftello(f));
    for (size_t i = 0; i < n; i++) put_data(f, &w, &list[i], w.seed << 32 | i);
    free(keys.bytes);
    free(list);
    gguf_close(g);
}

/* --- files of a test --- */

char *random_make(const char *arguments)
{
    random_wish w = {.arch = arch_named((gguf_text){"llama", 5}),
                     .d = 64,
                     .layers = 2,
                     .heads = 4,
                     .kv_heads = 2,
                     .ffn = 96,
                     .ctx = 512,
                     .seed = 1,
                     .type = GGUF_F32,
                     .tokens = "models/seedling-32m-mha-q8_0.gguf"};
    char *text = strdup(arguments), *words[MAX_WORDS] = {"random_model"}, *rest = NULL;
    char folder[] = "/tmp/xquantd-random-XXXXXX", *path = NULL;
    int n = 1;
    FILE *f;

    for (char *at = strtok_r(text, " ", &rest); at && n + 1 < MAX_WORDS;
         at = strtok_r(NULL, " ", &rest))
        words[n++] = at;
    if (!mkdtemp(folder) || asprintf(&path, "%s/model.gguf", folder) < 0) fail("no folder");
    words[n++] = path;
    if (!random_parse(&w, n, words)) fail(arguments);
    f = fopen(path, "wb");
    if (!f) fail(path);
    random_write(&w, f);
    if (fclose(f) != 0) fail("cannot write");
    free(text);
    return path;
}

void random_remove(char *path)
{
    unlink(path);
    *strrchr(path, '/') = 0;
    rmdir(path);
    free(path);
}
