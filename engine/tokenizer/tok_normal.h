/* tok_normal.h - what is done to text before it is cut. Internal to the tokenizer.
 *
 * Steps, in order, each a row of tok_normal.def. A file lists them under
 * `xquantd.tokenizer.normalizer`, a list of names with their texts; a file that is silent has
 * what its family does, which `tokenizer.ggml.pre` names. */
#ifndef ENGINE_TOKENIZER_TOK_NORMAL_H
#define ENGINE_TOKENIZER_TOK_NORMAL_H

#include <stddef.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/tokenizer/tok_unicode.h"

#define TOK_NORMAL_KEY "xquantd.tokenizer.normalizer"

enum { TOK_NORMAL_STEPS = 16 };

typedef struct tok_normal tok_normal;

/* Read the file's list, or else take the one step `family`, NULL for none. *out is NULL where
 * text stays as it is; texts are the file's, which outlives it. The caller frees. `why` names
 * the step at fault. Errors: NOMEM, KEYTYPE, TOOMANY, TOKENIZER (no such step), STRING (a text
 * is missing, empty or no UTF-8), RANGE (text would grow a thousandfold). */
err tok_normal_open(tok_normal **out, const gguf *g, const char *family, fault *why);
void tok_normal_close(tok_normal *s);

/* Add the n bytes, valid UTF-8 or not, as they are behind all steps: bytes that are no text
 * stay. Thread-safe. Errors: NOMEM. */
err tok_normal_text(const tok_normal *s, const char *text, size_t n, tok_text *out);

/* At most so many bytes n become. */
size_t tok_normal_most(const tok_normal *s, size_t n);

#endif
