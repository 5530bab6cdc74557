/* piece.h - what an answer is made of, in the order in which it is told.
 *
 * A parser (tool_parse.h) makes pieces of an answer's text, and a dialect writes them. What one
 * call's PIECE_ARGUMENTS say, one behind the other, is the JSON text of its arguments; the same
 * holds of text and of thoughts. So what is streamed is what is told as a whole:
 *
 *   REASONING* (TEXT | CALL ARGUMENTS*)*      calls count from 0; each has at least "{}" */
#ifndef SERVER_API_PIECE_H
#define SERVER_API_PIECE_H

#include <stddef.h>

typedef enum piece_kind {
    PIECE_TEXT,      /* text, len */
    PIECE_REASONING, /* text, len */
    PIECE_CALL,      /* call, id, name: its arguments follow */
    PIECE_ARGUMENTS  /* call, text, len */
} piece_kind;

/* Strings are UTF-8 that is whole in each piece, and their owner's: the parser's until its next
 * call, or a piece list's. */
typedef struct piece {
    piece_kind kind;
    int call;         /* number of the call in its answer; CALL and ARGUMENTS */
    const char *id;   /* CALL: "call_..." */
    const char *name; /* CALL: the function's */
    const char *text; /* not for CALL */
    size_t len;
} piece;

#endif
