/* tool_parse_python.c - arguments as Python writes them, told as JSON.
 *
 *   f(key=value, ..)    True, False, None are words of JSON; '..' are strings; (..) are lists
 *
 * Bytes go one to one but for that. A word that is none of JSON's is a string. */
#include <stdlib.h>
#include <string.h>

#include "server/api/tool_parse_state.h"

static tool_state between, value;

/* --- strings --- */

/* Behind a backslash: what JSON knows too stays as it is. */
static void tell_escaped(tool_parser *p, char c)
{
    const char escape[] = {'\\', c};

    p->scan.escaped = false;
    if (strchr("\"\\/bfnrtu", c))
        tool_parse_arguments(p, escape, 2);
    else if (c == 'x')
        tool_parse_arguments(p, "\\u00", 4);
    else if (c != '\n')
        tool_parse_quoted(p, c);
}

static bool in_string(tool_parser *p, char c)
{
    if (p->scan.escaped) {
        tell_escaped(p, c);
    } else if (c == '\\') {
        p->scan.escaped = true;
    } else if (c == p->quote) {
        p->quote = 0;
        p->state = value;
        tool_parse_arguments(p, "\"", 1);
    } else {
        tool_parse_quoted(p, c);
    }
    return true;
}

/* --- words and numbers --- */

/* RFC 8259 lets a number have no zeros before it and no point at its end. */
static bool is_number(const char *s)
{
    char *end;

    if (s[0] == '-') s++;
    if (s[0] < '0' || s[0] > '9' || (s[0] == '0' && s[1] >= '0' && s[1] <= '9')) return false;
    if (strspn(s, "0123456789.eE+-") != strlen(s)) return false;
    for (const char *at = strchr(s, '.'); at; at = NULL)
        if (at[1] < '0' || at[1] > '9') return false;
    strtod(s, &end);
    return !*end;
}

static void tell_word(tool_parser *p)
{
    static const char *const words[][2] = {{"True", "true"},   {"False", "false"},
                                           {"None", "null"},   {"true", "true"},
                                           {"false", "false"}, {"null", "null"}};
    const char *word = tool_parse_word(p);

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i][0]) == 0) {
            tool_parse_arguments(p, words[i][1], strlen(words[i][1]));
            return;
        }
    if (is_number(word)) {
        tool_parse_arguments(p, word, p->word.n);
        return;
    }
    tool_parse_arguments(p, "\"", 1);
    for (size_t i = 0; i < p->word.n; i++) tool_parse_quoted(p, word[i]);
    tool_parse_arguments(p, "\"", 1);
}

static bool is_word(char c)
{
    return tool_parse_is_name(c) || c == '+';
}

static bool in_word(tool_parser *p, char c)
{
    if (is_word(c)) {
        text_add(&p->word, &c, 1);
        return true;
    }
    tell_word(p);
    p->state = value;
    return false;
}

/* --- values --- */

static void tell_bracket(tool_parser *p, char c)
{
    const char as = c == '(' ? '[' : c == ')' ? ']' : c;

    p->scan.depth += c == '(' || c == '[' || c == '{';
    p->scan.depth -= c == ')' || c == ']' || c == '}';
    tool_parse_arguments(p, &as, 1);
}

static bool value(tool_parser *p, char c)
{
    if (p->scan.depth == 0 && (c == ',' || c == ')')) {
        p->state = between;
        return false;
    }
    if (c == '"' || c == '\'') {
        p->quote = c;
        p->state = in_string;
        tool_parse_arguments(p, "\"", 1);
    } else if (is_word(c)) {
        tool_parse_clear(&p->word);
        p->state = in_word;
        return false;
    } else if (strchr("()[]{}", c)) {
        if (strchr(")]}", c) && p->scan.depth == 0) return tool_parse_none(p);
        tell_bracket(p, c);
    } else if (p->scan.depth && (c == ',' || c == ':')) {
        tool_parse_arguments(p, &c, 1);
    } else if (!tool_parse_is_blank(c)) {
        return tool_parse_none(p);
    } else if (p->scan.depth) {
        tool_parse_arguments(p, &c, 1);
    }
    return true;
}

/* --- pairs --- */

static bool key(tool_parser *p, char c)
{
    if (tool_parse_is_name(c) && p->word.n < 256) {
        text_add(&p->word, &c, 1);
        return true;
    }
    if (tool_parse_is_blank(c)) return true;
    if (c != '=') return tool_parse_none(p);
    tool_parse_arguments(p, p->any ? ", \"" : "\"", p->any ? 3 : 1);
    tool_parse_arguments(p, p->word.at, p->word.n);
    tool_parse_arguments(p, "\": ", 3);
    p->any = true;
    p->scan = (tool_scan){0};
    p->state = value;
    return true;
}

static bool between(tool_parser *p, char c)
{
    if (tool_parse_is_blank(c) || c == ',') return true;
    if (c == ')') {
        tool_parse_arguments(p, "}", 1);
        return tool_parse_called(p);
    }
    if (!tool_parse_is_name(c)) return tool_parse_none(p);
    tool_parse_clear(&p->word);
    p->state = key;
    return false;
}

bool tool_parse_python(tool_parser *p, char c)
{
    (void)c;
    tool_parse_arguments(p, "{", 1);
    p->any = false;
    p->state = between;
    return false;
}
