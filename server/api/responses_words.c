/* responses_words.c - the members of /v1/responses that say the same as a chat completion's, a
 * level higher or deeper, and a prompt that is cut where it is too long. */
#include <stdlib.h>
#include <string.h>

#include "server/api/chat_prompt.h"
#include "server/api/responses.h"
#include "server/api/translation.h"

/* --- tools --- */

/* Clients name tools that OpenAI runs itself (web_search), or that another wire format has,
 * with every request. As at peers the model is not told of them, for nobody here would run
 * them; that is logged, once a name. */
static bool read_tool(const translation *t, cJSON *tool, size_t i, cJSON *tools)
{
    static const char *const members[] = {"name", "description", "parameters", "strict"};
    const cJSON *type = json_get(tool, "type");
    cJSON *function;
    char path[64];

    snprintf(path, sizeof path, "tools[%zu].type", i);
    if (!cJSON_IsString(type))
        return translation_refuse(t, ERR_INVALID, path, "'%s' must be a string.", path);
    if (strcmp(type->valuestring, "function") != 0) {
        snprintf(path, sizeof path, "tools[].type=%.32s", type->valuestring);
        request_note_unknown(path);
        return true;
    }
    function = translation_function(t, tools);
    for (size_t k = 0; function && k < sizeof members / sizeof *members; k++)
        if (!translation_move(t, tool, members[k], function, members[k])) return false;
    return function != NULL;
}

static bool read_tools(const translation *t)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(t->from, "tools"), *tool, *tools;
    size_t i = 0;

    if (!list || cJSON_IsNull(list)) return true;
    if (!cJSON_IsArray(list))
        return translation_refuse(t, ERR_INVALID, "tools", "'tools' must be an array.");
    tools = cJSON_AddArrayToObject(t->to, "tools");
    cJSON_ArrayForEach (tool, list)
        if (!read_tool(t, tool, i++, tools)) return false;
    return true;
}

/* {type: function, name} becomes {type: function, function: {name}}. */
static bool deepen(const translation *t, cJSON *named)
{
    cJSON *function = cJSON_CreateObject();

    return translation_put(t, named, "function", function) &&
           translation_move(t, named, "name", function, "name");
}

/* {type: allowed_tools, mode, tools} becomes {type: allowed_tools, allowed_tools: {mode,
 * tools}}.
 */
static bool deepen_allowed(const translation *t, cJSON *choice)
{
    cJSON *inner = cJSON_CreateObject(), *tool;

    cJSON_ArrayForEach (tool, cJSON_GetObjectItemCaseSensitive(choice, "tools"))
        if (!deepen(t, tool)) {
            cJSON_Delete(inner);
            return false;
        }
    return translation_put(t, choice, "allowed_tools", inner) &&
           translation_move(t, choice, "mode", inner, "mode") &&
           translation_move(t, choice, "tools", inner, "tools");
}

static bool read_tool_choice(const translation *t)
{
    cJSON *choice = cJSON_GetObjectItemCaseSensitive(t->from, "tool_choice");
    const cJSON *type = json_get(choice, "type");
    const char *name = cJSON_IsString(type) ? type->valuestring : "";
    bool good = true;

    if (cJSON_IsObject(choice) && strcmp(name, "function") == 0)
        good = deepen(t, choice);
    else if (cJSON_IsObject(choice) && strcmp(name, "allowed_tools") == 0)
        good = deepen_allowed(t, choice);
    else if (cJSON_IsObject(choice))
        good = translation_refuse(t, ERR_UNSUPPORTED, "tool_choice",
                                  "A 'tool_choice' of the type '%.40s' is not supported.",
                                  name);
    return good && translation_move(t, t->from, "tool_choice", t->to, "tool_choice");
}

/* --- text.format, reasoning, truncation, include --- */

/* {type: json_schema, name, schema, strict} becomes {type, json_schema: {name, schema, ..}}. */
static bool read_format(const translation *t, cJSON *text)
{
    static const char *const members[] = {"name", "description", "schema", "strict"};
    cJSON *format = cJSON_GetObjectItemCaseSensitive(text, "format"), *inner;
    const cJSON *type = json_get(format, "type");

    if (!format || cJSON_IsNull(format)) return true;
    if (cJSON_IsString(type) && strcmp(type->valuestring, "json_schema") == 0) {
        inner = cJSON_AddObjectToObject(format, "json_schema");
        for (size_t i = 0; i < sizeof members / sizeof *members; i++)
            if (!translation_move(t, format, members[i], inner, members[i])) return false;
    }
    return translation_move(t, text, "format", t->to, "response_format");
}

static bool read_text(const translation *t)
{
    cJSON *text = cJSON_GetObjectItemCaseSensitive(t->from, "text");

    if (!text || cJSON_IsNull(text)) return true;
    if (!cJSON_IsObject(text))
        return translation_refuse(t, ERR_INVALID, "text", "'text' must be an object.");
    return read_format(t, text) && translation_move(t, text, "verbosity", t->to, "verbosity");
}

static bool read_reasoning(const translation *t)
{
    cJSON *reasoning = cJSON_GetObjectItemCaseSensitive(t->from, "reasoning");

    if (!reasoning || cJSON_IsNull(reasoning)) return true;
    if (!cJSON_IsObject(reasoning))
        return translation_refuse(t, ERR_INVALID, "reasoning",
                                  "'reasoning' must be an object.");
    return translation_move(t, reasoning, "effort", t->to, "reasoning_effort");
}

static bool read_truncation(const translation *t, request *q)
{
    const char *how = "disabled";

    if (!json_get_string(t->from, "truncation", &how, t->why)) return false;
    q->truncates = strcmp(how, "auto") == 0;
    if (q->truncates || strcmp(how, "disabled") == 0) return true;
    return translation_refuse(t, ERR_INVALID, "truncation",
                              "'truncation' must be 'auto' or 'disabled'.");
}

/* Most of what can be included is of built-in tools, or thoughts that only their server can
 * read; without either there is nothing to add. Logprobs are told where they are included, or
 * where somebody asks for the best. */
static bool read_include(const translation *t)
{
    bool wanted = json_get(t->from, "top_logprobs") != NULL;

    const cJSON *list = json_get(t->from, "include"), *item;

    if (list && !cJSON_IsArray(list))
        return translation_refuse(t, ERR_INVALID, "include", "'include' must be an array.");
    cJSON_ArrayForEach (item, list) {
        if (!cJSON_IsString(item))
            return translation_refuse(t, ERR_INVALID, "include",
                                      "'include' must be an array of strings.");
        wanted |= strcmp(item->valuestring, "message.output_text.logprobs") == 0;
    }
    return (!wanted || translation_put(t, t->to, "logprobs", cJSON_CreateTrue())) &&
           translation_move(t, t->from, "top_logprobs", t->to, "top_logprobs");
}

bool responses_translate_words(const translation *t, request *q)
{
    return read_text(t) && read_reasoning(t) && read_truncation(t, q) && read_include(t) &&
           read_tools(t) && read_tool_choice(t);
}

/* --- truncation --- */

static bool is_system(const cJSON *message)
{
    const cJSON *role = json_get(message, "role");

    return cJSON_IsString(role) && (strcmp(role->valuestring, "system") == 0 ||
                                    strcmp(role->valuestring, "developer") == 0);
}

/* Drop the oldest message that is no instruction, and what cannot stand first behind it: a
 * tool's answer, or the assistant's. False: the last one is left. */
static bool drop_oldest(cJSON *messages)
{
    cJSON *message = messages->child;

    while (message && is_system(message)) message = message->next;
    if (!message || !message->next) return false;
    do {
        cJSON *next = message->next;
        const cJSON *role = json_get(next, "role");

        cJSON_Delete(cJSON_DetachItemViaPointer(messages, message));
        message = next;
        if (!cJSON_IsString(role) || strcmp(role->valuestring, "user") == 0) break;
    } while (message->next);
    return true;
}

/* Tokens that must go, so that there is room for an answer; a quarter of the context is room
 * enough for who asks for more. *all: of the prompt, as far as it was encoded. */
static size_t count_excess(const request *q, const request_env *env, bool good, size_t *all)
{
    const size_t most = env->ctx_size / 4;
    const size_t wanted = q->in.max_tokens < most ? q->in.max_tokens : most;

    *all = good ? q->prompts[0].n : request_room(env).most;
    return *all + wanted > env->ctx_size ? *all + wanted - env->ctx_size : 0;
}

/* Half of the share that must go, one turn at least: the rest is encoded again, and hardly a
 * turn goes that had room. False: the last message is left. */
static bool drop_share(cJSON *messages, size_t excess, size_t all)
{
    const size_t n = (size_t)cJSON_GetArraySize(messages), left = n - n * excess / all / 2;
    const bool dropped = drop_oldest(messages);

    while ((size_t)cJSON_GetArraySize(messages) > left && drop_oldest(messages)) {}
    return dropped;
}

static void forget_prompt(request *q)
{
    for (size_t i = 0; i < q->n_prompts; i++) free(q->prompts[i].ids);
    free(q->prompts);
    q->prompts = NULL;
    q->n_prompts = 0;
}

/* Turns go until the rest fits; each try is cut short soon behind the context's end. */
bool responses_read_prompt(request *q, const cJSON *body, const request_env *env, fault *why)
{
    cJSON *messages = cJSON_GetObjectItemCaseSensitive(body, "messages");

    for (;;) {
        const bool good = chat_prompt_read(q, body, env, why);
        size_t all, excess;

        if (!q->truncates || (!good && why->e != ERR_TOOLONG)) return good;
        excess = count_excess(q, env, good, &all);
        if (good && !excess) return true;
        if (!drop_share(messages, excess, all)) return good;
        if (env->cancel && atomic_load(env->cancel)) return fault_fail(why, ERR_CANCELED);
        forget_prompt(q);
        *why = (fault){0};
    }
}
