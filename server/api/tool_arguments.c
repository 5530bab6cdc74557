/* tool_arguments.c - what follows a function's name in a call, by the format's shape.
 *
 *   JSON    , "arguments": OBJECT }             and an "id" of Mistral's behind them
 *   NAMED   middle OBJECT
 *   XML     middle (open key key_end value TEXT value_end)*      properties in their order
 *   PYTHON  key=VALUE, ...)
 *
 * Of XML and PYTHON the properties are read from the schema's own `properties`; a function that
 * names none takes any. */
#include <stdio.h>
#include <string.h>

#include "engine/grammar/literals.h"
#include "engine/grammar/trigger.h"
#include "server/api/tool_grammar.h"
#include "server/json.h"
#include "server/schema/schema.h"

/* --- schemas --- */

/* Can it be compiled? What is tried on the grammar itself would leave its parts there. */
static bool compiles(const schema_use *use)
{
    fault ignored = {0};
    nfa *a;
    bool good;

    if (nfa_new(&a) != ERR_OK) return false;
    good = schema_add_rule(a, 0, use, &ignored) && nfa_failure(a) == ERR_OK;
    nfa_free(a);
    return good;
}

static bool add_schema(const tool_maker *m, const tool_function *f, const schema_use *use,
                       uint32_t *rule)
{
    if (!f->strict && !compiles(use)) {
        *rule = use->must ? m->object : m->value;
        return true;
    }
    *rule = nfa_add_rule(m->a);
    return schema_add_rule(m->a, *rule, use, m->why);
}

/* Arguments are an object, whether the schema says so or not. */
static bool add_object(const tool_maker *m, const tool_function *f, uint32_t *rule)
{
    cJSON type = {
        .type = cJSON_String, .valuestring = (char *)"object", .string = (char *)"type"};
    cJSON must = {.type = cJSON_Object, .child = &type};
    const schema_use use = {
        .root = f->parameters, .part = f->parameters, .must = &must, .path = f->path};

    type.prev = &type;
    *rule = m->object;
    if (!f->parameters || !f->parameters->child) return true;
    return add_schema(m, f, &use, rule);
}

/* --- one object of JSON --- */

static void add_id(const tool_maker *m, uint32_t from, uint32_t to)
{
    uint32_t at = tool_grammar_call(m, tool_grammar_text(m, from, ","), m->blank);

    at = tool_grammar_call(m, tool_grammar_text(m, at, "\"id\":"), m->blank);
    at = tool_grammar_text(m, at, "\"");
    for (int i = 0; i < m->g->format->ids; i++) {
        const uint32_t next = nfa_add_node(m->a);

        nfa_add_bytes(m->a, at, '0', '9', next);
        nfa_add_bytes(m->a, at, 'A', 'Z', next);
        nfa_add_bytes(m->a, at, 'a', 'z', next);
        at = next;
    }
    at = tool_grammar_call(m, tool_grammar_text(m, at, "\""), m->blank);
    nfa_add_skip(m->a, at, to);
}

static void add_json(const tool_maker *m, uint32_t object, uint32_t rule)
{
    const tool_format *f = m->g->format;
    char key[64];
    uint32_t at = tool_grammar_call(m, nfa_start(m->a, rule), m->blank), behind;

    snprintf(key, sizeof key, "\"%s\"", f->middle);
    at = tool_grammar_call(m, tool_grammar_text(m, at, ","), m->blank);
    at = tool_grammar_call(m, tool_grammar_text(m, at, key), m->blank);
    at = tool_grammar_call(m, tool_grammar_text(m, at, ":"), m->blank);
    at = tool_grammar_call(m, tool_grammar_call(m, at, object), m->blank);
    behind = nfa_add_node(m->a);
    nfa_add_skip(m->a, at, behind);
    if (f->ids) add_id(m, at, behind);
    nfa_add_text(m->a, behind, "}", 1, nfa_end(m->a, rule));
}

static void add_named(const tool_maker *m, uint32_t object, uint32_t rule)
{
    uint32_t at = tool_grammar_call(m, nfa_start(m->a, rule), m->blank);

    at = tool_grammar_call(m, tool_grammar_mark(m, at, m->g->format->middle), m->blank);
    nfa_add_call(m->a, at, object, nfa_end(m->a, rule));
}

/* The type of the content may be told or not, and the channel if the recipient came first. */
static void add_channel(const tool_maker *m, uint32_t object, uint32_t rule)
{
    static const char *const types[] = {" <|constrain|>json", "<|constrain|>json", " json"};
    uint32_t at = nfa_start(m->a, rule), behind = nfa_add_node(m->a);

    nfa_add_skip(m->a, tool_grammar_mark(m, at, "<|channel|>commentary"), behind);
    nfa_add_skip(m->a, at, behind);
    at = nfa_add_node(m->a);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        nfa_add_skip(m->a, tool_grammar_mark(m, behind, types[i]), at);
    nfa_add_skip(m->a, behind, at);
    at = tool_grammar_mark(m, at, m->g->format->middle);
    nfa_add_call(m->a, at, object, nfa_end(m->a, rule));
}

/* --- a value by itself --- */

/* A key that the schema does not name. */
static uint32_t add_any_key(const tool_maker *m, uint32_t from)
{
    const uint32_t to = nfa_add_node(m->a);
    uint32_t at = from;

    for (int i = 0; i < 2; i++) {
        nfa_add_bytes(m->a, at, 'A', 'Z', to);
        nfa_add_bytes(m->a, at, 'a', 'z', to);
        nfa_add_bytes(m->a, at, '_', '_', to);
        if (i) nfa_add_bytes(m->a, at, '0', '9', to);
        at = to;
    }
    return to;
}

/* Any text up to the mark behind it, or one of those that are listed. */
static uint32_t add_text(const tool_maker *m, uint32_t from, const cJSON *schema)
{
    const cJSON *list = json_get(schema, "enum"), *one = json_get(schema, "const"), *item;
    const char *end = m->g->format->value_end;
    const uint32_t to = nfa_add_node(m->a), behind = nfa_add_node(m->a);
    const trigger_rule stop = {end, m->nothing};
    const trigger_use use = {.from = from, .to = to, .at = &stop, .n = 1, .must = true};
    literals tree;

    if (!list && !cJSON_IsString(one)) {
        const err e = trigger_add_text(m->a, &use);

        if (e != ERR_OK && nfa_failure(m->a) == ERR_OK) m->a->failure = e;
        return to;
    }
    tree = literals_begin(m->a, tool_grammar_call(m, from, m->blank), behind);
    if (cJSON_IsString(one))
        literals_add(m->a, &tree, one->valuestring, strlen(one->valuestring));
    cJSON_ArrayForEach (item, list)
        if (!one && cJSON_IsString(item))
            literals_add(m->a, &tree, item->valuestring, strlen(item->valuestring));
    nfa_add_skip(m->a, tool_grammar_mark(m, tool_grammar_call(m, behind, m->blank), end), to);
    return to;
}

static bool add_value(const tool_maker *m, const tool_function *f, const cJSON *schema,
                      uint32_t *at)
{
    char path[256];
    const schema_use use = {.root = f->parameters, .part = schema, .path = path};
    uint32_t rule;

    snprintf(path, sizeof path, "%.120s.properties.%.100s", f->path, schema->string);
    if (!add_schema(m, f, &use, &rule)) return false;
    *at = tool_grammar_call(m, *at, rule);
    return true;
}

static bool is_required(const cJSON *parameters, const char *name)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, json_get(parameters, "required"))
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0) return true;
    return false;
}

static const cJSON *named(const tool_function *f)
{
    const cJSON *all = json_get(f->parameters, "properties");

    return all && all->child ? all->child : NULL;
}

/* Does the function take arguments of any name? */
static bool takes_any(const tool_function *f)
{
    const cJSON *others = json_get(f->parameters, "additionalProperties");

    if (named(f)) return others && !cJSON_IsFalse(others);
    return !json_get(f->parameters, "properties") && !cJSON_IsFalse(others);
}

/* --- XML --- */

/* One parameter, from its mark to the blanks behind it. */
static bool add_parameter(const tool_maker *m, const tool_function *f, const cJSON *schema,
                          uint32_t *at)
{
    const tool_format *x = m->g->format;

    *at = tool_grammar_mark(m, *at, x->value_open);
    *at = schema ? tool_grammar_text(m, *at, schema->string) : add_any_key(m, *at);
    *at = tool_grammar_mark(m, *at, x->key_end);
    if (*x->value) *at = tool_grammar_mark(m, tool_grammar_call(m, *at, m->blank), x->value);
    if (!schema || tool_format_value(schema) != TOOL_VALUE_JSON) {
        *at = add_text(m, *at, schema);
    } else {
        *at = tool_grammar_call(m, *at, m->blank);
        if (!add_value(m, f, schema, at)) return false;
        *at = tool_grammar_mark(m, tool_grammar_call(m, *at, m->blank), x->value_end);
    }
    *at = tool_grammar_call(m, *at, m->blank);
    return true;
}

static bool add_xml(const tool_maker *m, const tool_function *f, uint32_t rule)
{
    uint32_t at = tool_grammar_call(m, nfa_start(m->a, rule), m->blank), next;
    const cJSON *schema;

    at = tool_grammar_call(m, tool_grammar_mark(m, at, m->g->format->middle), m->blank);
    for (schema = named(f); schema; schema = schema->next) {
        next = at;
        if (!add_parameter(m, f, schema, &next)) return false;
        if (!is_required(f->parameters, schema->string)) nfa_add_skip(m->a, at, next);
        at = next;
    }
    next = at;
    if (takes_any(f)) {
        if (!add_parameter(m, f, NULL, &next)) return false;
        nfa_add_skip(m->a, next, at);
    }
    nfa_add_skip(m->a, at, nfa_end(m->a, rule));
    return true;
}

/* --- PYTHON --- */

/* Python's words beside JSON's, where the schema lets them stand. */
static void add_words(const tool_maker *m, const cJSON *schema, uint32_t from, uint32_t to)
{
    const cJSON *type = json_get(schema, "type");

    if (!cJSON_IsString(type) || strcmp(type->valuestring, "boolean") != 0) return;
    if (json_get(schema, "const") || json_get(schema, "enum")) return;
    nfa_add_text(m->a, from, "True", 4, to);
    nfa_add_text(m->a, from, "False", 5, to);
}

/* `key=value`; without a schema, any. */
static bool add_pair(const tool_maker *m, const tool_function *f, const cJSON *schema,
                     uint32_t from, uint32_t to)
{
    uint32_t at = schema ? tool_grammar_text(m, from, schema->string) : add_any_key(m, from);

    at = tool_grammar_text(m, at, "=");
    if (schema) {
        add_words(m, schema, at, to);
        if (!add_value(m, f, schema, &at)) return false;
    } else {
        at = tool_grammar_call(m, at, m->value);
    }
    nfa_add_skip(m->a, at, to);
    return true;
}

/* As an object of JSON is (schema_object.c): none[i] before the first pair, some[i] behind
 * one. */
static bool add_python(const tool_maker *m, const tool_function *f, uint32_t rule)
{
    uint32_t none = nfa_start(m->a, rule), some = nfa_add_node(m->a);
    const cJSON *schema;

    for (schema = named(f); schema; schema = schema->next) {
        const uint32_t next_none = nfa_add_node(m->a), next_some = nfa_add_node(m->a);
        const uint32_t comma = tool_grammar_call(m, tool_grammar_text(m, some, ","), m->blank);

        if (!add_pair(m, f, schema, none, next_some) ||
            !add_pair(m, f, schema, comma, next_some))
            return false;
        if (!is_required(f->parameters, schema->string)) {
            nfa_add_skip(m->a, none, next_none);
            nfa_add_skip(m->a, some, next_some);
        }
        none = next_none;
        some = next_some;
    }
    if (takes_any(f)) {
        const uint32_t comma = tool_grammar_call(m, tool_grammar_text(m, some, ","), m->blank);

        if (!add_pair(m, f, NULL, none, some) || !add_pair(m, f, NULL, comma, some))
            return false;
    }
    nfa_add_text(m->a, none, ")", 1, nfa_end(m->a, rule));
    nfa_add_text(m->a, some, ")", 1, nfa_end(m->a, rule));
    return true;
}

bool tool_arguments_add(const tool_maker *m, const tool_function *f, uint32_t *rule)
{
    const tool_shape shape = m->g->format->shape;
    uint32_t object;

    *rule = nfa_add_rule(m->a);
    if (shape == TOOL_XML) return add_xml(m, f, *rule);
    if (shape == TOOL_LEAD_PYTHON) return add_python(m, f, *rule);
    if (!add_object(m, f, &object)) return false;
    if (shape == TOOL_JSON || shape == TOOL_LEAD_JSON)
        add_json(m, object, *rule);
    else if (shape == TOOL_HARMONY)
        add_channel(m, object, *rule);
    else
        add_named(m, object, *rule);
    return true;
}
