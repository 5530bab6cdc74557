/* noise.c - random bytes that are a valid tensor: halves are no NaN and of a like size. */
#include "tests/noise.h"

#include <stdlib.h>

/* Where the halves of a block are; -1: none. */
typedef struct place {
    gguf_type type;
    int scale, minimum;
} place;

static place find_place(gguf_type type)
{
    static const place places[] = {
        {GGUF_Q8_0, 0, -1}, {GGUF_Q4_0, 0, -1},   {GGUF_Q4_1, 0, 2},   {GGUF_Q5_0, 0, -1},
        {GGUF_Q5_1, 0, 2},  {GGUF_IQ4_NL, 0, -1}, {GGUF_Q2_K, 80, 82}, {GGUF_Q3_K, 108, -1},
        {GGUF_Q4_K, 0, 2},  {GGUF_Q5_K, 0, 2},    {GGUF_Q6_K, 208, -1}};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (places[i].type == type) return places[i];
    return (place){type, -1, -1};
}

static void tame(uint8_t *half)
{
    half[1] = (uint8_t)((half[1] & 0x83u) | 0x34u);
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
    for (size_t i = 0; i + 2 <= t.bytes; i += at.scale < 0 ? 2 : bytes) {
        tame(data + i + (at.scale < 0 ? 0 : at.scale));
        if (at.minimum >= 0) tame(data + i + at.minimum);
    }
    t.data = data;
    return t;
}
