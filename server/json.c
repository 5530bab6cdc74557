/* json.c - checks what cJSON does not, and reads typed values from its tree.
 *
 * cJSON parses by recursion, takes 64 bytes a value, ends a string at \u0000 and replaces what
 * is no UTF-8; it takes control characters in strings, and numbers as strtod does (01, 1.). A
 * body comes from anybody, so one pass over its bytes settles these before a tree is built: no
 * NUL, valid UTF-8, no more levels and values than the header says, whole escapes, strings and
 * numbers of RFC 8259. It need not know the rest of the grammar: cJSON refuses it. */
#include "server/json.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

/* The four digits at `at`, or -1. */
static int read_hex(const char *at)
{
    int code = 0;

    for (int i = 0; i < 4; i++) {
        const int c = tolower((unsigned char)at[i]);

        if (!isxdigit(c)) return -1;
        code = code * 16 + (isdigit(c) ? c - '0' : c - 'a' + 10);
    }
    return code;
}

/* One past the escape whose backslash is at `at`; else NULL and what is wrong. A low surrogate
 * is taken with the high one before it, so one that is met here is alone. */
static const char *skip_escape(const char *at, const char **what)
{
    int code;

    if (at[1] != 'u') return at + 1 + (at[1] != '\0');
    code = read_hex(at + 2);
    *what = code < 0    ? "a malformed \\u escape"
            : code == 0 ? "a NUL character (\\u0000)"
                        : "half a surrogate pair in a \\u escape";
    if (code <= 0 || (code >= 0xdc00 && code <= 0xdfff)) return NULL;
    if (code < 0xd800 || code > 0xdbff) return at + 6;
    if (at[6] != '\\' || at[7] != 'u') return NULL;
    code = read_hex(at + 8);
    return code >= 0xdc00 && code <= 0xdfff ? at + 12 : NULL;
}

/* Compared by address: scan_string has a better word for it where a NUL made it seem so. */
static const char no_end[] = "a string without an end";

/* One past the closing quote of the string whose first byte is at, or NULL and what is wrong:
 * no end, a control character, or an escape that cJSON would read as an end of string. */
static const char *skip_string(const char *at, const char **what)
{
    while (*at != '"') {
        *what = *at ? "a control character in a string" : no_end;
        if ((unsigned char)*at < ' ') return NULL; /* and at the end of the text */
        at = *at == '\\' ? skip_escape(at, what) : at + 1;
        if (!at) return NULL;
    }
    return at + 1;
}

static const char *skip_digits(const char *at)
{
    return at + strspn(at, "0123456789");
}

/* One past the number that begins at `at`, or NULL. */
static const char *skip_number(const char *at)
{
    const char *from = at += *at == '-';

    at = skip_digits(at);
    if (at == from || (*from == '0' && at > from + 1)) return NULL;
    if (*at == '.' && skip_digits(at + 1) == at + 1) return NULL;
    if (*at == '.') at = skip_digits(at + 1);
    if (*at != 'e' && *at != 'E') return at;
    at++;
    from = at += *at == '-' || *at == '+';
    at = skip_digits(at);
    return at == from ? NULL : at;
}

/* What a text is called in a sentence about it, and how many values it may have. */
typedef struct source {
    const char *name;
    size_t values;
    bool has_nul; /* where it seems to end */
} source;

/* Where a scan is: on each level the member's name, n bytes of UTF-8, or NULL before there is
 * one; or an element's number. */
typedef struct place {
    struct {
        const char *name;
        size_t n, index;
        bool in_array;
    } level[JSON_MAX_DEPTH + 1];
    size_t depth; /* level[1 .. depth] count */
} place;

static void enter(place *p, bool array)
{
    p->depth++;
    p->level[p->depth].name = NULL;
    p->level[p->depth].index = 0;
    p->level[p->depth].in_array = array;
}

static void next_value(place *p)
{
    p->level[p->depth].name = NULL;
    p->level[p->depth].index++;
}

/* "messages[1].content"; what does not fit is cut off. */
static void write_path(const place *p, char *out, size_t room)
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 1; i <= p->depth && n < room; i++) {
        const char *name = p->level[i].name, *dot = n ? "." : "";

        if (p->level[i].in_array)
            n += (size_t)snprintf(out + n, room - n, "[%zu]", p->level[i].index);
        else if (name)
            n += (size_t)snprintf(out + n, room - n, "%s%.*s", dot, (int)p->level[i].n, name);
    }
    out[utf8_prefix(out, strlen(out))] = '\0';
}

static const char *skip_space(const char *at)
{
    while (*at && (unsigned char)*at <= ' ') at++;
    return at;
}

static bool refuse_string(const place *p, const source *s, const char *what, fault *why)
{
    char name[64];

    write_path(p, name, sizeof name);
    if (!name[0]) return fault_refuse(why, ERR_JSON, NULL, "%s has %s.", s->name, what);
    return fault_refuse(why, ERR_JSON, name, "'%s' has %s.", name, what);
}

/* Past the string behind a quote; one before a colon names what follows. */
static bool scan_string(const char **at, place *p, const source *s, fault *why)
{
    const char *from = *at, *what = NULL;

    *at = skip_string(from, &what);
    if (!*at) {
        if (what == no_end && s->has_nul) what = "a NUL byte in a string";
        return refuse_string(p, s, what, why);
    }
    if (*skip_space(*at) != ':') return true;
    p->level[p->depth].name = from;
    p->level[p->depth].n = (size_t)(*at - from) - 1;
    return true;
}

/* Depth, count of values, strings and numbers: what must be known before a tree is built. */
static bool scan(const char *text, const source *s, fault *why)
{
    size_t values = 1;
    place p;

    p.depth = 0; /* of the levels none is read before it was entered */
    p.level[0].in_array = false;

    for (const char *at = text; *at;) {
        const char c = *at++;

        if (c == '"' && !scan_string(&at, &p, s, why)) return false;
        if ((c == '-' || isdigit((unsigned char)c)) && !(at = skip_number(at - 1)))
            return fault_refuse(why, ERR_JSON, NULL, "%s has a number that is not valid JSON.",
                                s->name);
        /* commas and brackets bound the values from above: that is enough for a limit */
        if (c == '{' || c == '[' || c == ',') values++;
        if (c == ',') next_value(&p);
        if ((c == '}' || c == ']') && p.depth) p.depth--;
        if ((c == '{' || c == '[') && p.depth == JSON_MAX_DEPTH)
            return fault_refuse(why, ERR_JSON, NULL, "%s is nested deeper than %d levels.",
                                s->name, (int)JSON_MAX_DEPTH);
        if (c == '{' || c == '[') enter(&p, c == '[');
        if (values > s->values)
            return fault_refuse(why, ERR_JSON, NULL, "%s has more than %zu values.", s->name,
                                s->values);
    }
    return true;
}

static bool parse(cJSON **out, const char *text, size_t n, const source *s, fault *why)
{
    const char *end = text;
    cJSON *parsed;

    if (!utf8_valid(text, n))
        return fault_refuse(why, ERR_JSON, NULL, "%s is not valid UTF-8.", s->name);
    if (!scan(text, s, why)) return false;
    if (s->has_nul)
        return fault_refuse(why, ERR_JSON, NULL, "%s contains a NUL byte.", s->name);
    parsed = cJSON_ParseWithLengthOpts(text, n + 1, &end, 1);
    if (!parsed)
        return fault_refuse(why, ERR_JSON, NULL, "%s is not valid JSON (near byte %zu).",
                            s->name, (size_t)(end - text));
    *out = parsed;
    return true;
}

bool json_parse(cJSON **out, const char *text, size_t n, fault *why)
{
    return parse(out, text, n, &(source){"The body", JSON_MAX_VALUES, memchr(text, 0, n)}, why);
}

bool json_parse_file(cJSON **out, const char *text, size_t n, const char *name, fault *why)
{
    return parse(out, text, n, &(source){name, JSON_FILE_VALUES, memchr(text, 0, n)}, why);
}

/* null is what many clients send for an option that is not set. */
const cJSON *json_get(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsNull(item) ? NULL : item;
}

bool json_get_number(const cJSON *object, const char *name, double min, double max, double *out,
                     fault *why)
{
    const cJSON *item = json_get(object, name);

    if (!item) return true;
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return fault_refuse(why, ERR_INVALID, name, "'%s' must be a number.", name);
    if (item->valuedouble < min || item->valuedouble > max)
        return fault_refuse(why, ERR_INVALID, name, "'%s' must be a number between %g and %g.",
                            name, min, max);
    *out = item->valuedouble;
    return true;
}

/* Beyond 2^53 neighbours are one double, and another number than the one written would do. */
bool json_is_int(const cJSON *item, int64_t min, int64_t max)
{
    const double exact = 9007199254740992.0; /* 2^53 */
    double x;

    if (!cJSON_IsNumber(item)) return false;
    x = item->valuedouble;
    if (!(x >= -exact && x <= exact) || x != floor(x)) return false;
    return (int64_t)x >= min && (int64_t)x <= max;
}

bool json_get_int(const cJSON *object, const char *name, int64_t min, int64_t max, int64_t *out,
                  fault *why)
{
    const cJSON *item = json_get(object, name);

    if (!item) return true;
    if (!json_is_int(item, min, max))
        return fault_refuse(why, ERR_INVALID, name,
                            "'%s' must be an integer between %lld and %lld.", name,
                            (long long)min, (long long)max);
    *out = (int64_t)item->valuedouble;
    return true;
}

bool json_get_bool(const cJSON *object, const char *name, bool *out, fault *why)
{
    const cJSON *item = json_get(object, name);

    if (!item) return true;
    if (!cJSON_IsBool(item))
        return fault_refuse(why, ERR_INVALID, name, "'%s' must be true or false.", name);
    *out = cJSON_IsTrue(item);
    return true;
}

bool json_get_string(const cJSON *object, const char *name, const char **out, fault *why)
{
    const cJSON *item = json_get(object, name);

    if (!item) return true;
    if (!cJSON_IsString(item))
        return fault_refuse(why, ERR_INVALID, name, "'%s' must be a string.", name);
    *out = item->valuestring;
    return true;
}

/* The text of the first top-level member with this name, written without escapes, or NULL.
 * text has passed json_parse. */
static const char *find_member(const char *text, const char *name)
{
    const size_t n = strlen(name);
    int depth = 0;

    while (*text) {
        const char c = *text++;

        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        if (c == '"') {
            const char *key = text, *after, *what;

            text = skip_string(text, &what);
            if (!text) return NULL;
            after = skip_space(text);
            if (depth == 1 && *after == ':' && (size_t)(text - key) == n + 1 &&
                memcmp(key, name, n) == 0)
                return skip_space(after + 1);
        }
    }
    return NULL;
}

/* Digits only: neither a fraction nor an exponent, whose double was not exact. */
static bool read_digits(const char *at, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(at, &end, 10);
    return errno == 0 && end != at && !strchr(".eE", *end);
}

bool json_get_int64(const cJSON *object, const char *text, const char *name, int64_t *out,
                    fault *why)
{
    const cJSON *item = json_get(object, name);
    const char *digits;

    if (!item) return true;
    if (json_is_int(item, INT64_MIN, INT64_MAX)) {
        const double x = item->valuedouble;

        if (fabs(x) < 9007199254740992.0) {
            *out = (int64_t)x;
            return true;
        }
    }
    /* a seed of 64 bits: its digits are read anew, for the double has lost the lowest of them
     */
    digits = cJSON_IsNumber(item) ? find_member(text, name) : NULL;
    if (digits && *digits && read_digits(digits, out)) return true;
    return fault_refuse(why, ERR_INVALID, name, "'%s' must be a 64-bit integer.", name);
}
