/* request_tools.c - tools, tool_choice, parallel_tool_calls, reasoning_format.
 *
 *   tool_choice        the template is given    the answer is
 *   none               no tools                 text
 *   auto               all                      text, with calls in it
 *   required           all                      a call, or several
 *   {function}         all                      a call of it
 *   {allowed_tools}    all                      as its mode says, of those alone
 *
 * A schema that no grammar can follow is refused where a call is asked for, or strict; else any
 * object is taken, as OpenAI's own models write arguments that nothing holds to a schema. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/request.h"
#include "server/api/tool_grammar.h"
#include "server/api/tool_parse.h"
#include "server/api/tool_setup.h"

enum { MOST_NAME = 128 }; /* of a function: OpenAI's 64, and what others allow */

/* "tools[3].function.name" */
static const char *path_to(char path[96], size_t i, const char *member)
{
    snprintf(path, 96, "tools[%zu]%s", i, member);
    return path;
}

/* --- tools --- */

static bool check_name(const cJSON *name, const char *path, fault *why)
{
    static const char letters[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-.";
    const char *text;

    if (!name) return fault_refuse(why, ERR_REQUIRED, path, "'%s' is required.", path);
    text = cJSON_IsString(name) ? name->valuestring : "";
    if (*text && strlen(text) <= MOST_NAME && strspn(text, letters) == strlen(text))
        return true;
    return fault_refuse(why, ERR_INVALID, path,
                        "'%s' must be a name of 1 to %d letters, digits, '_', '-' and '.'.",
                        path, MOST_NAME);
}

static const cJSON *find_named(const cJSON *list, const char *name)
{
    const cJSON *f;

    cJSON_ArrayForEach (f, list)
        if (strcmp(json_get(f, "name")->valuestring, name) == 0) return f;
    return NULL;
}

static bool check_function(const request_tools *q, const cJSON *f, size_t i, bool *strict,
                           fault *why)
{
    const cJSON *parameters = json_get(f, "parameters"), *text = json_get(f, "description");
    char path[96];

    if (!check_name(json_get(f, "name"), path_to(path, i, ".function.name"), why)) return false;
    if (find_named(q->functions, json_get(f, "name")->valuestring))
        return fault_refuse(why, ERR_INVALID, path, "'%s' is the name of another tool.", path);
    path_to(path, i, ".function.description");
    if (text && !cJSON_IsString(text))
        return fault_refuse(why, ERR_INVALID, path, "'%s' must be a string.", path);
    path_to(path, i, ".function.parameters");
    if (parameters && !cJSON_IsObject(parameters))
        return fault_refuse(why, ERR_INVALID, path, "'%s' must be a JSON schema.", path);
    return json_get_bool(f, "strict", strict, why);
}

/* What the grammar and the parser need of it. */
static bool keep_function(request_tools *q, const cJSON *f, size_t i, bool strict, fault *why)
{
    const cJSON *parameters = json_get(f, "parameters");
    cJSON *kept = cJSON_CreateObject();
    char path[96];

    path_to(path, i, ".function.parameters");
    if (kept && cJSON_AddStringToObject(kept, "name", json_get(f, "name")->valuestring) &&
        cJSON_AddStringToObject(kept, "path", path) &&
        cJSON_AddBoolToObject(kept, "strict", strict) &&
        (!parameters ||
         cJSON_AddItemToObject(kept, "parameters", cJSON_Duplicate(parameters, true))) &&
        cJSON_AddItemToArray(q->functions, kept))
        return true;
    cJSON_Delete(kept);
    return fault_fail(why, ERR_NOMEM);
}

static bool read_tool(request_tools *q, const cJSON *tool, size_t i, fault *why)
{
    const cJSON *type = json_get(tool, "type"), *f = json_get(tool, "function");
    bool strict = false;
    char path[96];

    path_to(path, i, "");
    if (!cJSON_IsObject(tool))
        return fault_refuse(why, ERR_INVALID, path, "'%s' must be an object.", path);
    path_to(path, i, ".type");
    if (!type) return fault_refuse(why, ERR_REQUIRED, path, "'%s' is required.", path);
    if (!cJSON_IsString(type) || strcmp(type->valuestring, "function") != 0)
        return fault_refuse(why, ERR_UNSUPPORTED, path, "'%s' must be 'function'.", path);
    path_to(path, i, ".function");
    if (!f) return fault_refuse(why, ERR_REQUIRED, path, "'%s' is required.", path);
    if (!cJSON_IsObject(f))
        return fault_refuse(why, ERR_INVALID, path, "'%s' must be an object.", path);
    return check_function(q, f, i, &strict, why) && keep_function(q, f, i, strict, why);
}

/* Templates look into `parameters` without asking whether there are any. */
static bool keep_list(request_tools *q, const cJSON *list, fault *why)
{
    cJSON *tool, *none;

    q->list = cJSON_Duplicate(list, true);
    if (!q->list) return fault_fail(why, ERR_NOMEM);
    cJSON_ArrayForEach (tool, q->list) {
        cJSON *f = cJSON_GetObjectItemCaseSensitive(tool, "function");

        if (json_get(f, "parameters")) continue;
        cJSON_DeleteItemFromObjectCaseSensitive(f, "parameters");
        none = cJSON_CreateObject();
        if (!none || !cJSON_AddStringToObject(none, "type", "object") ||
            !cJSON_AddObjectToObject(none, "properties") ||
            !cJSON_AddItemToObject(f, "parameters", none)) {
            cJSON_Delete(none);
            return fault_fail(why, ERR_NOMEM);
        }
    }
    return true;
}

static bool read_list(request_tools *q, const cJSON *body, fault *why)
{
    const cJSON *list = json_get(body, "tools"), *tool;
    size_t i = 0;

    if (!list || (cJSON_IsArray(list) && !list->child)) return true;
    if (!cJSON_IsArray(list))
        return fault_refuse(why, ERR_INVALID, "tools", "'tools' must be an array.");
    if (cJSON_GetArraySize(list) > TOOL_MOST_FUNCTIONS)
        return fault_refuse(why, ERR_INVALID, "tools", "'tools' may have %d elements at most.",
                            (int)TOOL_MOST_FUNCTIONS);
    q->functions = cJSON_CreateArray();
    if (!q->functions) return fault_fail(why, ERR_NOMEM);
    cJSON_ArrayForEach (tool, list)
        if (!read_tool(q, tool, i++, why)) return false;
    return keep_list(q, list, why);
}

/* --- tool_choice --- */

/* Mark the function that this names as one that may be called. */
static bool allow(request_tools *q, const cJSON *named, const char *path, fault *why)
{
    const cJSON *f = json_get(named, "function");
    const cJSON *name = json_get(f ? f : named, "name");
    cJSON *found;

    if (!cJSON_IsString(name))
        return fault_refuse(why, ERR_REQUIRED, path,
                            "'%s' must have a 'function' with a "
                            "'name'.",
                            path);
    found = (cJSON *)find_named(q->functions, name->valuestring);
    if (!found)
        return fault_refuse(why, ERR_INVALID, path, "'%s': no tool is called '%.64s'.", path,
                            name->valuestring);
    cJSON_DeleteItemFromObjectCaseSensitive(found, "chosen");
    return cJSON_AddTrueToObject(found, "chosen") ? true : fault_fail(why, ERR_NOMEM);
}

/* Only those that are marked may be called; others are in the prompt all the same. */
static void drop_others(request_tools *q)
{
    cJSON *f = q->functions->child;

    while (f) {
        cJSON *next = f->next;

        if (json_get(f, "chosen"))
            cJSON_DeleteItemFromObjectCaseSensitive(f, "chosen");
        else
            cJSON_Delete(cJSON_DetachItemViaPointer(q->functions, f));
        f = next;
    }
}

static bool read_mode(request_tools *q, const char *mode, const char *path, fault *why)
{
    q->forced = strcmp(mode, "required") == 0;
    q->off = strcmp(mode, "none") == 0;
    if (q->forced || q->off || strcmp(mode, "auto") == 0) return true;
    return fault_refuse(why, ERR_INVALID, path,
                        "'%s' must be 'none', 'auto', 'required' or an object.", path);
}

static bool read_allowed(request_tools *q, const cJSON *choice, fault *why)
{
    const cJSON *inner = json_get(choice, "allowed_tools"), *list, *item;
    const char *mode = "auto";
    char path[96];
    size_t i = 0;

    if (!inner) inner = choice; /* as /v1/responses has it */
    if (!json_get_string(inner, "mode", &mode, why) ||
        !read_mode(q, mode, "tool_choice.allowed_tools.mode", why))
        return false;
    list = json_get(inner, "tools");
    if (!cJSON_IsArray(list) || !list->child)
        return fault_refuse(why, ERR_REQUIRED, "tool_choice.allowed_tools.tools",
                            "'tool_choice.allowed_tools.tools' must be an array of at least "
                            "one tool.");
    cJSON_ArrayForEach (item, list) {
        snprintf(path, sizeof path, "tool_choice.allowed_tools.tools[%zu]", i++);
        if (!allow(q, item, path, why)) return false;
    }
    drop_others(q);
    return true;
}

static bool read_object(request_tools *q, const cJSON *choice, fault *why)
{
    const cJSON *type = json_get(choice, "type");
    const char *name = cJSON_IsString(type) ? type->valuestring : "";

    if (strcmp(name, "allowed_tools") == 0) return read_allowed(q, choice, why);
    if (strcmp(name, "function") != 0)
        return fault_refuse(why, ERR_INVALID, "tool_choice.type",
                            "'tool_choice.type' must be 'function' or 'allowed_tools'.");
    if (!allow(q, choice, "tool_choice.function", why)) return false;
    drop_others(q);
    q->forced = true;
    return true;
}

static bool read_choice(request_tools *q, const cJSON *body, fault *why)
{
    const cJSON *choice = json_get(body, "tool_choice");

    if (!choice) return true;
    if (!cJSON_IsString(choice) && !cJSON_IsObject(choice))
        return fault_refuse(why, ERR_INVALID, "tool_choice",
                            "'tool_choice' must be a string or an object.");
    if (!q->functions) {
        if (cJSON_IsString(choice) && !read_mode(q, choice->valuestring, "tool_choice", why))
            return false;
        if (cJSON_IsString(choice) && !q->forced) return true;
        return fault_refuse(why, ERR_INVALID, "tool_choice",
                            "'tool_choice' is only allowed when 'tools' are specified.");
    }
    if (cJSON_IsObject(choice)) return read_object(q, choice, why);
    return read_mode(q, choice->valuestring, "tool_choice", why);
}

/* --- thoughts --- */

static bool read_reasoning(request_tools *q, const cJSON *body, const tool_setup *s, fault *why)
{
    const char *name = NULL;
    bool told = true;
    tool_setup own = *s;

    if (!json_get_string(body, "reasoning_format", &name, why) ||
        !json_get_bool(body, "include_reasoning", &told, why))
        return false;
    if (name && !tool_setup_reasoning(&own, name))
        return fault_refuse(why, ERR_INVALID, "reasoning_format",
                            "'reasoning_format' must be one of none, auto, deepseek, "
                            "deepseek-legacy.");
    q->thoughts = tool_setup_split(&own);
    q->twice = own.twice;
    q->silent = !told;
    return true;
}

bool request_read_tools(request *q, const cJSON *body, const request_env *env, fault *why)
{
    request_tools *t = &q->tools;
    const tool_setup *s = env->tools;

    t->parallel = true;
    if (!s) return true;
    if (!read_list(t, body, why) || !read_choice(t, body, why) ||
        !json_get_bool(body, "parallel_tool_calls", &t->parallel, why) ||
        !read_reasoning(t, body, s, why))
        return false;
    if (t->functions && !t->off) t->format = s->format;
    if (s->format->shape == TOOL_HARMONY && t->thoughts.open) t->channels = s->format;
    if (t->format || t->thoughts.open || t->channels) {
        q->in.shown = s->shown;
        q->in.n_shown = s->n_shown;
    }
    return true;
}

void request_free_tools(request_tools *t)
{
    cJSON_Delete(t->functions);
    cJSON_Delete(t->list);
    cJSON_Delete(t->document);
}

/* --- the grammar --- */

/* Does the prompt end within thoughts: did the template open them? */
static bool is_opened(const request *q, const request_env *env)
{
    enum { LAST_IDS = 16, LAST_BYTES = 512 };
    const request_prompt *p = &q->prompts[0];
    const char *open = q->tools.thoughts.open ? q->tools.thoughts.open
                       : env->tools           ? env->tools->thoughts.open
                                              : NULL;
    char text[LAST_BYTES + 1];
    size_t n = 0;

    if (!open) return false;
    for (size_t i = p->n > LAST_IDS ? p->n - LAST_IDS : 0; i < p->n; i++) {
        const gguf_text bytes = tokenizer_piece(env->tokens, p->ids[i], true);

        if (n + bytes.n > LAST_BYTES) n = 0;
        if (bytes.n > LAST_BYTES) continue;
        memcpy(text + n, bytes.at, bytes.n);
        n += bytes.n;
    }
    while (n && strchr(" \n\t\r", text[n - 1])) n--;
    return n >= strlen(open) && memcmp(text + n - strlen(open), open, strlen(open)) == 0;
}

/* The guide's value, by whose text its grammar is kept. */
static cJSON *describe(const request *q, const request_env *env)
{
    const request_tools *t = &q->tools;
    const tool_thoughts *marks = &env->tools->thoughts;
    cJSON *v = cJSON_CreateObject();
    bool good = v && cJSON_AddStringToObject(v, "format", t->format->name) &&
                cJSON_AddBoolToObject(v, "forced", t->forced) &&
                cJSON_AddBoolToObject(v, "parallel", t->parallel) &&
                cJSON_AddBoolToObject(v, "opened", t->opened) &&
                cJSON_AddItemToObject(v, "functions", cJSON_Duplicate(t->functions, true));

    if (good && marks->open)
        good = cJSON_AddStringToObject(v, "open", marks->open) &&
               cJSON_AddStringToObject(v, "close", marks->close);
    if (good && t->document)
        good = cJSON_AddItemToObject(v, "document", cJSON_Duplicate(t->document, true));
    if (good) return v;
    cJSON_Delete(v);
    return NULL;
}

static size_t list_functions(const cJSON *list, bool forced, tool_function *out)
{
    const cJSON *f;
    size_t n = 0;

    cJSON_ArrayForEach (f, list)
        out[n++] = (tool_function){.name = json_get(f, "name")->valuestring,
                                   .parameters = json_get(f, "parameters"),
                                   .path = json_get(f, "path")->valuestring,
                                   .strict = forced || cJSON_IsTrue(json_get(f, "strict"))};
    return n;
}

static bool add_grammar(nfa *a, const cJSON *v, fault *why)
{
    const cJSON *open = json_get(v, "open");
    const bool forced = cJSON_IsTrue(json_get(v, "forced"));
    tool_function *functions = calloc(TOOL_MOST_FUNCTIONS, sizeof *functions);
    tool_grammar g = {.format = tool_format_named(json_get(v, "format")->valuestring),
                      .opened = cJSON_IsTrue(json_get(v, "opened")),
                      .forced = forced,
                      .parallel = cJSON_IsTrue(json_get(v, "parallel")),
                      .document = json_get(v, "document")};
    bool good;

    if (!functions) return fault_fail(why, ERR_NOMEM);
    if (open)
        g.thoughts = (tool_thoughts){open->valuestring, json_get(v, "close")->valuestring};
    g.n = list_functions(json_get(v, "functions"), forced, functions);
    g.functions = functions;
    good = tool_grammar_add(a, &g, why);
    free(functions);
    return good;
}

bool request_hold_tools(request *q, const request_env *env, fault *why)
{
    guide g = {.kind = GUIDE_OTHER, .param = "tools", .add = add_grammar};
    cJSON *value;
    bool good;

    if (!env->tools) return true;
    q->tools.opened = is_opened(q, env);
    if (!q->tools.format) return true;
    value = describe(q, env);
    if (!value) return fault_fail(why, ERR_NOMEM);
    g.value = value;
    good = guides_find(env->guides, &g, &q->in.program, why);
    q->in.may_be_cut = true;
    cJSON_Delete(value);
    return good;
}

/* --- the parser --- */

err request_parser(const request *q, struct tool_parser **out)
{
    const request_tools *t = &q->tools;
    const tool_parse_setup s = {.format = t->format ? t->format : t->channels,
                                .thoughts = t->thoughts,
                                .opened = t->opened,
                                .silent = t->silent,
                                .twice = t->twice,
                                .functions = t->format ? t->functions : NULL};

    *out = NULL;
    return s.format || s.thoughts.open ? tool_parse_new(out, &s) : ERR_OK;
}
