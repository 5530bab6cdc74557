/* quant.h - rows of the file's quantized types: what they mean, and their way into a panel.
 *
 * One reader a type takes a block of the file apart into a quant_block; from there on the
 * types of quants.def differ in numbers only. Exact: a float holds every product below, and
 * the one difference of types that have a minimum is rounded once. */
#ifndef ENGINE_MODEL_QUANT_H
#define ENGINE_MODEL_QUANT_H

#include <stddef.h>
#include <stdint.h>

#include "engine/kern/kern_quants.h"

typedef enum quant {
#define QUANT(type, ...) QUANT_##type,
#include "engine/kern/quants.def"
#undef QUANT
    QUANTS
} quant;

/* A block of the file. A weight is scale * scales[j] * (codes[i] - zero) - min * mins[j],
 * j of its 32 or 16 columns; both integers are 1 where the type has none. */
typedef struct quant_block {
    uint16_t scale, min; /* halves */
    int8_t scales[16];
    uint8_t mins[16];
    uint8_t codes[KERN_BLOCK]; /* [32 * groups], column by column */
} quant_block;

/* The row of quants.def. */
kern_form quant_form(quant type);

/* Take a block of the file apart. Fills what the type has. */
void quant_read_block(quant type, const uint8_t *block, quant_block *out);

/* A row of the file as floats: out [D], D a multiple of the block. */
void quant_read_row(quant type, const uint8_t *row, size_t D, float *out);

/* A row of the file into output o of a panel (kern_quants.h). */
void quant_pack_row(quant type, const uint8_t *row, size_t D, uint8_t *panel, size_t o);

#endif
