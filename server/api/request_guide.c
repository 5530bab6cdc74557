/* request_guide.c - the members that hold an answer to a form, of every dialect.
 *
 *   OpenAI          response_format {text, json_object, json_schema}
 *   vLLM            guided_json, _regex, _choice, _grammar, _json_object; structured_outputs
 * {...} llama-server    grammar, json_schema; response_format.schema SGLang          regex
 *
 * All say one thing, a guide; two of them in one request would have to hold at once, and are
 * refused. Empty texts and lists are what clients send for a field that is not filled in. */
#include <stdio.h>
#include <string.h>

#include "server/api/request.h"

/* The guide of a request, while its members are read. */
typedef struct found {
    guide guide;
    cJSON *parsed; /* a schema that was sent as text; owned */
} found;

/* One more guide; two are refused by both names. */
static bool take(found *f, guide_kind kind, const cJSON *value, const char *param, fault *why)
{
    if (f->guide.kind != GUIDE_NONE)
        return fault_refuse(why, ERR_INVALID, param, "'%s' cannot be combined with '%s'.",
                            param, f->guide.param);
    f->guide.kind = kind;
    f->guide.value = value;
    snprintf(f->guide.param, sizeof f->guide.param, "%s", param);
    return true;
}

/* --- values --- */

static bool take_text(found *f, guide_kind kind, const cJSON *value, const char *param,
                      fault *why)
{
    if (!cJSON_IsString(value))
        return fault_refuse(why, ERR_INVALID, param, "'%s' must be a string.", param);
    return value->valuestring[0] == '\0' || take(f, kind, value, param, why);
}

static bool take_gbnf(found *f, const cJSON *value, const char *param, fault *why)
{
    return take_text(f, GUIDE_GBNF, value, param, why);
}

static bool take_regex(found *f, const cJSON *value, const char *param, fault *why)
{
    return take_text(f, GUIDE_REGEX, value, param, why);
}

static bool take_choice(found *f, const cJSON *value, const char *param, fault *why)
{
    if (!cJSON_IsArray(value))
        return fault_refuse(why, ERR_INVALID, param, "'%s' must be an array of strings.",
                            param);
    return !value->child || take(f, GUIDE_CHOICE, value, param, why);
}

static bool take_flag(found *f, const cJSON *value, const char *param, fault *why)
{
    if (!cJSON_IsBool(value))
        return fault_refuse(why, ERR_INVALID, param, "'%s' must be true or false.", param);
    return cJSON_IsFalse(value) || take(f, GUIDE_OBJECT, NULL, param, why);
}

/* A schema, which some clients send as a text of JSON. */
static bool take_schema(found *f, const cJSON *value, const char *param, fault *why)
{
    const bool text = cJSON_IsString(value);

    if (text && !value->valuestring[0]) return true;
    if (text && !f->parsed &&
        !json_parse(&f->parsed, value->valuestring, strlen(value->valuestring), why))
        return fault_refuse(why, ERR_INVALID, param,
                            "'%s' must be a JSON schema, or the text of one.", param);
    if (text) value = f->parsed;
    if (!cJSON_IsObject(value) && !cJSON_IsBool(value))
        return fault_refuse(why, ERR_INVALID, param, "'%s' must be a JSON schema.", param);
    return take(f, GUIDE_SCHEMA, value, param, why);
}

/* --- response_format --- */

static bool take_json_schema(found *f, const cJSON *format, fault *why)
{
    const cJSON *inner = json_get(format, "json_schema"), *schema;
    bool strict;

    if (!inner) {
        schema = json_get(format, "schema");
        if (schema) return take_schema(f, schema, "response_format.schema", why);
        return fault_refuse(why, ERR_REQUIRED, "response_format.json_schema",
                            "'response_format.json_schema' is missing.");
    }
    if (!cJSON_IsObject(inner))
        return fault_refuse(why, ERR_INVALID, "response_format.json_schema",
                            "'response_format.json_schema' must be an object.");
    if (!json_get_bool(inner, "strict", &strict, why)) return false;
    schema = json_get(inner, "schema");
    if (!schema) return take(f, GUIDE_OBJECT, NULL, "response_format", why);
    return take_schema(f, schema, "response_format.json_schema.schema", why);
}

static bool take_format(found *f, const cJSON *format, const char *param, fault *why)
{
    const char *type = "text";
    const cJSON *schema;

    if (!cJSON_IsObject(format))
        return fault_refuse(why, ERR_INVALID, param, "'%s' must be an object.", param);
    if (!json_get_string(format, "type", &type, why)) return false;
    if (strcmp(type, "text") == 0) return true;
    if (strcmp(type, "json_schema") == 0) return take_json_schema(f, format, why);
    if (strcmp(type, "json_object") != 0)
        return fault_refuse(why, ERR_UNSUPPORTED, param,
                            "Response formats are 'text', 'json_object' and 'json_schema'.");
    schema = json_get(format, "schema");
    if (schema) return take_schema(f, schema, "response_format.schema", why);
    return take(f, GUIDE_OBJECT, NULL, param, why);
}

/* --- the members --- */

typedef struct member {
    const char *name;
    bool (*take)(found *f, const cJSON *value, const char *param, fault *why);
} member;

static const member inner[] = {{"json", take_schema},
                               {"regex", take_regex},
                               {"choice", take_choice},
                               {"grammar", take_gbnf},
                               {"json_object", take_flag}};

/* What else is in there and asks for something is refused by its name. */
static bool take_outputs(found *f, const cJSON *object, const char *param, fault *why)
{
    const cJSON *item;

    if (!cJSON_IsObject(object))
        return fault_refuse(why, ERR_INVALID, param, "'%s' must be an object.", param);
    cJSON_ArrayForEach (item, object) {
        char path[64];
        size_t i = 0;

        if (cJSON_IsNull(item) || cJSON_IsFalse(item)) continue;
        snprintf(path, sizeof path, "%s.%.40s", param, item->string);
        while (i < sizeof inner / sizeof *inner && strcmp(inner[i].name, item->string)) i++;
        if (i == sizeof inner / sizeof *inner)
            return fault_refuse(why, ERR_UNSUPPORTED, path, "'%s' is not supported.", path);
        if (!inner[i].take(f, item, path, why)) return false;
    }
    return true;
}

static const member members[] = {
    {"response_format", take_format},  {"structured_outputs", take_outputs},
    {"guided_json", take_schema},      {"guided_regex", take_regex},
    {"guided_choice", take_choice},    {"guided_grammar", take_gbnf},
    {"guided_json_object", take_flag}, {"grammar", take_gbnf},
    {"json_schema", take_schema},      {"regex", take_regex}};

static bool read_members(found *f, const cJSON *body, fault *why)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const cJSON *value = json_get(body, members[i].name);

        if (value && !members[i].take(f, value, members[i].name, why)) return false;
    }
    return true;
}

/* Beside calls of tools a text may be held to a schema, and to nothing else: the two are one
 * grammar. */
static bool keep_document(request *q, const guide *g, fault *why)
{
    if (g->kind == GUIDE_SCHEMA) {
        q->tools.document = cJSON_Duplicate(g->value, true);
    } else if (g->kind == GUIDE_OBJECT) {
        q->tools.document = cJSON_CreateObject();
        if (!cJSON_AddStringToObject(q->tools.document, "type", "object"))
            return fault_fail(why, ERR_NOMEM);
    } else {
        return fault_refuse(why, ERR_INVALID, g->param, "'%s' cannot be combined with 'tools'.",
                            g->param);
    }
    return q->tools.document ? true : fault_fail(why, ERR_NOMEM);
}

bool request_read_guide(request *q, const cJSON *body, const request_env *env, fault *why)
{
    found f = {.guide = {.kind = GUIDE_NONE}};
    bool good = read_members(&f, body, why);

    snprintf(q->guided_by, sizeof q->guided_by, "%s", f.guide.param);
    if (good && f.guide.kind != GUIDE_NONE && q->tools.format)
        good = keep_document(q, &f.guide, why);
    else if (good && f.guide.kind != GUIDE_NONE)
        good = guides_find(env->guides, &f.guide, &q->in.program, why);
    cJSON_Delete(f.parsed);
    return good;
}

/* The count is of bytes, each of which is a token at most: an answer within it can be promised.
 */
bool request_check_guide(const request *q, const request_env *env, fault *why)
{
    size_t least;

    if (!q->in.program || !q->in.max_tokens || q->in.may_be_cut) return true;
    least = program_shortest(q->in.program);
    for (size_t i = 0; i < q->n_prompts; i++) {
        const size_t left = request_max_tokens(q, env, &q->prompts[i]);

        if (q->prompts[i].n >= env->ctx_size || left >= least) continue;
        return fault_refuse(why, ERR_INVALID, "max_tokens",
                            "An answer that '%s' allows needs at least %zu tokens set aside; "
                            "'max_tokens' and the context leave %zu.",
                            q->guided_by, least, left);
    }
    return true;
}
