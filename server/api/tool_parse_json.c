/* tool_parse_json.c - calls that are an object of JSON, or a name and then one.
 *
 *   {"name": "f", "arguments": {..}, "id": ".."}    members in any order, others go by
 *   f middle {..}
 *
 * Arguments that come before the name wait for it. A value goes by byte for byte: its end is
 * found by its brackets and quotes alone. */
#include <string.h>

#include "server/api/tool_parse_state.h"

static tool_state key_text, colon, name_text, value;

/* --- a value --- */

static void begin_value(tool_parser *p, bool told, bool (*then)(tool_parser *))
{
    p->scan = (tool_scan){0};
    p->told_value = told;
    p->scanned = then;
    p->state = value;
}

/* Is the value over, c being part of it or not? */
static bool step_scan(tool_scan *s, char c)
{
    if (s->quoted) {
        if (c == '"' && !s->escaped) s->quoted = false;
        s->escaped = c == '\\' && !s->escaped;
        return !s->quoted && s->depth == 0;
    }
    if (c == '"') s->quoted = true;
    if (c == '{' || c == '[') s->depth++;
    if (c == '}' || c == ']') return --s->depth == 0;
    return false;
}

/* A number or a word ends where something follows that is none of it. */
static bool is_behind_scalar(const tool_scan *s, char c)
{
    return s->begun && s->depth == 0 && !s->quoted &&
           (c == ',' || c == '}' || c == ']' || tool_parse_is_blank(c));
}

static bool value(tool_parser *p, char c)
{
    bool over;

    if (!p->scan.begun && tool_parse_is_blank(c)) {
        tool_parse_raw(p, c);
        return true;
    }
    if (is_behind_scalar(&p->scan, c)) {
        p->scanned(p);
        return false;
    }
    if (!p->scan.begun && strchr("},]:", c)) return tool_parse_none(p);
    p->scan.begun = true;
    over = step_scan(&p->scan, c);
    if (p->told_value) tool_parse_arguments(p, &c, 1);
    tool_parse_raw(p, c);
    if (over) p->scanned(p);
    return true;
}

/* --- an object's members --- */

static bool next_member(tool_parser *p)
{
    p->state = tool_parse_member;
    return true;
}

static bool is_arguments(const tool_parser *p, const char *key)
{
    return strcmp(key, p->setup.format->middle) == 0 || strcmp(key, "arguments") == 0 ||
           strcmp(key, "parameters") == 0;
}

static bool colon(tool_parser *p, char c)
{
    const char *key = tool_parse_word(p);

    if (tool_parse_is_blank(c)) {
        tool_parse_raw(p, c);
        return true;
    }
    if (c != ':') return tool_parse_none(p);
    tool_parse_raw(p, c);
    if (!p->open && strcmp(key, "name") == 0) {
        tool_parse_clear(&p->word);
        tool_parse_want(p, "\"", name_text);
    } else {
        const bool told = is_arguments(p, key) && !p->any;

        p->any |= told;
        begin_value(p, told, next_member);
    }
    return true;
}

static bool key_text(tool_parser *p, char c)
{
    if (p->word.n >= 64 || c == '\\') return tool_parse_none(p);
    tool_parse_raw(p, c);
    if (c == '"')
        p->state = colon;
    else
        text_add(&p->word, &c, 1);
    return true;
}

static bool name_text(tool_parser *p, char c)
{
    if (c == '"' && p->word.n) {
        tool_parse_call(p, tool_parse_word(p));
        p->state = tool_parse_member;
        return true;
    }
    if (!tool_parse_is_name(c) || p->word.n >= 128) return tool_parse_none(p);
    tool_parse_raw(p, c);
    text_add(&p->word, &c, 1);
    return true;
}

/* Between two members, and at the end: a function without arguments has none. */
bool tool_parse_member(tool_parser *p, char c)
{
    if (tool_parse_is_blank(c) || c == ',') {
        tool_parse_raw(p, c);
        return true;
    }
    if (c == '"') {
        tool_parse_raw(p, c);
        tool_parse_clear(&p->word);
        p->state = key_text;
        return true;
    }
    if (c != '}' || !p->open) return tool_parse_none(p);
    if (!p->any) tool_parse_arguments(p, "{}", 2);
    p->any = false;
    return tool_parse_called(p);
}

bool tool_parse_object(tool_parser *p, char c)
{
    if (!tool_parse_is_blank(c) && c != '{') return tool_parse_none(p);
    tool_parse_raw(p, c);
    p->any = false;
    if (c == '{') p->state = tool_parse_member;
    return true;
}

/* --- a name by itself --- */

static bool arguments(tool_parser *p, char c)
{
    if (tool_parse_is_blank(c)) {
        tool_parse_raw(p, c);
        return true;
    }
    if (c != '{') return tool_parse_none(p);
    tool_parse_call(p, tool_parse_word(p));
    begin_value(p, true, tool_parse_called);
    return false;
}

bool tool_parse_name(tool_parser *p, char c)
{
    const tool_format *f = p->setup.format;

    if (!p->word.n && tool_parse_is_blank(c)) {
        tool_parse_raw(p, c);
        return true;
    }
    if (tool_parse_is_name(c) && p->word.n < 128) {
        tool_parse_raw(p, c);
        text_add(&p->word, &c, 1);
        return true;
    }
    if (!p->word.n) return tool_parse_none(p);
    if (f->shape == TOOL_LEAD_PYTHON) {
        if (c != '(') return tool_parse_none(p);
        tool_parse_call(p, tool_parse_word(p));
        p->state = tool_parse_python;
        return true;
    }
    tool_parse_want(p, f->middle, f->shape == TOOL_XML ? tool_parse_xml : arguments);
    return false;
}
