/* schema_string.c - strings: length, one pattern, one format. */
#include <stdio.h>
#include <string.h>

#include "engine/grammar/regex.h"
#include "server/schema/schema_state.h"

typedef struct format {
    const char *name, *expression;
} format;

static const format formats[] = {
#define FORMAT(name, expression) {name, expression},
#include "server/schema/schema_formats.def"
#undef FORMAT
};

/* NULL: a note. */
static const format *find_format(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0) return &formats[i];
    return NULL;
}

/* The expression that strings must match, and how. */
typedef struct wanted {
    const cJSON *from; /* the keyword, or NULL: any text */
    const char *text;
    bool anywhere;
} wanted;

static bool want(schema_compiler *c, wanted *w, const cJSON *from, const char *text,
                 bool anywhere)
{
    if (w->from && strcmp(w->text, text) != 0)
        return schema_check_refuse(c, from,
                                   "more than one pattern or format must hold at once");
    *w = (wanted){from, text, anywhere};
    return true;
}

static bool find_wanted(schema_compiler *c, const schema_set *set, wanted *w)
{
    for (size_t i = 0; i < set->n; i++) {
        const cJSON *expression = schema_get(set->at[i].schema, "pattern");
        const cJSON *named = schema_get(set->at[i].schema, "format");
        const format *f;

        if (expression && !cJSON_IsString(expression))
            return schema_check_refuse(c, expression, "this must be a string");
        if (expression && !want(c, w, expression, expression->valuestring, true)) return false;
        if (!named) continue;
        if (!cJSON_IsString(named))
            return schema_check_refuse(c, named, "this must be a string");
        f = find_format(named->valuestring);
        if (f && !f->expression)
            return schema_check_refuse(c, named, "this format is not supported");
        if (f && !want(c, w, named, f->expression, false)) return false;
    }
    return true;
}

/* Any characters, so many, in any spelling. */
static err add_any(schema_compiler *c, const pattern_use *use, uint32_t from, uint32_t to)
{
    pattern p = {0};
    charset any = {0};
    const pattern_use plain = {.form = CHARSET_JSON_FREE, .max = PATTERN_UNBOUNDED};
    err e = charset_add(&any, 0, CHARSET_LAST);
    uint32_t repeat;

    if (e != ERR_OK) return e;
    repeat = pattern_add(&p, PATTERN_REPEAT, use->min, use->max);
    pattern_append(&p, repeat, pattern_add_set(&p, &any));
    e = pattern_emit(c->a, &p, repeat, &plain, from, to);
    pattern_free(&p);
    return e;
}

static bool blame(schema_compiler *c, const wanted *w, err e, const fault *why)
{
    char sentence[256];

    if (e == ERR_NOMEM) return fault_fail(c->why, e);
    if (e == ERR_TOOMANY) {
        c->a->failure = e; /* told of the schema as a whole */
        return true;
    }
    snprintf(sentence, sizeof sentence, "this cannot be compiled: %.200s", why->field);
    return schema_check_refuse(c, w->from, sentence);
}

bool schema_string_add(schema_compiler *c, const schema_set *set, uint32_t rule)
{
    pattern_use use = {.form = CHARSET_JSON, .max = PATTERN_UNBOUNDED};
    const uint32_t from = nfa_start(c->a, rule), to = nfa_end(c->a, rule);
    uint32_t inside, last;
    fault why = {0};
    wanted w = {0};
    err e;

    if (!schema_set_count(c, set, "minLength", true, &use.min) ||
        !schema_set_count(c, set, "maxLength", false, &use.max) || !find_wanted(c, set, &w))
        return false;
    if (use.max < use.min) return true;
    if (!w.from && !use.min && use.max == PATTERN_UNBOUNDED) {
        nfa_add_call(c->a, from, c->json.string, to);
        return true;
    }
    inside = nfa_add_node(c->a);
    last = nfa_add_node(c->a);
    nfa_add_text(c->a, from, "\"", 1, inside);
    nfa_add_text(c->a, last, "\"", 1, to);
    use.anywhere = w.anywhere;
    e = w.from ? regex_add(c->a, w.text, strlen(w.text), &use, inside, last, &why)
               : add_any(c, &use, inside, last);
    return e == ERR_OK || blame(c, &w, e, &why);
}
