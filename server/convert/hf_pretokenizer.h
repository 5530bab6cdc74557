/* hf_pretokenizer.h - how tokenizer.json cuts text, as the word that GGUF has for it. */
#ifndef SERVER_CONVERT_HF_PRETOKENIZER_H
#define SERVER_CONVERT_HF_PRETOKENIZER_H

#include "server/convert/hf_normalizer.h"
#include "server/convert/hf_vocab.h"

/* The value of tokenizer.ggml.pre, static; checks that the steps are those of v's kind. NULL: a
 * sentence, with the steps in it. What SentencePiece's kinds do to spaces there is added to z.
 */
const char *hf_pretokenizer_name(const hf_vocab *v, hf_normalizer *z, fault *why);

#endif
