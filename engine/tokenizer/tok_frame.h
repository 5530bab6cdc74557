/* tok_frame.h - which tokens stand around a text that is all there is. Internal to tokenizer.
 */
#ifndef ENGINE_TOKENIZER_TOK_FRAME_H
#define ENGINE_TOKENIZER_TOK_FRAME_H

#include "engine/err.h"
#include "engine/gguf/gguf.h"

struct tokenizer;

/* Does a text begin with BOS, and end with EOS? Once ids and kind are known. ERR_KEYTYPE,
 * ERR_RANGE. */
err tok_frame_read(struct tokenizer *t, const gguf *g, fault *why);

#endif
