/* gaps.h - parts of a text with a gap, by the token that stands before each: gaps.def. */
#ifndef ENGINE_TOKENIZER_GAPS_H
#define ENGINE_TOKENIZER_GAPS_H

typedef enum tokenizer_gap {
#define FILL(role, key, older) TOKENIZER_FILL_##role,
#include "engine/tokenizer/gaps.def"
    TOKENIZER_FILLS
} tokenizer_gap;

#endif
