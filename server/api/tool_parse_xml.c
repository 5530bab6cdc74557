/* tool_parse_xml.c - arguments between marks: the values of texts are as they are.
 *
 *   f middle  (open key key_end value TEXT value_end)*  end
 *
 * The object is put together on the way: texts are told as they come, of others the end is
 * awaited, for only all of it shows whether it is JSON. */
#include <string.h>

#include "server/api/tool_parse_state.h"
#include "server/json.h"

static tool_state value, between;

/* The schema of the key. */
static const cJSON *find_property(tool_parser *p)
{
    return json_get(json_get(p->schema, "properties"), tool_parse_word(p));
}

static void tell_key(tool_parser *p)
{
    tool_parse_arguments(p, p->any ? ", \"" : "\"", p->any ? 3 : 1);
    for (size_t i = 0; i < p->word.n; i++) tool_parse_quoted(p, p->word.at[i]);
    tool_parse_arguments(p, "\": ", 3);
    p->any = true;
}

/* --- a value --- */

static bool ends_in_line(const tool_parser *p)
{
    return !*p->setup.format->value;
}

/* One end of a line on each side belongs to the layout: the last one waits in `blanks`. */
static void take(tool_parser *p, char c)
{
    const bool line = ends_in_line(p) && c == '\n';

    if (line && !p->told_value) {
        p->told_value = true;
        return;
    }
    p->told_value = true;
    for (size_t i = 0; i < p->blanks.n; i++) {
        if (p->kind == TOOL_VALUE_TEXT)
            tool_parse_quoted(p, p->blanks.at[i]);
        else
            text_add(&p->word, &p->blanks.at[i], 1);
    }
    tool_parse_clear(&p->blanks);
    if (line)
        text_add(&p->blanks, &c, 1);
    else if (p->kind == TOOL_VALUE_TEXT)
        tool_parse_quoted(p, c);
    else
        text_add(&p->word, &c, 1);
}

static bool allows(const cJSON *schema, const char *name)
{
    const cJSON *type = json_get(schema, "type"), *item;

    if (!type) return true;
    if (cJSON_IsString(type)) return strcmp(type->valuestring, name) == 0;
    cJSON_ArrayForEach (item, type)
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0) return true;
    return false;
}

/* Would the schema have it as this value rather than as a text? */
static bool is_meant(const tool_parser *p, const cJSON *schema, const cJSON *v)
{
    if (p->kind == TOOL_VALUE_JSON) return true;
    if (cJSON_IsString(v)) return false;
    if (cJSON_IsNumber(v)) return allows(schema, "number") || allows(schema, "integer");
    return allows(schema, cJSON_IsNull(v)    ? "null"
                          : cJSON_IsBool(v)  ? "boolean"
                          : cJSON_IsArray(v) ? "array"
                                             : "object");
}

/* What was awaited: JSON as it is, all else as a string. */
static void tell_awaited(tool_parser *p, const cJSON *schema)
{
    const char *text = tool_parse_word(p);
    fault ignored;
    cJSON *v = NULL;
    const bool good = json_parse(&v, text, p->word.n, &ignored) && is_meant(p, schema, v);

    if (good) {
        size_t n = p->word.n;

        while (n && tool_parse_is_blank(text[n - 1])) n--;
        for (; n && tool_parse_is_blank(*text); text++) n--;
        tool_parse_arguments(p, text, n);
    } else {
        tool_parse_arguments(p, "\"", 1);
        for (size_t i = 0; i < p->word.n; i++) tool_parse_quoted(p, text[i]);
        tool_parse_arguments(p, "\"", 1);
    }
    cJSON_Delete(v);
}

static void end_value(tool_parser *p)
{
    tool_parse_clear(&p->blanks);
    if (p->kind == TOOL_VALUE_TEXT)
        tool_parse_arguments(p, "\"", 1);
    else
        tell_awaited(p, p->property);
    p->state = between;
}

static bool value(tool_parser *p, char c)
{
    const char *const texts[] = {p->setup.format->value_end};
    int found = TOOL_NONE;

    p->held[p->n_held++] = c;
    while (p->n_held && (found = tool_parse_match(p, texts, 1)) == TOOL_NONE) {
        const char first = p->held[0];

        memmove(p->held, p->held + 1, --p->n_held);
        take(p, first);
    }
    if (!p->n_held || found == TOOL_MORE) return true;
    p->n_held = 0;
    end_value(p);
    return true;
}

static bool value_begin(tool_parser *p, char c)
{
    (void)c;
    p->property = find_property(p);
    p->kind = tool_format_value(p->property);
    p->told_value = false;
    tell_key(p);
    tool_parse_clear(&p->word);
    if (p->kind == TOOL_VALUE_TEXT) tool_parse_arguments(p, "\"", 1);
    p->state = value;
    return false;
}

/* --- keys, and the end --- */

static bool value_mark(tool_parser *p, char c)
{
    (void)c;
    tool_parse_want(p, p->setup.format->value, value_begin);
    return false;
}

static bool key(tool_parser *p, char c)
{
    const char *end = p->setup.format->key_end;

    if (*end == c) {
        p->n_held = 0;
        tool_parse_want(p, end, value_mark);
        return false;
    }
    if (p->word.n >= 256) return tool_parse_none(p);
    text_add(&p->word, &c, 1);
    return true;
}

/* A parameter or the call's end; where the format has no mark for that, the section's. */
static bool between(tool_parser *p, char c)
{
    const tool_format *f = p->setup.format;
    const char *const texts[] = {f->value_open, *f->end ? f->end : f->close};
    int found;

    if (!p->n_held && tool_parse_is_blank(c)) return true;
    p->held[p->n_held++] = c;
    found = tool_parse_match(p, texts, 2);
    if (found == TOOL_MORE) return true;
    p->n_held = 0;
    if (found == TOOL_NONE) return tool_parse_none(p);
    tool_parse_clear(&p->word);
    if (found == 0) {
        p->state = key;
        return true;
    }
    tool_parse_arguments(p, "}", 1);
    return tool_parse_ended(p);
}

bool tool_parse_xml(tool_parser *p, char c)
{
    (void)c;
    tool_parse_call(p, tool_parse_word(p));
    tool_parse_arguments(p, "{", 1);
    p->any = false;
    p->state = between;
    return false;
}
