/* ollama_read.c - requests of /api/chat and /api/generate in the words of a chat completion.
 *
 *   options                    members of the body (dialects.def, KNOBS)
 *   format                     response_format: json, or a schema
 *   think                      enable_thinking, or reasoning_effort
 *   messages                   thinking, tool_calls with values for arguments, tool_name
 *   system, prompt             messages; with raw the prompt is a text, and no chat's */
#include <stdio.h>
#include <string.h>

#include "server/api/chat_prompt.h"
#include "server/api/completion_kind.h"
#include "server/api/ollama.h"
#include "server/api/translation.h"

const request_rename ollama_renames[] = {
    {"response_format.json_schema.schema", "format"},
    {"response_format", "format"},
    {"max_tokens", "num_predict"},
    {NULL, NULL},
};

/* A peer's word for no limit is -1, for the rest of the context -2: both are ours. */
static bool read_options(const translation *t)
{
    cJSON *options = cJSON_GetObjectItemCaseSensitive(t->from, "options"), *most;

    if (!options || cJSON_IsNull(options)) return true;
    if (!cJSON_IsObject(options))
        return translation_refuse(t, ERR_INVALID, "options", "'options' must be an object.");
    if (!request_move_members(options, t->to, REQUEST_KNOBS, "options.", t->why)) return false;
    most = cJSON_GetObjectItemCaseSensitive(t->to, "max_tokens");
    if (cJSON_IsNumber(most) && most->valuedouble == -2) cJSON_SetNumberValue(most, -1);
    return true;
}

static bool read_format(const translation *t)
{
    const cJSON *format = json_get(t->from, "format");
    const bool json = cJSON_IsString(format) && strcmp(format->valuestring, "json") == 0;
    cJSON *outer, *inner;

    if (!format || (cJSON_IsString(format) && !format->valuestring[0])) return true;
    if (!json && !cJSON_IsObject(format))
        return translation_refuse(t, ERR_INVALID, "format",
                                  "'format' must be 'json' or a JSON schema.");
    outer = cJSON_CreateObject();
    if (!translation_put(t, t->to, "response_format", outer) ||
        !translation_put_text(t, outer, "type", json ? "json_object" : "json_schema"))
        return false;
    if (json) return true;
    inner = cJSON_CreateObject();
    return translation_put(t, outer, "json_schema", inner) &&
           translation_move(t, t->from, "format", inner, "schema");
}

static bool read_think(const translation *t)
{
    const cJSON *think = json_get(t->from, "think");

    if (!think) return true;
    if (cJSON_IsString(think))
        return translation_move(t, t->from, "think", t->to, "reasoning_effort");
    if (cJSON_IsBool(think))
        return translation_move(t, t->from, "think", t->to, "enable_thinking");
    return translation_refuse(t, ERR_INVALID, "think",
                              "'think' must be true, false, or how hard.");
}

/* Names come with a tag, which none has here. */
static bool read_model(const translation *t)
{
    const char *name = NULL;
    char plain[256];
    size_t n;

    if (!json_get_string(t->from, "model", &name, t->why)) return false;
    if (!name || !name[0])
        return translation_refuse(t, ERR_REQUIRED, "model", "'model' is required.");
    n = strlen(name);
    if (n >= sizeof plain || n < sizeof OLLAMA_TAG ||
        strcmp(name + n - (sizeof OLLAMA_TAG - 1), OLLAMA_TAG) != 0 ||
        strcmp(name, t->env->model_name) == 0)
        return translation_move(t, t->from, "model", t->to, "model");
    snprintf(plain, sizeof plain, "%.*s", (int)(n - (sizeof OLLAMA_TAG - 1)), name);
    return translation_put_text(t, t->to, "model", plain);
}

static bool read_stream(const translation *t)
{
    if (json_get(t->from, "stream"))
        return translation_move(t, t->from, "stream", t->to, "stream");
    return translation_put(t, t->to, "stream", cJSON_CreateTrue());
}

static bool read_words(const translation *t)
{
    return read_model(t) && read_stream(t) && read_options(t) && read_format(t) &&
           read_think(t);
}

/* --- chat --- */

/* Calls have no ids there, and functions no type. */
static bool read_calls(const translation *t, cJSON *message)
{
    cJSON *call;

    cJSON_ArrayForEach (call, cJSON_GetObjectItemCaseSensitive(message, "tool_calls"))
        if (!json_get(call, "type") && !translation_put_text(t, call, "type", "function"))
            return false;
    return true;
}

static bool read_message(const translation *t, cJSON *message, size_t i)
{
    const cJSON *images = json_get(message, "images");
    char path[64];

    snprintf(path, sizeof path, "messages[%zu].images", i);
    if (images && images->child)
        return translation_refuse(t, ERR_UNSUPPORTED, path, "'%s' is not supported.", path);
    cJSON_DeleteItemFromObjectCaseSensitive(message, "images");
    return translation_move(t, message, "tool_name", message, "name") && read_calls(t, message);
}

static bool read_messages(const translation *t)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(t->from, "messages"), *message;
    size_t i = 0;

    cJSON_ArrayForEach (message, list)
        if (cJSON_IsObject(message) && !read_message(t, message, i++)) return false;
    if (!cJSON_IsArray(list) || !list->child)
        return translation_refuse(t, list ? ERR_INVALID : ERR_REQUIRED, "messages",
                                  "'messages' must be an array of at least one message.");
    cJSON_DeleteItemFromObjectCaseSensitive(t->to, "messages");
    return translation_move(t, t->from, "messages", t->to, "messages");
}

bool ollama_translate_chat(request *q, cJSON **body, const request_env *env, fault *why)
{
    translation t;
    const bool good = translation_begin(&t, *body, REQUEST_CHATS, env, why) && read_words(&t) &&
                      read_messages(&t);

    (void)q;
    return translation_end(&t, body, good);
}

/* --- generate --- */

static bool read_prompt(const translation *t, request *q)
{
    const char *prompt = NULL, *system = "";
    cJSON *message;

    if (!json_get_bool(t->from, "raw", &q->raw, t->why) ||
        !json_get_string(t->from, "prompt", &prompt, t->why) ||
        !json_get_string(t->from, "system", &system, t->why))
        return false;
    if (!prompt) return translation_refuse(t, ERR_REQUIRED, "prompt", "'prompt' is required.");
    if (q->raw) {
        cJSON_DeleteItemFromObjectCaseSensitive(t->to, "messages");
        return translation_move(t, t->from, "prompt", t->to, "prompt");
    }
    if (system[0]) {
        message = translation_message(t, "system");
        if (!message || !translation_move(t, t->from, "system", message, "content"))
            return false;
    }
    message = translation_message(t, "user");
    return message && translation_move(t, t->from, "prompt", message, "content");
}

bool ollama_translate_generate(request *q, cJSON **body, const request_env *env, fault *why)
{
    translation t;
    const bool good = translation_begin(&t, *body, REQUEST_GENERATES, env, why) &&
                      read_words(&t) && read_prompt(&t, q);

    return translation_end(&t, body, good);
}

bool ollama_read_prompt(request *q, const cJSON *body, const request_env *env, fault *why)
{
    if (q->raw) return api_completions_kind.request.read_prompt(q, body, env, why);
    return chat_prompt_read(q, body, env, why);
}
