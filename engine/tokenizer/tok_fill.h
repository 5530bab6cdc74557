/* tok_fill.h - which tokens of a vocabulary frame a gap that is to be filled. Internal to the
 * tokenizer; callers ask tokenizer_fill. */
#ifndef ENGINE_TOKENIZER_TOK_FILL_H
#define ENGINE_TOKENIZER_TOK_FILL_H

#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/tokenizer/gaps.h"
#include "engine/tokenizer/tok_special.h"

/* Those of fill [TOKENIZER_FILLS] that are known, the others stay below 0: by the keys of g,
 * else by names among the special tokens of a vocabulary of V. Errors: KEYTYPE, RANGE. */
err tok_fill_read(int32_t *fill, const tok_specials *s, size_t V, const gguf *g, fault *why);

#endif
