/* hf_tokens.h - tokenizer.json and its companions as the keys tokenizer.*.
 *
 * Two kinds: BPE over bytes (`gpt2`), whose way to cut text is known by its steps, a row of
 * hf_pretokenizers.def; and BPE with a token for each byte (`llama`), as SentencePiece makes
 * it: a piece's score is the rank of the first merge that makes it, negated. */
#ifndef SERVER_CONVERT_HF_TOKENS_H
#define SERVER_CONVERT_HF_TOKENS_H

#include "engine/gguf/gguf_write.h"
#include "server/convert/hf_folder.h"

/* What the file could not keep, for a note to the person. */
typedef struct hf_tokens_about {
    size_t beyond; /* added tokens past the last row of the embedding */
    size_t ends;   /* ids that end an answer, that found no key (hf_roles.h) */
} hf_tokens_about;

/* Write the keys of a vocabulary of V ids. False: a sentence that begins with the file at
 * fault; w is then of no use. */
bool hf_tokens_write(const hf_folder *f, size_t V, gguf_writer *w, hf_tokens_about *about,
                     fault *why);

#endif
