/* random_model.c - writes a llama model of any shape with random weights, to measure what size
 * costs: random_model [--d 2048] [--layers 24] [--heads 32] [--kv-heads 4] [--ffn 5632]
 * [--vocab 32000] [--ctx 2048] [--type f16|f32] [--seed 1] [--tokens MODEL.gguf] OUT.gguf
 *
 * Weights are uniform with variance 1 / inputs, so that activations keep their size from layer
 * to layer. The tokenizer is that of --tokens, the embedded model if not given, filled up to
 * the vocabulary's size with tokens that no text becomes. */
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu.h"
#include "engine/gguf.h"
#include "engine/kern.h"

enum { U32 = 4, F32 = 6, BOOL = 7, TEXT = 8, ARRAY = 9 }; /* value types */
enum { ALIGN = 32, UNUSED = 5, KEYS = 21 };

typedef struct wish {
    size_t d, layers, heads, kv_heads, ffn, vocab, ctx, seed;
    bool half;
    const char *tokens, *out;
} wish;

typedef struct tensor {
    char name[64];
    size_t cols, rows; /* rows 0: a gain of ones */
    double deviation;
} tensor;

static void fail(const char *what)
{
    fprintf(stderr, "random_model: %s\n", what);
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

static void put_key(FILE *f, const char *key, uint32_t type)
{
    put_text(f, key, strlen(key));
    put_u32(f, type);
}

static void put_key_u32(FILE *f, const char *key, size_t value)
{
    put_key(f, key, U32);
    put_u32(f, value);
}

static void put_key_f32(FILE *f, const char *key, float value)
{
    put_key(f, key, F32);
    put(f, &value, sizeof value);
}

static void put_key_text(FILE *f, const char *key, const char *text)
{
    put_key(f, key, TEXT);
    put_text(f, text, strlen(text));
}

static void put_array(FILE *f, const char *key, uint32_t type, const gguf_array *a, size_t n)
{
    put_key(f, key, ARRAY);
    put_u32(f, type);
    put_u64(f, n);
    put(f, a->data, (size_t)((const char *)a->end - (const char *)a->data));
}

/* --- the tokenizer, from another model --- */

static gguf_array array_of(const gguf *g, const char *key)
{
    gguf_array a;

    if (gguf_get_array(g, key, &a) != ERR_OK) fail(key);
    return a;
}

static void copy_text(FILE *f, const gguf *g, const char *key)
{
    gguf_text text;

    if (gguf_get_text(g, key, &text) != ERR_OK) fail(key);
    put_key(f, key, TEXT);
    put_text(f, text.at, text.n);
}

static void copy_number(FILE *f, const gguf *g, const char *key)
{
    uint64_t value;

    if (gguf_get_u64(g, key, &value) != ERR_OK) fail(key);
    put_key_u32(f, key, value);
}

static void copy_bool(FILE *f, const gguf *g, const char *key)
{
    bool value;

    if (gguf_get_bool(g, key, &value) != ERR_OK) fail(key);
    put_key(f, key, BOOL);
    put(f, &(uint8_t){value}, 1);
}

static void copy_vocabulary(FILE *f, const gguf *g, size_t V)
{
    const gguf_array tokens = array_of(g, "tokenizer.ggml.tokens");
    const gguf_array types = array_of(g, "tokenizer.ggml.token_type");
    const gguf_array merges = array_of(g, "tokenizer.ggml.merges");

    if (tokens.n > V) fail("--vocab is smaller than the tokenizer's");
    put_array(f, "tokenizer.ggml.tokens", TEXT, &tokens, V);
    for (size_t i = tokens.n; i < V; i++) {
        char name[32];
        const int n = snprintf(name, sizeof name, "<|unused_%zu|>", i);

        put_text(f, name, (size_t)n);
    }
    put_array(f, "tokenizer.ggml.token_type", types.type, &types, V);
    for (size_t i = types.n; i < V; i++) put_u32(f, UNUSED);
    put_array(f, "tokenizer.ggml.merges", TEXT, &merges, merges.n);
}

static void copy_tokenizer(FILE *f, const gguf *g, size_t V)
{
    copy_text(f, g, "tokenizer.ggml.model");
    copy_text(f, g, "tokenizer.ggml.pre");
    copy_vocabulary(f, g, V);
    copy_number(f, g, "tokenizer.ggml.bos_token_id");
    copy_number(f, g, "tokenizer.ggml.eos_token_id");
    copy_number(f, g, "tokenizer.ggml.eot_token_id");
    copy_bool(f, g, "tokenizer.ggml.add_bos_token");
    copy_bool(f, g, "tokenizer.ggml.add_eos_token");
}

/* KEYS of them. */
static void put_keys(FILE *f, const wish *w, const gguf *g)
{
    put_key_text(f, "general.architecture", "llama");
    put_key_text(f, "general.name", "random");
    put_key_u32(f, "llama.context_length", w->ctx);
    put_key_u32(f, "llama.embedding_length", w->d);
    put_key_u32(f, "llama.block_count", w->layers);
    put_key_u32(f, "llama.feed_forward_length", w->ffn);
    put_key_u32(f, "llama.attention.head_count", w->heads);
    put_key_u32(f, "llama.attention.head_count_kv", w->kv_heads);
    put_key_u32(f, "llama.rope.dimension_count", w->d / w->heads);
    put_key_f32(f, "llama.rope.freq_base", 10000);
    put_key_f32(f, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    copy_tokenizer(f, g, w->vocab);
}

/* --- tensors --- */

static void add(tensor **at, const char *name, size_t cols, size_t rows, double deviation)
{
    tensor *t = (*at)++;

    snprintf(t->name, sizeof t->name, "%s", name);
    t->cols = cols;
    t->rows = rows;
    t->deviation = deviation;
}

static void add_layer(tensor **at, const wish *w, size_t l)
{
    const size_t E = w->d / w->heads * w->kv_heads;
    const struct {
        const char *part;
        size_t cols, rows;
    } parts[] = {
        {"attn_norm", w->d, 0},     {"attn_q", w->d, w->d},      {"attn_k", w->d, E},
        {"attn_v", w->d, E},        {"attn_output", w->d, w->d}, {"ffn_norm", w->d, 0},
        {"ffn_gate", w->d, w->ffn}, {"ffn_up", w->d, w->ffn},    {"ffn_down", w->ffn, w->d}};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char name[64];

        snprintf(name, sizeof name, "blk.%zu.%s.weight", l, parts[i].part);
        add(at, name, parts[i].cols, parts[i].rows, 1 / sqrt((double)parts[i].cols));
    }
}

/* All tensors; *n how many. The caller frees. */
static tensor *list_tensors(const wish *w, size_t *n)
{
    tensor *list = calloc(9 * w->layers + 3, sizeof *list), *at = list;

    if (!list) fail("out of memory");
    add(&at, "token_embd.weight", w->d, w->vocab, 1);
    for (size_t l = 0; l < w->layers; l++) add_layer(&at, w, l);
    add(&at, "output_norm.weight", w->d, 0, 0);
    add(&at, "output.weight", w->d, w->vocab, 1 / sqrt((double)w->d));
    *n = (size_t)(at - list);
    return list;
}

static size_t tensor_bytes(const wish *w, const tensor *t)
{
    return t->rows ? t->cols * t->rows * (w->half ? 2 : 4) : t->cols * 4;
}

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static void put_tensors(FILE *f, const wish *w, const tensor *list, size_t n)
{
    size_t offset = 0;

    for (size_t i = 0; i < n; i++) {
        const tensor *t = &list[i];

        put_text(f, t->name, strlen(t->name));
        put_u32(f, t->rows ? 2 : 1);
        put_u64(f, t->cols);
        if (t->rows) put_u64(f, t->rows);
        put_u32(f, t->rows && w->half ? GGUF_F16 : GGUF_F32);
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

static void put_data(FILE *f, const wish *w, const kern *k, const tensor *t, uint64_t state)
{
    float *row = malloc(t->cols * sizeof *row);
    uint16_t *half = malloc(t->cols * sizeof *half);

    if (!row || !half) fail("out of memory");
    for (size_t r = 0; r < t->rows; r++) {
        for (size_t i = 0; i < t->cols; i++) row[i] = (float)t->deviation * next_random(&state);
        k->float_to_half(row, t->cols, half);
        put(f, w->half ? (const void *)half : row, t->cols * (w->half ? 2 : 4));
    }
    for (size_t i = 0; !t->rows && i < t->cols; i++) put(f, &(float){1}, sizeof(float));
    pad(f, tensor_bytes(w, t));
    free(row);
    free(half);
}

static void write_model(FILE *f, const wish *w, const gguf *g)
{
    size_t n;
    tensor *list = list_tensors(w, &n);
    kern k;

    kern_init(&k, cpu_flags());
    put(f, "GGUF", 4);
    put_u32(f, 3);
    put_u64(f, n);
    put_u64(f, KEYS);
    put_keys(f, w, g);
    put_tensors(f, w, list, n);
    pad(f, (size_t)ftello(f));
    for (size_t i = 0; i < n; i++) put_data(f, w, &k, &list[i], w->seed << 32 | i);
    free(list);
}

/* --- the command line --- */

static bool read_number(const char *text, size_t *out)
{
    char *end;

    *out = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && *out >= 1 && *out <= 1 << 24;
}

static bool read_wish(int argc, char **argv, wish *w)
{
    static const struct option options[] = {
        {"d", 1, NULL, 0},        {"layers", 1, NULL, 1}, {"heads", 1, NULL, 2},
        {"kv-heads", 1, NULL, 3}, {"ffn", 1, NULL, 4},    {"vocab", 1, NULL, 5},
        {"ctx", 1, NULL, 6},      {"seed", 1, NULL, 7},   {"type", 1, NULL, 8},
        {"tokens", 1, NULL, 9},   {NULL, 0, NULL, 0}};
    size_t *const numbers[] = {&w->d,   &w->layers, &w->heads, &w->kv_heads,
                               &w->ffn, &w->vocab,  &w->ctx,   &w->seed};

    for (int i; (i = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (i == 8 && strcmp(optarg, "f16") && strcmp(optarg, "f32")) return false;
        if (i == 8)
            w->half = optarg[2] == '6';
        else if (i == 9)
            w->tokens = optarg;
        else if (i < 0 || i > 7 || !read_number(optarg, numbers[i]))
            return false;
    }
    if (optind + 1 != argc) return false;
    w->out = argv[optind];
    return w->d % w->heads == 0 && w->heads % w->kv_heads == 0 && w->d % 32 == 0;
}

int main(int argc, char **argv)
{
    wish w = {.d = 2048,
              .layers = 24,
              .heads = 32,
              .kv_heads = 4,
              .ffn = 5632,
              .vocab = 32000,
              .ctx = 2048,
              .seed = 1,
              .half = true,
              .tokens = "models/seedling-32m-mha-q8_0.gguf"};
    fault why = {{0}};
    gguf *g;
    FILE *f;

    if (!read_wish(argc, argv, &w)) {
        fprintf(stderr, "usage: random_model [--d N] [--layers N] [--heads N] [--kv-heads N]\n"
                        "  [--ffn N] [--vocab N] [--ctx N] [--type f16|f32] [--seed N]\n"
                        "  [--tokens MODEL.gguf] OUT.gguf\n");
        return 2;
    }
    if (gguf_open(&g, w.tokens, &why) != ERR_OK) fail(w.tokens);
    f = fopen(w.out, "wb");
    if (!f) fail(w.out);
    write_model(f, &w, g);
    if (fclose(f) != 0) fail("cannot write");
    gguf_close(g);
    return 0;
}
