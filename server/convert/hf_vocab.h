/* hf_vocab.h - the tokens and merges of tokenizer.json, by number and by text. */
#ifndef SERVER_CONVERT_HF_VOCAB_H
#define SERVER_CONVERT_HF_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/convert/hf_folder.h"

enum { HF_NO_ID = -1, HF_UNRANKED = -1 };

/* Rows of engine/tokenizer/tokenizers.def, as tokenizer.json tells them apart. */
typedef enum hf_kind {
    HF_GPT2,  /* BPE over bytes */
    HF_LLAMA, /* BPE with a token for each byte */
    HF_T5,    /* Unigram */
    HF_BERT   /* WordPiece */
} hf_kind;

/* Texts are those of the folder's JSON, which outlives it. */
typedef struct hf_vocab {
    const hf_folder *f;
    const cJSON *model;
    size_t V;
    hf_kind kind;
    const char **text; /* [V] NULL: no token has that id */
    uint8_t *type;     /* [V] tok_type */
    int32_t *rank;     /* [V] of the first merge that makes it, or HF_UNRANKED */
    float *score;      /* [V] Unigram's */
    int32_t *order;    /* [n_order] ids by text */
    size_t n_order;
    int32_t unknown; /* what stands for text that no token has, or HF_NO_ID */
} hf_vocab;

/* Read a vocabulary of V ids; *beyond: added tokens past them, which are left out. False: a
 * sentence that begins with the file at fault. The caller closes, also after a failure. */
bool hf_vocab_open(hf_vocab *v, const hf_folder *f, size_t V, size_t *beyond, fault *why);
void hf_vocab_close(hf_vocab *v);

/* The id of n bytes of text, or HF_NO_ID. */
int32_t hf_vocab_find(const hf_vocab *v, const char *text, size_t n);

/* Is an added token one of the vocabulary that has this flag, "lstrip" or "rstrip"? */
bool hf_vocab_swallows(const hf_vocab *v, const cJSON *added, const char *flag);

/* The two parts of a merge: "left right", or newer ["left", "right"], which may hold spaces. */
bool hf_vocab_read_merge(const cJSON *item, const char **left, size_t *n, const char **right);

/* "tokenizer.json: WHAT OF" (of may be NULL). False. */
bool hf_vocab_refuse(fault *why, const char *what, const char *of);

#endif
