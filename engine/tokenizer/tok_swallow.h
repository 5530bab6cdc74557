/* tok_swallow.h - special tokens that take away the white space beside them. Internal to the
 * tokenizer.
 *
 * Phi-3's do so behind them, a mask of an encoder's before it. Which ones, a file lists under
 * `xquantd.tokenizer.swallows_left` and `..._right`; one of phi3 that lists none means all of
 * its special tokens but three. */
#ifndef ENGINE_TOKENIZER_TOK_SWALLOW_H
#define ENGINE_TOKENIZER_TOK_SWALLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/tokenizer/tok_kind.h"

typedef struct tok_swallow {
    uint8_t *sides; /* [V]; NULL: none does */
} tok_swallow;

/* Read the lists of g; `spm`: the vocabulary is SentencePiece's. The caller closes, also after
 * an error, a zeroed one too. Errors: NOMEM, KEYTYPE, RANGE. */
err tok_swallow_read(tok_swallow *s, const gguf *g, const tok_vocab *v, bool spm, fault *why);
void tok_swallow_close(tok_swallow *s);

/* How many of the n bytes behind a token it takes away. */
size_t tok_swallow_right(const tok_swallow *s, int32_t id, const char *text, size_t n);

/* How many of the n bytes before a token it leaves. */
size_t tok_swallow_left(const tok_swallow *s, int32_t id, const char *text, size_t n);

#endif
