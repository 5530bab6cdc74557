/* random.h - models of any architecture and shape with random weights, as GGUF files.
 *
 * Weights are uniform with variance 1 / inputs, so that activations keep their size from layer
 * to layer; gains lie around 1, biases around 0. The tokenizer is another model's, filled up to
 * the vocabulary's size with tokens that no text becomes. */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "engine/gguf/gguf.h"
#include "engine/model/arch.h"

/* How angles are made: `random_model --rope`. */
typedef enum random_rope {
    RANDOM_PLAIN,
    RANDOM_LINEAR,  /* all scaled */
    RANDOM_YARN,    /* the slow ones */
    RANDOM_FACTORS, /* one list of factors */
    RANDOM_LONG     /* two lists, for short and for long contexts */
} random_rope;

typedef struct random_wish {
    const architecture *arch;
    size_t d, layers, heads, kv_heads, head_dim, ffn, vocab, ctx, seed;
    size_t turning;       /* elements of a head with rotary positions; 0: all */
    size_t window;        /* 0: as the architecture has it */
    size_t experts, used; /* 0: none */
    size_t beside;  /* 1: a network beside attention, where the architecture has both kinds */
    size_t pooling; /* the file's pooling_type; 0: it says nothing of it */
    size_t massive; /* channels of the residual stream 100 times as large as others */
    gguf_type type; /* of matrices: a row of matrix.def */
    random_rope rope;
    const char *tokens, *out;
} random_wish;

#define RANDOM_USAGE                                                                 \
    "[--arch NAME] [--d N] [--layers N] [--heads N] [--kv-heads N] [--head-dim N]\n" \
    "  [--ffn N] [--vocab N] [--ctx N] [--type NAME] [--seed N]\n"                   \
    "  [--rope plain|linear|yarn|factors|long] [--turning N] [--window N]\n"         \
    "  [--experts N --used N] [--beside 1] [--massive N]\n"                          \
    "  [--pooling N] [--tokens MODEL.gguf] OUT.gguf"

/* Is the architecture's name among these words? */
bool random_is(const random_wish *w, const char *words);

/* F of a dense network beside experts of w->ffn, and of an expert that all share; 0: none. */
size_t random_dense_ffn(const random_wish *w);
size_t random_shared_ffn(const random_wish *w);

/* Read a command line; false if it makes no sense. */
bool random_parse(random_wish *w, int argc, char **argv);

/* Write the file. Ends the process when it cannot. */
void random_write(const random_wish *w, FILE *f);

/* Write a model by arguments in one text, without OUT, to a file of its own in a temporary
 * folder; its path, malloc'd. random_remove deletes both and frees it. */
char *random_make(const char *arguments);
void random_remove(char *path);

#endif
