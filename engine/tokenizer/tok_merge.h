/* tok_merge.h - pairs of neighbours are merged, the best first. Internal to the tokenizer.
 *
 * A text is a row of symbols, at first its bytes or characters; two neighbours that make a
 * token become one symbol, until no pair does. Both kinds of byte pair encoding are this,
 * and differ in which pairs merge and in what order. n bytes cost O(n log n) pairs however
 * the merges fall: a linked list of symbols, and a heap of the pairs that can be merged. */
#ifndef ENGINE_TOKENIZER_TOK_MERGE_H
#define ENGINE_TOKENIZER_TOK_MERGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"

#define TOK_MERGE_END UINT32_MAX /* no neighbour */
#define TOK_MERGE_GONE                                                    \
    (UINT32_MAX - 1) /* `right` of what is part of its left neighbour now \
                      */

/* A run of bytes; its index is the offset of the first. */
typedef struct tok_symbol {
    int32_t id;
    uint32_t left, right; /* its neighbours, or TOK_MERGE_END */
} tok_symbol;

typedef struct tok_merge {
    /* Do the symbol at `left` and its right neighbour, which there is, make a token? Its
     * id, and its rank: smaller ones go first, of equals the leftmost. */
    bool (*pair)(const struct tok_merge *m, uint32_t left, uint32_t *rank, int32_t *id);
    const void *state;         /* pair's */
    const atomic_bool *cancel; /* or NULL */
    const char *text;          /* [n] */
    uint32_t n, last;
    tok_symbol *symbols; /* [room] */
    uint64_t *heap;      /* [2 * room] rank << 32 | left symbol */
    size_t room, n_heap;
} tok_merge;

/* Begin with n >= 1 bytes, borrowed until the symbols have been read. Errors: NOMEM. */
err tok_merge_begin(tok_merge *m, const char *text, size_t n);

/* The next symbol, which begins at offset `at`; the first at 0. Its id is `pair`'s. */
void tok_merge_put(tok_merge *m, size_t at, int32_t id);

/* Merge. What is left: symbol 0, then from right to right to TOK_MERGE_END. ERR_CANCELED. */
err tok_merge_all(tok_merge *m);

/* One past the last byte of a symbol. */
static inline uint32_t tok_merge_end_of(const tok_merge *m, uint32_t at)
{
    return m->symbols[at].right == TOK_MERGE_END ? m->n : m->symbols[at].right;
}

/* The memory, which grows from text to text. Zeroed, it is empty. */
void tok_merge_free(tok_merge *m);

#endif
