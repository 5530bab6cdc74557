/* tool_grammar.h - answers that may call tools, as a grammar.
 *
 * What a model writes is held to its format (tool_format.h) from a mark on: the name is one of
 * the functions', and the arguments are a document of its schema. Where a call is asked for,
 * nothing but calls may be written, behind the thoughts of a model that thinks. */
#ifndef SERVER_API_TOOL_GRAMMAR_H
#define SERVER_API_TOOL_GRAMMAR_H

#include "engine/grammar/nfa.h"
#include "server/api/tool_format.h"
#include "server/fault.h"

typedef struct tool_function {
    const char *name;
    const cJSON *parameters; /* NULL: any object */
    const char *path;        /* of `parameters` in the request */
    bool strict;             /* a schema that cannot be compiled is refused; else any object */
} tool_function;

typedef struct tool_grammar {
    const tool_format *format;
    tool_thoughts thoughts;         /* open NULL: none */
    bool opened;                    /* the prompt ends within them */
    const tool_function *functions; /* [n] that may be called; names differ */
    size_t n;
    bool forced;           /* a call is all that may come */
    bool parallel;         /* more than one may */
    const cJSON *document; /* a schema that the text is a document of where no call comes; or
                              NULL: any text */
} tool_grammar;

enum { TOOL_MOST_FUNCTIONS = 250 };

/* Rule 0 of a, which has no edges yet, becomes the answers. False: why, by the path of the
 * schema that is at fault. */
bool tool_grammar_add(nfa *a, const tool_grammar *g, fault *why);

/* --- for tool_arguments.c: parts that follow each other --- */

typedef struct tool_maker {
    nfa *a;
    const tool_grammar *g;
    uint32_t blank, object, value; /* rules of JSON */
    uint32_t nothing;              /* a rule of no bytes */
    fault *why;
} tool_maker;

/* Each from a node to a new one, which is returned. An empty text leads nowhere: `from`. */
uint32_t tool_grammar_mark(const tool_maker *m, uint32_t from, const char *text);
uint32_t tool_grammar_text(const tool_maker *m, uint32_t from, const char *text);
uint32_t tool_grammar_call(const tool_maker *m, uint32_t from, uint32_t rule);

/* The rule of what follows f's name in a call, of the format's shape (tool_arguments.c). */
bool tool_arguments_add(const tool_maker *m, const tool_function *f, uint32_t *rule);

#endif
