/* noise.c - random bytes that are a valid tensor: halves are no NaN and of a like size. */
#include "tests/noise.h"

#include <stdbool.h>
#include <stdlib.h>

/* Where the halves of a block are; -1: none. */
typedef struct place {
    gguf_type type;
    int scale, minimum;
} place;

static place find_place(gguf_type type)
{
    static const place places[] = {
        {GGUF_Q8_0, 0, -1},   {GGUF_Q4_0, 0, -1},   {GGUF_Q4_1, 0, 2},
        {GGUF_Q5_0, 0, -1},   {GGUF_Q5_1, 0, 2},    {GGUF_IQ4_NL, 0, -1},
        {GGUF_Q2_K, 80, 82},  {GGUF_Q3_K, 108, -1}, {GGUF_Q4_K, 0, 2},
        {GGUF_Q5_K, 0, 2},    {GGUF_Q6_K, 208, -1}, {GGUF_TQ1_0, 52, -1},
        {GGUF_TQ2_0, 64, -1}, {GGUF_IQ4_XS, 0, -1}, {GGUF_IQ2_XXS, 0, -1},
        {GGUF_IQ2_XS, 0, -1}, {GGUF_IQ2_S, 0, -1},  {GGUF_IQ3_XXS, 0, -1},
        {GGUF_IQ3_S, 0, -1},  {GGUF_IQ1_S, 0, -1}};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (places[i].type == type) return places[i];
    return (place){type, -1, -1};
}

static void tame(uint8_t *half)
{
    half[1] = (uint8_t)((half[1] & 0x83u) | 0x34u);
}

/* The upper byte of a half that lies in the upper bits of four bytes. */
static void tame_scattered(uint8_t *block)
{
    block[53] = (uint8_t)((block[53] & 0x3fu) | 0x40u);
    block[55] = (uint8_t)((block[55] & 0x8fu) | 0x30u);
}

/* Scales of a byte each, of about 2^-17 to 2^-2, or none: halves are tamed instead. */
static bool tame_bytes(gguf_type type, uint8_t *block)
{
    if (type == GGUF_MXFP4) block[0] = (uint8_t)(110 + (block[0] & 15));
    for (size_t i = 0; type == GGUF_NVFP4 && i < 4; i++) block[i] &= 0x3fu;
    if (type == GGUF_IQ1_M) tame_scattered(block);
    return type == GGUF_MXFP4 || type == GGUF_NVFP4 || type == GGUF_IQ1_M;
}

gguf_tensor noise_tensor(gguf_type type, size_t cols, size_t rows, uint32_t seed)
{
    const place at = find_place(type);
    size_t elements = 1, bytes = 1;
    gguf_tensor t = {.type = type, .n_dims = 2, .dim = {cols, rows, 1, 1}};
    uint8_t *data;

    (void)gguf_type_name(type, &elements, &bytes);
    t.bytes = cols * rows / elements * bytes;
    data = malloc(t.bytes);
    if (!data) abort();
    for (size_t i = 0; i < t.bytes; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (uint8_t)(seed >> 24);
    }
    if (tame_bytes(type, data)) {
        for (size_t i = bytes; i < t.bytes; i += bytes) tame_bytes(type, data + i);
        t.data = data;
        return t;
    }
    for (size_t i = 0; i + 2 <= t.bytes; i += at.scale < 0 ? 2 : bytes) {
        tame(data + i + (at.scale < 0 ? 0 : at.scale));
        if (at.minimum >= 0) tame(data + i + at.minimum);
    }
    t.data = data;
    return t;
}
