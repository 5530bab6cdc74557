/* tool_format.c - the tables of formats and of thoughts, and what a template says of them. */
#include "server/api/tool_format.h"

#include <stdio.h>
#include <string.h>

#include "engine/template/chat.h"
#include "server/json.h"

static const tool_format formats[] = {
#define TOOL_FORMAT(name, shape, word, other, ids, mark, open, begin, middle, end, between, \
                    close)                                                                  \
    {name,   TOOL_##shape, word,    other, ids, mark, open, begin,                          \
     middle, end,          between, close, "",  "",   "",   ""},
#define TOOL_XML(name, word, other, mark, begin, middle, end, close, value_open, key_end, \
                 value, value_end)                                                        \
    {name,   TOOL_XML, word, other, 0,          mark,    "",    begin,                    \
     middle, end,      "",   close, value_open, key_end, value, value_end},
#include "server/api/tool_formats.def"
};

enum { N_FORMATS = sizeof formats / sizeof *formats };

static const tool_thoughts thoughts[] = {
#define TOOL_THOUGHTS(open, close) {open, close},
#include "server/api/tool_thoughts.def"
};

const tool_format *tool_format_at(size_t i)
{
    return i < N_FORMATS ? &formats[i] : NULL;
}

const tool_format *tool_format_named(const char *name)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0) return &formats[i];
    return NULL;
}

/* A template that never says "tools" is given none, whatever marks it knows: a model of which
 * it was made may have been taught them, but is not told of any. */
const tool_format *tool_format_of(const struct chat *c)
{
    size_t i = 0;

    if (!chat_mentions(c, "tool")) return &formats[N_FORMATS - 1];
    while (i + 1 < N_FORMATS &&
           !(chat_mentions(c, formats[i].word) && chat_mentions(c, formats[i].other)))
        i++;
    return &formats[i];
}

bool tool_format_is_generic(const tool_format *f)
{
    return f == &formats[N_FORMATS - 1];
}

/* Small models that were taught a mark forget it; an object by itself is told by its beginning.
 */
bool tool_format_leads(const tool_format *f)
{
    return f->shape == TOOL_LEAD_JSON || f->shape == TOOL_LEAD_PYTHON ||
           (f->shape == TOOL_JSON && !*f->open);
}

bool tool_format_lead(const tool_format *f, int i, const char *name, char text[TOOL_LEAD_BYTES])
{
    static const char *const before[TOOL_LEADS] = {"{\"name\": \"", "{\"name\":\"",
                                                   "{\n  \"name\": \""};
    const bool python = f->shape == TOOL_LEAD_PYTHON;

    if (python && i) return false;
    snprintf(text, TOOL_LEAD_BYTES, "%s%.128s%s", python ? "[" : before[i], name,
             python ? "(" : "\"");
    return true;
}

tool_thoughts tool_format_thoughts(const struct chat *c)
{
    for (size_t i = 0; i < sizeof thoughts / sizeof *thoughts; i++)
        if (chat_mentions(c, thoughts[i].close)) return thoughts[i];
    return (tool_thoughts){NULL, NULL};
}

/* --- values --- */

static bool says(const cJSON *type, const char *name)
{
    const cJSON *item;

    if (cJSON_IsString(type)) return strcmp(type->valuestring, name) == 0;
    cJSON_ArrayForEach (item, type)
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0) return true;
    return false;
}

static bool are_texts(const cJSON *list)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, list)
        if (!cJSON_IsString(item)) return false;
    return list && list->child;
}

/* A union's text would have to be told from its other values: only JSON does that. */
tool_value tool_format_value(const cJSON *schema)
{
    static const char *const telling[] = {"anyOf", "oneOf", "allOf", "$ref", "const"};
    const cJSON *type = json_get(schema, "type"), *list = json_get(schema, "enum");

    if (type && !says(type, "string")) return TOOL_VALUE_JSON;
    if (cJSON_IsString(type)) return TOOL_VALUE_TEXT;
    if (type) return TOOL_VALUE_ANY;
    if (list) return are_texts(list) ? TOOL_VALUE_TEXT : TOOL_VALUE_JSON;
    for (size_t i = 0; i < sizeof telling / sizeof *telling; i++)
        if (json_get(schema, telling[i])) return TOOL_VALUE_JSON;
    return TOOL_VALUE_ANY;
}
