/* hf_normalizer.h - what tokenizer.json does to text before it is cut, as steps of a model
 * file.
 *
 * What a kind of vocabulary does by itself (SentencePiece's marks and rules, BERT's cleaning)
 * is told apart from the steps before it. What is not known is refused by its name. */
#ifndef SERVER_CONVERT_HF_NORMALIZER_H
#define SERVER_CONVERT_HF_NORMALIZER_H

#include "engine/gguf/gguf_write.h"
#include "server/convert/hf_vocab.h"

enum { HF_STEPS = 16, HF_STEP_TEXTS = 3 * HF_STEPS };

/* Texts are those of the folder's JSON. */
typedef struct hf_normalizer {
    const char *text[HF_STEP_TEXTS]; /* [n] names of steps, each with its texts behind it */
    size_t n;
    bool pads;         /* a space goes before a text */
    bool pads_first;   /* but not behind a special token */
    bool pads_single;  /* nor before another space */
    bool marks;        /* spaces become U+2581 */
    bool joins_spaces; /* runs of them are one */
    const char *rules; /* SentencePiece's, in base64; or NULL */
    bool bert, lowers, strips;
} hf_normalizer;

/* False: a sentence. */
bool hf_normalizer_read(hf_normalizer *z, const hf_vocab *v, fault *why);

/* Are the added tokens that are found behind the steps what they were before them? False: a
 * sentence. */
bool hf_normalizer_allows(const hf_normalizer *z, const hf_vocab *v, fault *why);

/* The keys of the steps and of what a kind does. False: a sentence. */
bool hf_normalizer_write(const hf_normalizer *z, const hf_vocab *v, gguf_writer *w, fault *why);

#endif
