/* pieces.h - one answer's pieces while it grows: its text through the parser, token by token.
 */
#ifndef SERVER_API_PIECES_H
#define SERVER_API_PIECES_H

#include "server/api/reply.h"
#include "server/api/tool_parse.h"

typedef struct pieces {
    tool_parser *parser; /* NULL: all that the model writes is text */
    size_t tokens, text; /* that the parser has seen */
    piece room;
} pieces;

/* For an answer to q, which must outlive it. ERR_NOMEM. */
err pieces_open(pieces *x, const request *q);
void pieces_close(pieces *x);

/* Take token i of a, which is published; then, all that is left: it has ended. Counts a's
 * thoughts. */
void pieces_read(pieces *x, reply *a, size_t i);
void pieces_end(pieces *x, reply *a);

/* Are there pieces that nobody took? Without a parser: not known. */
bool pieces_wait(const pieces *x);

/* The pieces of a slice, which are those since the last one; a's calls. ERR_NOMEM. */
err pieces_take(pieces *x, reply *a, reply_slice *s);

#endif
