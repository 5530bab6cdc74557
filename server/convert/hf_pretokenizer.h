/* hf_pretokenizer.h - how text is cut before it is merged, by what tokenizer.json says of it.
 */
#ifndef SERVER_CONVERT_HF_PRETOKENIZER_H
#define SERVER_CONVERT_HF_PRETOKENIZER_H

#include "server/convert/hf_vocab.h"

/* What tokenizer.ggml.pre calls it: a row of hf_pretokenizers.def. NULL: none has its steps,
 * said in a sentence. */
const char *hf_pretokenizer_name(const hf_vocab *v, fault *why);

/* Is a space put before the text? */
bool hf_pretokenizer_adds_space(const hf_folder *f);

#endif
