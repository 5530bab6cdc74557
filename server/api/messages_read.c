/* messages_read.c - a request of /v1/messages in the words of a chat completion.
 *
 *   system                                       {role: system}
 *   user       tool_result ..                    {role: tool} each
 *              text ..                           {role: user}
 *   assistant  thinking, text, tool_use ..       {role: assistant, reasoning_content, content,
 *                                                 tool_calls}
 *   the last one is the assistant's              continue_final_message
 *   tools, tool_choice, thinking, output_config  tools, tool_choice, enable_thinking,
 *                                                response_format */
#include <stdio.h>
#include <string.h>

#include "server/api/messages.h"
#include "server/api/translation.h"

const request_rename messages_renames[] = {
    {"stop", "stop_sequences"},
    {"response_format.json_schema", "output_config.format"},
    {"response_format", "output_config.format"},
    {NULL, NULL},
};

/* A message while its blocks are taken apart. */
typedef struct reader {
    translation t;
    cJSON *message;   /* of the chat, that the next text belongs to; NULL: none yet */
    const char *role; /* of the message that is read */
    char path[64];    /* of the block that is read */
} reader;

static const char *type_of(const cJSON *block)
{
    const cJSON *type = json_get(block, "type");

    return cJSON_IsString(type) ? type->valuestring : "";
}

static cJSON *current(reader *r)
{
    if (!r->message) r->message = translation_message(&r->t, r->role);
    return r->message;
}

/* The array of that name, made where there is none. NULL: no memory. */
static cJSON *list_of(reader *r, cJSON *message, const char *name)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(message, name);

    if (message && !list) list = cJSON_AddArrayToObject(message, name);
    if (!list) fault_fail(r->t.why, ERR_NOMEM);
    return list;
}

/* --- blocks --- */

static bool add_part(reader *r, cJSON *parts, cJSON *block)
{
    cJSON *part = cJSON_CreateObject();

    return translation_add(&r->t, parts, part) &&
           translation_put_text(&r->t, part, "type", "text") &&
           translation_move(&r->t, block, "text", part, "text");
}

static bool read_text(reader *r, cJSON *block)
{
    cJSON *parts = list_of(r, current(r), "content");

    return parts && add_part(r, parts, block);
}

static bool read_use(reader *r, cJSON *block)
{
    cJSON *calls = list_of(r, current(r), "tool_calls"), *function, *call;

    function = calls ? translation_function(&r->t, calls) : NULL;
    if (!function) return false;
    call = cJSON_GetArrayItem(calls, cJSON_GetArraySize(calls) - 1);
    return translation_move(&r->t, block, "id", call, "id") &&
           translation_move(&r->t, block, "name", function, "name") &&
           translation_move(&r->t, block, "input", function, "arguments");
}

/* A result's texts; without any it is empty, as a tool's may be. */
static bool move_result(reader *r, cJSON *block, cJSON *message)
{
    cJSON *content = cJSON_GetObjectItemCaseSensitive(block, "content"), *part, *parts;

    if (cJSON_IsString(content))
        return translation_move(&r->t, block, "content", message, "content");
    parts = list_of(r, message, "content");
    if (!parts) return false;
    cJSON_ArrayForEach (part, content) {
        if (strcmp(type_of(part), "text") != 0)
            return translation_refuse(
                &r->t, ERR_UNSUPPORTED, r->path,
                "%s.content: a part of the type '%.40s' is not supported.", r->path,
                type_of(part));
        if (!add_part(r, parts, part)) return false;
    }
    return true;
}

/* What is said beside a result stands behind it, as another message. */
static bool read_result(reader *r, cJSON *block)
{
    cJSON *message = translation_message(&r->t, "tool");

    r->message = NULL;
    return message && translation_move(&r->t, block, "tool_use_id", message, "tool_call_id") &&
           move_result(r, block, message);
}

static bool read_thinking(reader *r, cJSON *block)
{
    return current(r) &&
           translation_move(&r->t, block, "thinking", r->message, "reasoning_content");
}

/* Thoughts that only another server can read say nothing to this model. */
static bool read_redacted(reader *r, cJSON *block)
{
    (void)block;
    return current(r) != NULL;
}

static const struct {
    const char *type, *role; /* whose they are; NULL: anybody's */
    bool (*read)(reader *r, cJSON *block);
} kinds[] = {
    {"text", NULL, read_text},
    {"tool_result", "user", read_result},
    {"tool_use", "assistant", read_use},
    {"thinking", "assistant", read_thinking},
    {"redacted_thinking", "assistant", read_redacted},
};

static bool read_block(reader *r, cJSON *block)
{
    const char *type = type_of(block);

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(type, kinds[i].type) == 0 &&
            (!kinds[i].role || strcmp(r->role, kinds[i].role) == 0))
            return kinds[i].read(r, block);
    return translation_refuse(
        &r->t, ERR_UNSUPPORTED, r->path,
        "%s: a block of the type '%.40s' is not supported in a message of "
        "the role '%s'.",
        r->path, type, r->role);
}

/* --- messages --- */

static bool read_blocks(reader *r, cJSON *content, size_t i)
{
    cJSON *block;
    size_t k = 0;

    if (!content->child) return current(r) && list_of(r, r->message, "content");
    cJSON_ArrayForEach (block, content) {
        snprintf(r->path, sizeof r->path, "messages.%zu.content.%zu", i, k++);
        if (!read_block(r, block)) return false;
    }
    return true;
}

static bool read_message(reader *r, cJSON *message, size_t i)
{
    static const char *const roles[] = {"user", "assistant", "system"};
    const cJSON *role = json_get(message, "role");
    cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");

    r->role = NULL;
    r->message = NULL;
    for (size_t k = 0; k < 3 && cJSON_IsString(role); k++)
        if (strcmp(role->valuestring, roles[k]) == 0) r->role = roles[k];
    snprintf(r->path, sizeof r->path, "messages.%zu.role", i);
    if (!r->role)
        return translation_refuse(&r->t, ERR_INVALID, r->path,
                                  "%s: must be 'user' or 'assistant'.", r->path);
    if (cJSON_IsArray(content)) return read_blocks(r, content, i);
    if (cJSON_IsString(content))
        return current(r) && translation_move(&r->t, message, "content", r->message, "content");
    snprintf(r->path, sizeof r->path, "messages.%zu.content", i);
    return translation_refuse(&r->t, ERR_INVALID, r->path,
                              "%s: must be a string or an array of blocks.", r->path);
}

static bool read_system(reader *r)
{
    cJSON *system = cJSON_GetObjectItemCaseSensitive(r->t.from, "system"), *block;

    if (!system || cJSON_IsNull(system)) return true;
    r->role = "system";
    if (cJSON_IsString(system) && system->valuestring[0])
        return current(r) &&
               translation_move(&r->t, r->t.from, "system", r->message, "content");
    if (!cJSON_IsArray(system) && !cJSON_IsString(system))
        return translation_refuse(&r->t, ERR_INVALID, "system",
                                  "system: must be a string or an array of text blocks.");
    snprintf(r->path, sizeof r->path, "system");
    cJSON_ArrayForEach (block, system)
        if (!read_block(r, block)) return false;
    return true;
}

/* An assistant's message at the end is the beginning of the answer. */
static bool read_messages(reader *r)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(r->t.from, "messages"), *message;
    const cJSON *last;
    size_t i = 0;

    if (!cJSON_IsArray(list) || !list->child)
        return translation_refuse(&r->t, list ? ERR_INVALID : ERR_REQUIRED, "messages",
                                  "messages: must be an array of at least one message.");
    cJSON_ArrayForEach (message, list)
        if (!read_message(r, message, i++)) return false;
    last = r->message;
    if (!last || strcmp(r->role, "assistant") != 0 || json_get(last, "tool_calls")) return true;
    return translation_put(&r->t, r->t.to, "continue_final_message", cJSON_CreateTrue());
}

/* --- tools --- */

static bool read_tool(reader *r, cJSON *tool, size_t i, cJSON *tools)
{
    const char *type = type_of(tool);
    cJSON *function;

    snprintf(r->path, sizeof r->path, "tools.%zu", i);
    if (type[0] && strcmp(type, "custom") != 0)
        return translation_refuse(&r->t, ERR_UNSUPPORTED, r->path,
                                  "%s: a tool of the type '%.40s' is not supported.", r->path,
                                  type);
    function = translation_function(&r->t, tools);
    return function && translation_move(&r->t, tool, "name", function, "name") &&
           translation_move(&r->t, tool, "description", function, "description") &&
           translation_move(&r->t, tool, "input_schema", function, "parameters") &&
           translation_move(&r->t, tool, "strict", function, "strict");
}

static bool read_tools(reader *r)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(r->t.from, "tools"), *tool, *tools;
    size_t i = 0;

    if (!list || cJSON_IsNull(list)) return true;
    if (!cJSON_IsArray(list))
        return translation_refuse(&r->t, ERR_INVALID, "tools", "tools: must be an array.");
    tools = list_of(r, r->t.to, "tools");
    cJSON_ArrayForEach (tool, list)
        if (!tools || !read_tool(r, tool, i++, tools)) return false;
    return true;
}

static bool name_tool(reader *r, cJSON *choice)
{
    cJSON *named = cJSON_CreateObject(), *function = cJSON_CreateObject();

    return translation_put(&r->t, r->t.to, "tool_choice", named) &&
           translation_put_text(&r->t, named, "type", "function") &&
           translation_put(&r->t, named, "function", function) &&
           translation_move(&r->t, choice, "name", function, "name");
}

static bool read_tool_choice(reader *r)
{
    static const char *const words[][2] = {
        {"auto", "auto"}, {"any", "required"}, {"none", "none"}};
    cJSON *choice = cJSON_GetObjectItemCaseSensitive(r->t.from, "tool_choice");
    bool single = false;

    if (!choice || cJSON_IsNull(choice)) return true;
    if (!json_get_bool(choice, "disable_parallel_tool_use", &single, r->t.why)) return false;
    if (single && !translation_put(&r->t, r->t.to, "parallel_tool_calls", cJSON_CreateFalse()))
        return false;
    if (strcmp(type_of(choice), "tool") == 0) return name_tool(r, choice);
    for (size_t i = 0; i < 3; i++)
        if (strcmp(type_of(choice), words[i][0]) == 0)
            return translation_put_text(&r->t, r->t.to, "tool_choice", words[i][1]);
    return translation_refuse(&r->t, ERR_INVALID, "tool_choice",
                              "tool_choice.type: must be auto, any, tool or none.");
}

/* --- the rest --- */

/* How long it thinks is the model's own: a budget is a hint that no template knows. */
static bool read_thinking_wish(reader *r)
{
    const cJSON *thinking = json_get(r->t.from, "thinking");
    const char *type = type_of(thinking);

    if (!thinking) return true;
    if (strcmp(type, "enabled") != 0 && strcmp(type, "disabled") != 0 &&
        strcmp(type, "adaptive") != 0)
        return translation_refuse(&r->t, ERR_INVALID, "thinking",
                                  "thinking.type: must be enabled, disabled or adaptive.");
    return translation_put(&r->t, r->t.to, "enable_thinking",
                           cJSON_CreateBool(strcmp(type, "disabled") != 0));
}

/* {type: json_schema, schema} becomes {type, json_schema: {schema}}. */
static bool read_format(reader *r, cJSON *from, const char *name)
{
    cJSON *format = cJSON_GetObjectItemCaseSensitive(from, name), *inner;

    if (!format || cJSON_IsNull(format)) return true;
    inner = cJSON_CreateObject();
    return translation_put(&r->t, format, "json_schema", inner) &&
           translation_move(&r->t, format, "schema", inner, "schema") &&
           translation_move(&r->t, from, name, r->t.to, "response_format");
}

static bool read_output(reader *r)
{
    cJSON *output = cJSON_GetObjectItemCaseSensitive(r->t.from, "output_config");

    return read_format(r, output, "format") &&
           translation_move(&r->t, output, "effort", r->t.to, "reasoning_effort") &&
           read_format(r, r->t.from, "output_format");
}

static bool read_max_tokens(reader *r, bool counts)
{
    int64_t n;

    if (!json_get(r->t.from, "max_tokens"))
        return counts || translation_refuse(&r->t, ERR_REQUIRED, "max_tokens",
                                            "max_tokens: is required.");
    return json_get_int(r->t.from, "max_tokens", 1, INT32_MAX, &n, r->t.why) &&
           translation_move(&r->t, r->t.from, "max_tokens", r->t.to, "max_tokens");
}

static bool translate(cJSON **body, const request_env *env, bool counts, fault *why)
{
    reader r = {0};
    const bool good = translation_begin(&r.t, *body, REQUEST_ANTHROPIC, env, why) &&
                      read_max_tokens(&r, counts) && read_thinking_wish(&r) &&
                      read_output(&r) && read_tools(&r) && read_tool_choice(&r) &&
                      read_system(&r) && read_messages(&r);

    return translation_end(&r.t, body, good);
}

bool messages_translate(request *q, cJSON **body, const request_env *env, fault *why)
{
    (void)q;
    return translate(body, env, false, why);
}

bool messages_translate_count(request *q, cJSON **body, const request_env *env, fault *why)
{
    (void)q;
    return translate(body, env, true, why);
}
