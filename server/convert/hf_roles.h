/* hf_roles.h - tokens that have a part to play: the first of a text, those that end an answer,
 * padding. */
#ifndef SERVER_CONVERT_HF_ROLES_H
#define SERVER_CONVERT_HF_ROLES_H

#include "engine/gguf/gguf_write.h"
#include "server/convert/hf_vocab.h"

enum {
    HF_ENDS = 3,      /* ids that end an answer which a file can name by keys */
    HF_MORE_ENDS = 8, /* and in a list of ours, xquantd.tokenizer.ends */
    HF_ALL_ENDS = HF_ENDS + HF_MORE_ENDS
};

/* Write the keys tokenizer.ggml.*_token_id. *ends_left grows by the ids that end an answer and
 * found no key. */
void hf_roles_write(const hf_vocab *v, gguf_writer *w, size_t *ends_left);

#endif
