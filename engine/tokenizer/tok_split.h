/* tok_split.h - text is cut into the pieces that byte pairs are merged in. Internal to the
 * tokenizer.
 *
 * How, the model file names; what the name means is a row of pretokenizers.def: patterns,
 * each of which cuts what the one before it left. */
#ifndef ENGINE_TOKENIZER_TOK_SPLIT_H
#define ENGINE_TOKENIZER_TOK_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"

typedef struct tok_split tok_split;

/* The caller closes *out. Errors: TOKENIZER (no such name), NOMEM. */
err tok_split_open(tok_split **out, gguf_text name);
void tok_split_close(tok_split *s);

bool tok_split_keeps_words(const tok_split *s); /* a piece that is a token is not taken apart */
bool tok_split_adds_bos(
    const tok_split *s); /* a prompt starts with BOS, if the file is silent */

/* What is done to text before it is cut, if the file is silent: a step of tok_normal.def, or
 * NULL. */
const char *tok_split_normal(const tok_split *s);

/* Hand every piece of the n bytes at text, valid UTF-8, to `piece`, in order; the pieces
 * are the text. Stops at its first error. Errors: NOMEM, and piece's. Thread-safe. */
err tok_split_text(const tok_split *s, gguf_text text, err (*piece)(void *arg, gguf_text text),
                   void *arg);

#endif
