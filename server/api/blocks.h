/* blocks.h - pieces of one answer, put together: what is neighbour and of a kind is one block.
 *
 * Dialects that number the parts of an answer say a block when it begins and when it ends, and
 * all of them at the end. Loop thread only. */
#ifndef SERVER_API_BLOCKS_H
#define SERVER_API_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/api/piece.h"
#include "server/text.h"

typedef struct block {
    piece_kind kind; /* CALL has its arguments in `text` */
    char *id, *name; /* of a CALL; owned */
    text_builder text;
    size_t from, to; /* tokens that a TEXT is told with, for dialects that tell them */
} block;

typedef struct blocks {
    block *at; /* [n], the last one may yet grow */
    size_t n, room;
    bool failed; /* out of memory: what follows is dropped */
} blocks;

/* Add a piece. True: a block was begun, and the one before it has ended. */
bool blocks_add(blocks *b, const struct piece *p);
void blocks_free(blocks *b);

/* The text of a block as a JSON string. */
void blocks_add_text(text_builder *t, const block *of);

/* The arguments of a CALL: an object as it was written; of one that max_tokens has cut, the
 * members and elements that are whole; {} where it is none. */
void blocks_add_arguments(text_builder *t, const block *of);

#endif
