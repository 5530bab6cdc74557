/* guide.h - what an answer is held to, as a request says it, and the grammars made of it.
 *
 * A guide is a JSON schema, any JSON object, a grammar, a regular expression or a list of
 * texts. Compiling one takes a worker milliseconds, and its states and masks are learned while
 * it runs: so those that were asked for last are kept, by their text, within a fixed number of
 * bytes. */
#ifndef SERVER_SCHEMA_GUIDE_H
#define SERVER_SCHEMA_GUIDE_H

#include <cjson/cJSON.h>

#include "engine/grammar/grammar.h"
#include "server/fault.h"

typedef enum guide_kind {
    GUIDE_NONE,
    GUIDE_OBJECT, /* any JSON object */
    GUIDE_SCHEMA, /* value: the schema */
    GUIDE_GBNF,   /* value: a string */
    GUIDE_REGEX,  /* value: a string */
    GUIDE_CHOICE, /* value: an array of strings */
    GUIDE_OTHER   /* value: what `add` makes a grammar of */
} guide_kind;

typedef struct guide {
    guide_kind kind;
    const cJSON *value;
    char param[64]; /* the member that it came in */
    /* GUIDE_OTHER: rule 0 of a becomes what `value` says; false: why. By value alone, as which
     * it is kept. */
    bool (*add)(nfa *a, const cJSON *value, fault *why);
} guide;

enum { GUIDE_MAX_CHOICES = 10000 };

/* A guide becomes a grammar. `available` as grammar_new has it. The caller frees. False: why,
 * by the guide's param. */
bool guide_compile(grammar **out, const guide *g, const bool *available, fault *why);

#endif
