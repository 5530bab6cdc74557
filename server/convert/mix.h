/* mix.h - which type each matrix of a file is written as: the rows of mixes.def.
 *
 * The rules are llama.cpp's (llama-quant.cpp), so that a word means here what it means there:
 * the output is finer than the rest, V and the network's way down are in some layers, and in
 * models with eight experts attention is, for it is small there. A row that fills no blocks of
 * its type is written as the next one that it fills: Q8_0, F16. */
#ifndef SERVER_CONVERT_MIX_H
#define SERVER_CONVERT_MIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gguf/gguf.h"

typedef struct mix_row {
    const char *word;
    gguf_type type;
    uint32_t number; /* general.file_type */
    int way;
} mix_row;

/* The row of that word; of a type alone, the first with a mix that is not small. NULL: none. */
const mix_row *mix_find(const char *word);
const mix_row *mix_of(gguf_type type);

/* A matrix: its name, the length of its rows, its layer (of `layers`), and the experts of its
 * model. */
typedef struct mix_matrix {
    const char *name;
    size_t cols, layer, layers, experts;
    bool output; /* it makes the logits */
    bool shares; /* many heads share a V, in a model of 80 layers */
} mix_matrix;

gguf_type mix_choose(const mix_row *m, const mix_matrix *of);

#endif
