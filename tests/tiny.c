/* tiny.c - writes the tiny model, valid or spoiled by a row of bad_gguf.def. */
#include "tests/tiny.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { U8 = 0, U32 = 4, F32 = 6, BOOL = 7, TEXT = 8, ARRAY = 9 }; /* value types */
enum { ALIGN = 32, CONTROLS = 3, MERGES = 4, V = CONTROLS + 256 + MERGES };

/* Bytes that grow. */
typedef struct buffer {
    unsigned char *at;
    size_t n;
} buffer;

static void put(buffer *b, const void *bytes, size_t n)
{
    b->at = realloc(b->at, b->n + n + 1);
    if (!b->at) abort();
    if (n) memcpy(b->at + b->n, bytes, n);
    b->n += n;
}

static void put_u32(buffer *b, uint32_t v)
{
    put(b, &v, sizeof v);
}

static void put_u64(buffer *b, uint64_t v)
{
    put(b, &v, sizeof v);
}

static void put_text(buffer *b, const char *text)
{
    put_u64(b, strlen(text));
    put(b, text, strlen(text));
}

static void put_padding(buffer *b)
{
    static const unsigned char zeros[ALIGN];

    put(b, zeros, (ALIGN - b->n % ALIGN) % ALIGN);
}

/* --- keys --- */

tiny_key *tiny_find_key(tiny *m, const char *name)
{
    for (size_t i = 0; i < m->keys; i++)
        if (strcmp(m->key[i].name, name) == 0) return &m->key[i];
    return NULL;
}

static void set(tiny *m, const char *name, buffer value)
{
    tiny_key *k = tiny_find_key(m, name);

    if (!k) {
        if (m->keys == TINY_KEYS) abort();
        k = &m->key[m->keys++];
        m->n_keys++;
        snprintf(k->name, sizeof k->name, "%s", name);
        k->name_bytes = strlen(name);
        k->value = NULL;
    }
    free(k->value);
    k->value = value.at;
    k->value_bytes = value.n;
}

void tiny_set_u32(tiny *m, const char *key, uint32_t value)
{
    buffer b = {0};

    put_u32(&b, U32);
    put_u32(&b, value);
    set(m, key, b);
}

void tiny_set_f32(tiny *m, const char *key, float value)
{
    buffer b = {0};

    put_u32(&b, F32);
    put(&b, &value, sizeof value);
    set(m, key, b);
}

void tiny_set_bool(tiny *m, const char *key, unsigned char value)
{
    buffer b = {0};

    put_u32(&b, BOOL);
    put(&b, &value, 1);
    set(m, key, b);
}

void tiny_set_text(tiny *m, const char *key, const char *value)
{
    buffer b = {0};

    put_u32(&b, TEXT);
    put_text(&b, value);
    set(m, key, b);
}

void tiny_become(tiny *m, const char *arch)
{
    static const char from[] = "llama.";

    tiny_set_text(m, "general.architecture", arch);
    for (size_t i = 0; i < m->keys; i++) {
        tiny_key *k = &m->key[i];
        char rest[sizeof k->name];

        if (strncmp(k->name, from, sizeof from - 1) != 0) continue;
        snprintf(rest, sizeof rest, "%s", k->name + sizeof from - 1);
        snprintf(k->name, sizeof k->name, "%.16s.%.46s", arch, rest);
        k->name_bytes = strlen(k->name);
    }
}

static buffer array_of(uint32_t type, size_t n)
{
    buffer b = {0};

    put_u32(&b, ARRAY);
    put_u32(&b, type);
    put_u64(&b, n);
    return b;
}

void tiny_set_texts(tiny *m, const char *key, const char *const *values, size_t n)
{
    buffer b = array_of(TEXT, n);

    for (size_t i = 0; i < n; i++) put_text(&b, values[i]);
    set(m, key, b);
}

void tiny_set_numbers(tiny *m, const char *key, const uint32_t *values, size_t n)
{
    buffer b = array_of(U32, n);

    put(&b, values, n * sizeof *values);
    set(m, key, b);
}

void tiny_set_bytes(tiny *m, const char *key, const void *values, size_t n)
{
    buffer b = array_of(U8, n);

    put(&b, values, n);
    set(m, key, b);
}

void tiny_set_floats(tiny *m, const char *key, const float *values, size_t n)
{
    buffer b = array_of(F32, n);

    put(&b, values, n * sizeof *values);
    set(m, key, b);
}

void tiny_remove(tiny *m, const char *key)
{
    tiny_key *k = tiny_find_key(m, key);

    free(k->value);
    m->n_keys--;
    m->keys--;
    memmove(k, k + 1, (size_t)(m->key + m->keys - k) * sizeof *k);
}

static void patch(tiny *m, const char *key, size_t at, const void *bytes, size_t n)
{
    const tiny_key *k = tiny_find_key(m, key);

    if (at + n > k->value_bytes) abort();
    memcpy(k->value + at, bytes, n);
}

void tiny_patch_u32(tiny *m, const char *key, size_t at, uint32_t value)
{
    patch(m, key, at, &value, sizeof value);
}

void tiny_patch_u64(tiny *m, const char *key, size_t at, uint64_t value)
{
    patch(m, key, at, &value, sizeof value);
}

/* --- tensors --- */

tiny_tensor *tiny_find(tiny *m, const char *name)
{
    for (size_t i = 0; i < m->tensors; i++)
        if (strcmp(m->tensor[i].name, name) == 0) return &m->tensor[i];
    abort();
}

void tiny_remove_tensor(tiny *m, const char *name)
{
    tiny_tensor *t = tiny_find(m, name);

    m->n_tensors--;
    m->tensors--;
    memmove(t, t + 1, (size_t)(m->tensor + m->tensors - t) * sizeof *t);
}

/* Uniform in -1 .. 1; always the same row. */
static float next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((int32_t)(*state >> 32)) / 2147483648.0f;
}

/* n small random weights, or ones, behind what is there. */
static void add_data(tiny *m, size_t n, bool gain)
{
    buffer b = {m->data, m->data_bytes};
    float *weights = malloc(n * sizeof *weights);
    uint64_t state = m->tensors;

    if (!weights) abort();
    for (size_t i = 0; i < n; i++) weights[i] = gain ? 1 : 0.1f * next_random(&state);
    put_padding(&b);
    put(&b, weights, n * sizeof *weights);
    free(weights);
    m->data = b.at;
    m->data_bytes = b.n;
}

void tiny_add_tensor(tiny *m, const char *name, size_t cols, size_t rows)
{
    tiny_tensor *t = &m->tensor[m->tensors++];
    const size_t n = cols * (rows ? rows : 1);

    snprintf(t->name, sizeof t->name, "%s", name);
    t->name_bytes = strlen(name);
    t->n_dims = rows ? 2 : 1;
    t->dim[0] = cols;
    t->dim[1] = rows;
    add_data(m, n, rows == 0);
    t->offset = m->data_bytes - n * sizeof(float);
    m->n_tensors++;
}

static void add_layer(tiny *m, int layer)
{
    static const char *const matrices[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                           "ffn_gate", "ffn_up", "ffn_down"};
    char name[64];

    snprintf(name, sizeof name, "blk.%d.attn_norm.weight", layer);
    tiny_add_tensor(m, name, 64, 0);
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", layer, matrices[i]);
        tiny_add_tensor(m, name, 64, 64);
    }
    snprintf(name, sizeof name, "blk.%d.ffn_norm.weight", layer);
    tiny_add_tensor(m, name, 64, 0);
}

/* --- the valid model --- */

/* The character that stands for a byte in the vocabulary's alphabet, as UTF-8. */
static void spell_byte(int byte, char out[3])
{
    int c = byte, others = 0;

    for (int i = 0; i < byte; i++)
        others += !((i > 0x20 && i < 0x7f) || (i > 0xa0 && i != 0xad));
    if (!((c > 0x20 && c < 0x7f) || (c > 0xa0 && c != 0xad))) c = 256 + others;
    memset(out, 0, 3);
    if (c < 0x80) {
        out[0] = (char)c;
    } else {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
    }
}

static void set_vocabulary(tiny *m)
{
    static const char *const control[CONTROLS] = {"<|endoftext|>", "<|im_start|>",
                                                  "<|im_end|>"};
    static const char *const merges[MERGES] = {"h e", "l l", "\xc4\xa0 w", "he ll"};
    static const char *const merged[MERGES] = {"he", "ll", "\xc4\xa0w", "hell"};
    const char *token[V];
    uint32_t type[V];
    char byte[256][3];

    for (int i = 0; i < V; i++) type[i] = i < CONTROLS ? 3 : 1;
    for (int i = 0; i < CONTROLS; i++) token[i] = control[i];
    for (int i = 0; i < 256; i++) {
        spell_byte(i, byte[i]);
        token[CONTROLS + i] = byte[i];
    }
    for (int i = 0; i < MERGES; i++) token[CONTROLS + 256 + i] = merged[i];
    tiny_set_texts(m, "tokenizer.ggml.tokens", token, V);
    tiny_set_numbers(m, "tokenizer.ggml.token_type", type, V);
    tiny_set_texts(m, "tokenizer.ggml.merges", merges, MERGES);
}

static void set_keys(tiny *m)
{
    tiny_set_text(m, "general.architecture", "llama");
    tiny_set_text(m, "general.name", "tiny");
    tiny_set_u32(m, "llama.context_length", 512);
    tiny_set_u32(m, "llama.embedding_length", 64);
    tiny_set_u32(m, "llama.block_count", 2);
    tiny_set_u32(m, "llama.feed_forward_length", 64);
    tiny_set_u32(m, "llama.attention.head_count", 2);
    tiny_set_u32(m, "llama.attention.head_count_kv", 2);
    tiny_set_u32(m, "llama.rope.dimension_count", 32);
    tiny_set_f32(m, "llama.rope.freq_base", 10000);
    tiny_set_f32(m, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    tiny_set_text(m, "tokenizer.ggml.model", "gpt2");
    tiny_set_text(m, "tokenizer.ggml.pre", "llama-bpe");
    set_vocabulary(m);
    tiny_set_u32(m, "tokenizer.ggml.bos_token_id", 0);
    tiny_set_u32(m, "tokenizer.ggml.eos_token_id", 0);
    tiny_set_u32(m, "tokenizer.ggml.eot_token_id", 2);
    tiny_set_text(m, "tokenizer.chat_template",
                  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + "
                  "'<|im_end|>\n' }}{% endfor %}"
                  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}");
    tiny_set_bool(m, "tokenizer.ggml.add_bos_token", 1);
}

tiny *tiny_new(void)
{
    tiny *m = calloc(1, sizeof *m);

    if (!m) abort();
    memcpy(m->magic, "GGUF", 4);
    m->version = 3;
    m->keep = SIZE_MAX;
    set_keys(m);
    tiny_add_tensor(m, "token_embd.weight", 64, V);
    for (int layer = 0; layer < 2; layer++) add_layer(m, layer);
    tiny_add_tensor(m, "output_norm.weight", 64, 0);
    return m;
}

void tiny_free(tiny *m)
{
    for (size_t i = 0; i < m->keys; i++) free(m->key[i].value);
    free(m->data);
    free(m);
}

/* --- writing --- */

static void put_key(buffer *b, const tiny_key *k)
{
    put_u64(b, k->name_bytes);
    put(b, k->name, strlen(k->name));
    put(b, k->value, k->value_bytes);
}

static void put_tensor(buffer *b, const tiny_tensor *t)
{
    put_u64(b, t->name_bytes);
    put(b, t->name, strlen(t->name));
    put_u32(b, t->n_dims);
    put(b, t->dim, (t->n_dims < 4 ? t->n_dims : 4) * sizeof t->dim[0]);
    put_u32(b, t->type);
    put_u64(b, t->offset);
}

unsigned char *tiny_write(const tiny *m, size_t *n, size_t *keys_end, size_t *tensors_end)
{
    buffer b = {0};

    put(&b, m->magic, 4);
    put_u32(&b, m->version);
    put_u64(&b, m->n_tensors);
    put_u64(&b, m->n_keys);
    for (size_t i = 0; i < m->keys; i++) put_key(&b, &m->key[i]);
    if (keys_end) *keys_end = b.n;
    for (size_t i = 0; i < m->tensors; i++) put_tensor(&b, &m->tensor[i]);
    put_padding(&b);
    if (tensors_end) *tensors_end = b.n;
    put(&b, m->data, m->data_bytes);
    *n = b.n < m->keep ? b.n : m->keep;
    return b.at;
}

/* Where the tensors' descriptions, and where their data begin. */
static size_t tiny_tensors_at(const tiny *m)
{
    size_t n, keys_end;

    free(tiny_write(m, &n, &keys_end, NULL));
    return keys_end;
}

static size_t tiny_data_at(const tiny *m)
{
    size_t n, tensors_end;

    free(tiny_write(m, &n, NULL, &tensors_end));
    return tensors_end;
}

/* --- the malformed ones --- */

#define BAD(stage, name, field, edit) \
    static void spoil_##name(tiny *m) \
    {                                 \
        edit;                         \
    }
#include "tests/bad_gguf.def"
#undef BAD

const bad_case *bad_case_at(size_t i)
{
    static const bad_case cases[] = {
#define BAD(stage, name, field, edit) {BAD_##stage, #name, field, spoil_##name},
#include "tests/bad_gguf.def"
#undef BAD
    };

    return i < sizeof cases / sizeof cases[0] ? &cases[i] : NULL;
}

unsigned char *bad_case_write(const bad_case *c, size_t *n)
{
    tiny *m = tiny_new();
    unsigned char *bytes;

    c->spoil(m);
    bytes = tiny_write(m, n, NULL, NULL);
    tiny_free(m);
    return bytes;
}
