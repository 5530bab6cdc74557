/* tool_parse.h - what a model wrote, told apart: text, thoughts, calls and their arguments.
 *
 * A parser takes an answer as it comes, in any cuts, and gives pieces (piece.h) as soon as they
 * are decided: a text that may be the beginning of a mark waits for what follows. Pieces do not
 * depend on the cuts but for where one ends and the next of its kind begins. What is no call
 * after all is text. One thread. */
#ifndef SERVER_API_TOOL_PARSE_H
#define SERVER_API_TOOL_PARSE_H

#include "engine/err.h"
#include "server/api/piece.h"
#include "server/api/tool_format.h"

typedef struct tool_parse_setup {
    const tool_format *format; /* NULL: no call is looked for */
    tool_thoughts thoughts;    /* open NULL: they are text */
    bool opened;               /* the prompt ended within them */
    bool silent;               /* thoughts are not told */
    bool twice;                /* thoughts are text besides, marks and all */
    const cJSON *functions;    /* array of {name, parameters}, which it borrows; or NULL */
} tool_parse_setup;

typedef struct tool_parser tool_parser;

/* The caller frees. ERR_NOMEM. */
err tool_parse_new(tool_parser **out, const tool_parse_setup *s);
void tool_parse_free(tool_parser *p);

/* Take n more bytes, which cut no character. A lack of memory is told by tool_parse_take. */
void tool_parse_feed(tool_parser *p, const char *text, size_t n);

/* No more will come. A call whose function is not known yet is dropped. */
void tool_parse_end(tool_parser *p);

/* The pieces since the last time; they are the parser's, until the next of these calls.
 * ERR_NOMEM. */
err tool_parse_take(tool_parser *p, const piece **pieces, size_t *n);

/* Are there any? */
bool tool_parse_waits(const tool_parser *p);

/* Is it within thoughts? Calls so far. */
bool tool_parse_thinks(const tool_parser *p);
size_t tool_parse_calls(const tool_parser *p);

#endif
