/* schema_value.c - documents that a schema lists: enum and const.
 *
 * Of the values of one list those are written that all other lists hold, too, and that the rest
 * of the set allows, as far as it is about types, lengths and bounds. Where more is asked of a
 * listed value it is refused: a grammar could not leave it out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/charset.h"
#include "engine/grammar/literals.h"
#include "server/schema/schema_state.h"

/* --- a value as text --- */

/* Strings as JSON.stringify writes them; numbers in the fewest digits that read back. */
static char *write_string(const char *text)
{
    const size_t n = strlen(text);
    char *out = malloc(6 * n + 3), *to = out;

    if (!out) return NULL;
    *to++ = '"';
    for (size_t i = 0, length; i < n; i += length)
        to += charset_spell(charset_decode(text + i, n - i, &length), CHARSET_JSON, to);
    *to++ = '"';
    *to = '\0';
    return out;
}

static char *write_number(double x)
{
    const bool whole = fabs(x) < 1e15 && x == floor(x);
    char *out = malloc(32);

    for (int digits = 1; out && digits <= 17; digits++) {
        if (whole)
            snprintf(out, 32, "%.0f", x == 0 ? 0.0 : x); /* no minus before a 0 */
        else
            snprintf(out, 32, "%.*g", digits, x);
        if (strtod(out, NULL) == x) break;
    }
    return out;
}

static char *write_scalar(const cJSON *value)
{
    if (cJSON_IsString(value)) return write_string(value->valuestring);
    if (cJSON_IsNumber(value)) return write_number(value->valuedouble);
    return strdup(cJSON_IsNull(value) ? "null" : cJSON_IsTrue(value) ? "true" : "false");
}

static void add_owned_text(schema_compiler *c, uint32_t from, char *text, uint32_t to)
{
    if (text)
        nfa_add_text(c->a, from, text, strlen(text), to);
    else
        c->a->failure = ERR_NOMEM;
    free(text);
}

static void add_value(schema_compiler *c, const cJSON *value, uint32_t from, uint32_t to);

static uint32_t add_space(schema_compiler *c, uint32_t from)
{
    const uint32_t to = nfa_add_node(c->a);

    nfa_add_call(c->a, from, c->json.space, to);
    return to;
}

/* Objects and arrays may be laid out as any. As deep as JSON is nested. */
static void add_container(schema_compiler *c, const cJSON *value, uint32_t from, uint32_t to)
{
    const bool object = cJSON_IsObject(value);
    uint32_t at = nfa_add_node(c->a);
    const cJSON *item;

    nfa_add_text(c->a, from, object ? "{" : "[", 1, at);
    at = add_space(c, at);
    cJSON_ArrayForEach (item, value) {
        uint32_t next = nfa_add_node(c->a);

        if (object) {
            add_owned_text(c, at, write_string(item->string), next);
            at = next;
            next = nfa_add_node(c->a);
            nfa_add_text(c->a, at, ":", 1, next);
            at = add_space(c, next);
            next = nfa_add_node(c->a);
        }
        add_value(c, item, at, next);
        at = add_space(c, next);
        if (!item->next) continue;
        next = nfa_add_node(c->a);
        nfa_add_text(c->a, at, ",", 1, next);
        at = add_space(c, next);
    }
    nfa_add_text(c->a, at, object ? "}" : "]", 1, to);
}

static void add_value(schema_compiler *c, const cJSON *value, uint32_t from, uint32_t to)
{
    if (cJSON_IsObject(value) || cJSON_IsArray(value))
        add_container(c, value, from, to);
    else
        add_owned_text(c, from, write_scalar(value), to);
}

/* --- which of them --- */

static bool is_in(const cJSON *schema, const cJSON *value)
{
    const cJSON *one = schema_get(schema, "const"), *list = schema_get(schema, "enum"), *item;
    bool found = !list;

    if (one && !cJSON_Compare(one, value, true)) return false;
    cJSON_ArrayForEach (item, list) found |= cJSON_Compare(item, value, true);
    return found;
}

static double count_characters(const char *text)
{
    double n = 0;

    for (; *text; text++) n += ((uint8_t)*text & 0xc0) != 0x80;
    return n;
}

/* Is `x` of a bound's keyword at most, or at least, what it says? */
static bool keeps(const cJSON *schema, const char *keyword, double x, int sign, bool equal)
{
    const cJSON *bound = schema_get(schema, keyword);
    double apart;

    if (!cJSON_IsNumber(bound)) return true;
    apart = sign * (x - bound->valuedouble);
    return apart > 0 || (equal && apart == 0);
}

static bool keeps_all(const cJSON *schema, const cJSON *value)
{
    const double length = cJSON_IsString(value) ? count_characters(value->valuestring) : 0;

    if (cJSON_IsString(value))
        return keeps(schema, "minLength", length, 1, true) &&
               keeps(schema, "maxLength", length, -1, true);
    if (!cJSON_IsNumber(value)) return true;
    return keeps(schema, "minimum", value->valuedouble, 1, true) &&
           keeps(schema, "maximum", value->valuedouble, -1, true) &&
           keeps(schema, "exclusiveMinimum", value->valuedouble, 1, false) &&
           keeps(schema, "exclusiveMaximum", value->valuedouble, -1, false);
}

/* Keywords about a value that nobody looks at here. */
static const cJSON *find_unchecked(const cJSON *schema, unsigned type)
{
    static const char checked[] = " minLength maxLength minimum maximum exclusiveMinimum "
                                  "exclusiveMaximum ";
    const cJSON *item;

    cJSON_ArrayForEach (item, schema) {
        char word[40];

        if (!(schema_check_kinds(item->string) & type)) continue;
        snprintf(word, sizeof word, " %.36s ", item->string);
        if (!strstr(checked, word)) return item;
    }
    return NULL;
}

/* *fits: a document may be this value. False: why. */
static bool check_value(schema_compiler *c, const schema_set *set, const cJSON *value,
                        bool *fits)
{
    const unsigned type = schema_set_type_of_value(value);

    *fits = schema_set_types(c, set) & type;
    for (size_t i = 0; i < set->n && *fits; i++)
        *fits = is_in(set->at[i].schema, value) && keeps_all(set->at[i].schema, value);
    for (size_t i = 0; i < set->n && *fits; i++) {
        const cJSON *item = find_unchecked(set->at[i].schema, type);

        if (item)
            return schema_check_refuse(c, item,
                                       "this keyword is not supported beside 'enum' "
                                       "or 'const'");
    }
    return true;
}

/* Scalars share a tree. */
static bool add_listed(schema_compiler *c, const schema_set *set, const cJSON *value,
                       const literals *tree)
{
    bool fits;

    if (!check_value(c, set, value, &fits)) return false;
    if (!fits) return true;
    if (cJSON_IsObject(value) || cJSON_IsArray(value)) {
        add_value(c, value, tree->root, tree->to);
    } else {
        char *text = write_scalar(value);

        if (text)
            literals_add(c->a, tree, text, strlen(text));
        else
            c->a->failure = ERR_NOMEM;
        free(text);
    }
    return true;
}

bool schema_value_add(schema_compiler *c, const schema_set *set, uint32_t rule, bool *listed)
{
    const uint32_t from = nfa_start(c->a, rule), to = nfa_end(c->a, rule);
    const cJSON *item;

    for (size_t i = 0; i < set->n; i++) {
        const cJSON *one = schema_get(set->at[i].schema, "const");
        const cJSON *list = schema_get(set->at[i].schema, "enum");
        literals tree;

        if (!one && !list) continue;
        *listed = true;
        tree = literals_begin(c->a, from, to);
        if (one) return add_listed(c, set, one, &tree);
        cJSON_ArrayForEach (item, list)
            if (!add_listed(c, set, item, &tree)) return false;
        return true;
    }
    return true;
}
