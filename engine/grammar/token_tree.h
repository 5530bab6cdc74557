/* token_tree.h - the tokens of a model as a tree of their bytes, for walks with an automaton.
 *
 * Tokens that begin alike share the nodes of what they share: where an automaton dies at a byte
 * all tokens below die with it. The nodes lie in the order of a walk in depth, each with the
 * place behind all that is below it; so a walk is one pass over an array, which skips.
 *
 * Only tokens that give text are in the tree. Control tokens and those that end an answer stand
 * beside it. Built once for a model; read-only then. */
#ifndef ENGINE_GRAMMAR_TOKEN_TREE_H
#define ENGINE_GRAMMAR_TOKEN_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/tokenizer/tokenizer.h"

typedef struct token_tree_node {
    uint32_t skip;  /* the node behind those below this one */
    int32_t token;  /* that ends here, or -1 */
    uint16_t depth; /* bytes up to and with this one; 1 at the top */
    uint8_t byte;
    bool again; /* another token of the bytes of the node before: no byte of its own */
} token_tree_node;

typedef enum token_tree_use {
    TOKEN_TREE_TEXT,
    TOKEN_TREE_END,
    TOKEN_TREE_CONTROL
} token_tree_use;

typedef struct token_tree {
    size_t V, words;         /* words of 64 bits that a mask has */
    token_tree_node *nodes;  /* [n_nodes] */
    size_t n_nodes, longest; /* bytes of the longest token */
    gguf_text *pieces;       /* [V] bytes; of a control token its name. Borrowed */
    uint8_t *use;            /* [V] token_tree_use */
    uint64_t *ends;          /* [words] tokens that end an answer */
    int32_t *controls;       /* [n_controls] the other control tokens */
    size_t n_controls;
    bool single[256]; /* bytes that are tokens by themselves */
    bool pads;        /* the first token of a text may have a space that is not shown */
} token_tree;

/* From pieces [V] and their use [V], copied; the bytes are borrowed. The caller frees.
 * ERR_NOMEM. */
err token_tree_new(token_tree **out, const gguf_text *pieces, const uint8_t *use, size_t V);
err token_tree_open(token_tree **out, const tokenizer *t);
void token_tree_free(token_tree *v);

/* What one takes, or would take at most. */
size_t token_tree_bytes(const token_tree *v);
size_t token_tree_measure(const tokenizer *t);

#endif
