/* tool_format.h - how a model writes that it calls a tool, and that it thinks.
 *
 * A chat template tells both: a row of tool_formats.def is found by its words, and so are the
 * marks of thoughts (tool_thoughts.def). The grammar of an answer (tool_grammar.h) and its
 * parser (tool_parse.h) read the same row, so that what is allowed is what is understood. */
#ifndef SERVER_API_TOOL_FORMAT_H
#define SERVER_API_TOOL_FORMAT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

struct chat;

typedef enum tool_shape {
    TOOL_JSON,
    TOOL_NAMED,
    TOOL_XML,
    TOOL_LEAD_JSON,
    TOOL_LEAD_PYTHON,
    TOOL_HARMONY
} tool_shape;

/* A row of tool_formats.def, where its members are explained. */
typedef struct tool_format {
    const char *name;
    tool_shape shape;
    const char *word, *other;
    int ids;
    const char *mark, *open, *begin, *middle, *end, *between, *close;
    const char *value_open, *key_end, *value, *value_end; /* XML */
} tool_format;

/* By its name, NULL: no row has it; row number i, NULL past the last. */
const tool_format *tool_format_named(const char *name);
const tool_format *tool_format_at(size_t i);

/* That of the model whose template c is; never NULL. */
const tool_format *tool_format_of(const struct chat *c);

/* Is it one that the template says nothing of: the prompt must explain it? */
bool tool_format_is_generic(const tool_format *f);

/* May an answer begin with a call without a mark? The texts that it begins with then, of the
 * function of a name, into text; false: there is no number i. */
enum { TOOL_LEADS = 3, TOOL_LEAD_BYTES = 160 };
bool tool_format_leads(const tool_format *f);
bool tool_format_lead(const tool_format *f, int i, const char *name,
                      char text[TOOL_LEAD_BYTES]);

/* The marks around thoughts. open NULL: the model has none. */
typedef struct tool_thoughts {
    const char *open, *close;
} tool_thoughts;
tool_thoughts tool_format_thoughts(const struct chat *c);

/* What an argument's schema lets it be, where a format writes texts as they are. */
typedef enum tool_value { TOOL_VALUE_TEXT, TOOL_VALUE_JSON, TOOL_VALUE_ANY } tool_value;
tool_value tool_format_value(const cJSON *schema);

#endif
