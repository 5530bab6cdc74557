/* responses_read.c - a request of /v1/responses in the words of a chat completion.
 *
 *   instructions                                  {role: system}
 *   items of previous_response_id, then input     messages
 *     message                                       {role, content}
 *     reasoning, message, function_call ..          one {role: assistant, reasoning_content,
 *                                                        content, tool_calls}
 *     function_call_output                          {role: tool}
 *   text.format                                   response_format
 *   tools, tool_choice                            the same, a level deeper
 *   reasoning.effort                              reasoning_effort
 *
 * The items are printed before they are taken apart: the next turn begins with them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/response_store.h"
#include "server/api/responses.h"
#include "server/api/translation.h"

const request_rename responses_renames[] = {
    {"messages", "input"},
    {"max_completion_tokens", "max_output_tokens"},
    {"response_format.json_schema", "text.format"},
    {"response_format", "text.format"},
    {"reasoning_effort", "reasoning.effort"},
    {NULL, NULL},
};

/* --- what the answer says of the request --- */

static const struct {
    const char *name, *otherwise;
} echoed[] = {
    {"instructions", "null"},
    {"max_output_tokens", "null"},
    {"max_tool_calls", "null"},
    {"metadata", "{}"},
    {"parallel_tool_calls", "true"},
    {"previous_response_id", "null"},
    {"prompt_cache_key", "null"},
    {"reasoning", "{\"effort\":null,\"summary\":null}"},
    {"safety_identifier", "null"},
    {"service_tier", "\"default\""},
    {"store", "true"},
    {"text", "{\"format\":{\"type\":\"text\"}}"},
    {"tool_choice", "\"auto\""},
    {"tools", "[]"},
    {"top_logprobs", "0"},
    {"truncation", "\"disabled\""},
    {"user", "null"},
};

static bool write_echo(request *q, const cJSON *body, fault *why)
{
    text_builder t = {0};

    for (size_t i = 0; i < sizeof echoed / sizeof *echoed; i++) {
        const cJSON *item = json_get(body, echoed[i].name);
        char *text = item ? cJSON_PrintUnformatted(item) : NULL;

        if (item && !text) t.failed = true;
        text_addf(&t, ",\"%s\":", echoed[i].name);
        text_add_string(&t, text ? text : echoed[i].otherwise);
        free(text);
    }
    q->said.echo = text_take(&t, NULL);
    return q->said.echo ? true : fault_fail(why, ERR_NOMEM);
}

/* --- one item --- */

/* The items while they become messages. */
typedef struct reader {
    translation t;
    cJSON *open; /* the assistant's message that may go on; or NULL */
} reader;

/* "input[3].type": where the client has it, for a conversation that goes on the place in it. */
static const char *path_to(char path[64], size_t i, const char *member)
{
    snprintf(path, 64, "input[%zu]%s", i, member);
    return path;
}

/* Parts of all names of text become parts of that one; a refusal is a text too. */
static bool read_parts(reader *r, cJSON *parts, const char *path)
{
    cJSON *part;

    cJSON_ArrayForEach (part, parts) {
        const cJSON *type = json_get(part, "type");
        const char *name = cJSON_IsString(type) ? type->valuestring : "";
        const bool refusal = strcmp(name, "refusal") == 0;

        if (!refusal && strcmp(name, "input_text") != 0 && strcmp(name, "output_text") != 0 &&
            strcmp(name, "text") != 0 && strcmp(name, "reasoning_text") != 0)
            return translation_refuse(&r->t, ERR_UNSUPPORTED, path,
                                      "A part of '%s' of the type '%.40s' is not supported: it "
                                      "must be a text.",
                                      path, name);
        if (refusal && !translation_move(&r->t, part, "refusal", part, "text")) return false;
        cJSON_DeleteItemFromObjectCaseSensitive(part, "type");
        if (!translation_put_text(&r->t, part, "type", "text")) return false;
    }
    return true;
}

static bool move_content(reader *r, cJSON *item, const char *from, cJSON *message, size_t i)
{
    cJSON *content = cJSON_GetObjectItemCaseSensitive(item, from);
    char path[64], member[24];

    snprintf(member, sizeof member, ".%s", from);
    if (cJSON_IsArray(content) && !read_parts(r, content, path_to(path, i, member)))
        return false;
    return translation_move(&r->t, item, from, message, "content");
}

/* The assistant's message that an item belongs to: one that has no `member` yet. */
static cJSON *assistant(reader *r, const char *member)
{
    if (!r->open || (member && json_get(r->open, member)))
        r->open = translation_message(&r->t, "assistant");
    return r->open;
}

static bool read_message(reader *r, cJSON *item, size_t i)
{
    const cJSON *role = json_get(item, "role");
    const bool own = cJSON_IsString(role) && strcmp(role->valuestring, "assistant") == 0;
    cJSON *message;

    if (!role) {
        char path[64];

        return translation_refuse(&r->t, ERR_REQUIRED, path_to(path, i, ".role"),
                                  "'%s' is required.", path);
    }
    if (!own) r->open = NULL;
    message = own ? assistant(r, "content") : cJSON_CreateObject();
    if (!own && !translation_add(&r->t, r->t.messages, message)) return false;
    if (!own && !translation_move(&r->t, item, "role", message, "role")) return false;
    return message && move_content(r, item, "content", message, i);
}

static bool read_call(reader *r, cJSON *item, size_t i)
{
    cJSON *message = assistant(r, NULL), *calls, *function;

    (void)i;
    if (!message) return false;
    calls = cJSON_GetObjectItemCaseSensitive(message, "tool_calls");
    if (!calls) calls = cJSON_AddArrayToObject(message, "tool_calls");
    function = translation_function(&r->t, calls);
    return function && translation_move(&r->t, item, "name", function, "name") &&
           translation_move(&r->t, item, "arguments", function, "arguments") &&
           translation_move(&r->t, item, "call_id",
                            cJSON_GetArrayItem(calls, cJSON_GetArraySize(calls) - 1), "id");
}

static bool read_output(reader *r, cJSON *item, size_t i)
{
    cJSON *message = translation_message(&r->t, "tool");

    r->open = NULL;
    return message && translation_move(&r->t, item, "call_id", message, "tool_call_id") &&
           move_content(r, item, "output", message, i);
}

/* Thoughts open the assistant's turn. Encrypted ones are another server's, and say nothing. */
static bool read_reasoning(reader *r, cJSON *item, size_t i)
{
    const cJSON *parts = json_get(item, "content"), *part;
    text_builder text = {0};
    cJSON *message;
    bool good;

    (void)i;
    cJSON_ArrayForEach (part, parts) {
        const cJSON *one = json_get(part, "text");

        if (cJSON_IsString(one)) text_add_string(&text, one->valuestring);
    }
    r->open = NULL;
    message = text.n ? assistant(r, NULL) : NULL;
    good = !text.n || (message && translation_put_text(&r->t, message, "reasoning_content",
                                                       text.at ? text.at : ""));
    text_free(&text);
    return good;
}

static const struct {
    const char *type;
    bool (*read)(reader *r, cJSON *item, size_t i);
} kinds[] = {
    {"message", read_message},
    {"function_call", read_call},
    {"function_call_output", read_output},
    {"reasoning", read_reasoning},
};

static bool read_item(reader *r, cJSON *item, size_t i)
{
    const cJSON *type = json_get(item, "type");
    const char *name = cJSON_IsString(type) ? type->valuestring : "message";
    char path[64];

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (cJSON_IsObject(item) && strcmp(name, kinds[k].type) == 0)
            return kinds[k].read(r, item, i);
    if (!cJSON_IsObject(item))
        return translation_refuse(&r->t, ERR_INVALID, path_to(path, i, ""),
                                  "'%s' must be an object.", path);
    return translation_refuse(&r->t, ERR_UNSUPPORTED, path_to(path, i, ".type"),
                              "An item of the type '%.40s' is not supported.", name);
}

/* --- the conversation --- */

static tenant tenant_of(const translation *t)
{
    const cJSON *salt = json_get(t->to, "cache_salt");

    return tenant_make(t->env->tenant, cJSON_IsString(salt) ? salt->valuestring : "",
                       t->env->share_prefixes);
}

/* Behind the array's elements those of a text. */
static bool append_items(const translation *t, cJSON *items, const char *text)
{
    cJSON *list, *item;
    bool good = json_parse(&list, text, strlen(text), t->why);

    while (good && (item = cJSON_DetachItemFromArray(list, 0)))
        good = translation_add(t, items, item);
    if (list) cJSON_Delete(list);
    return good;
}

static bool read_kept(const translation *t, const char *id, const char *param,
                      response_kept *out)
{
    const tenant who = tenant_of(t);
    err e = ERR_MISSING;

    if (t->env->responses && response_store_get(t->env->responses, &who, id, out, &e))
        return true;
    if (e != ERR_MISSING) return fault_fail(t->why, e);
    return translation_refuse(t, ERR_INVALID, param, "There is no response or item '%.80s'.",
                              id);
}

static bool add_previous(const translation *t, request *q, cJSON *items)
{
    const char *id = "";
    response_kept kept;
    bool good;

    if (!json_get_string(t->from, "previous_response_id", &id, t->why)) return false;
    if (!id[0]) return true;
    if (!read_kept(t, id, "previous_response_id", &kept)) return false;
    snprintf(q->session, sizeof q->session, "%s", kept.session);
    good = append_items(t, items, kept.items) && append_items(t, items, kept.output);
    response_kept_free(&kept);
    return good;
}

/* An item that is named by its id, from the answer that it was part of. */
static cJSON *find_item(const translation *t, const char *id, const char *path)
{
    cJSON *list = NULL, *item, *found = NULL;
    response_kept kept;

    if (!read_kept(t, id, path, &kept)) return NULL;
    if (json_parse(&list, kept.output, strlen(kept.output), t->why))
        cJSON_ArrayForEach (item, list) {
            const cJSON *own = json_get(item, "id");

            if (cJSON_IsString(own) && strcmp(own->valuestring, id) == 0) found = item;
        }
    if (found) found = cJSON_DetachItemViaPointer(list, found);
    if (!found)
        translation_refuse(t, ERR_INVALID, path, "There is no response or item '%.80s'.", id);
    cJSON_Delete(list);
    response_kept_free(&kept);
    return found;
}

/* Items that have no id get one, for who lists them. */
static bool name_item(const translation *t, cJSON *item)
{
    const cJSON *type = json_get(item, "type");
    const char *name = cJSON_IsString(type) ? type->valuestring : "message";
    char id[RANDOM_ID_BYTES];

    if (!cJSON_IsObject(item) || json_get(item, "id")) return true;
    random_id(id, strcmp(name, "message") == 0         ? "msg_"
                  : strcmp(name, "function_call") == 0 ? "fc_"
                                                       : "item_");
    if (!type && !translation_put_text(t, item, "type", "message")) return false;
    return translation_put_text(t, item, "id", id);
}

static bool add_input(const translation *t, cJSON *items)
{
    cJSON *input = cJSON_GetObjectItemCaseSensitive(t->from, "input"), *item;
    size_t i = 0;

    while ((item = cJSON_DetachItemFromArray(input, 0))) {
        const cJSON *type = json_get(item, "type"), *id = json_get(item, "id");
        char path[64];

        if (cJSON_IsString(type) && strcmp(type->valuestring, "item_reference") == 0) {
            cJSON *found = cJSON_IsString(id)
                               ? find_item(t, id->valuestring, path_to(path, i, ".id"))
                               : NULL;

            cJSON_Delete(item);
            item = found;
            if (!found && !id)
                translation_refuse(t, ERR_REQUIRED, path_to(path, i, ".id"),
                                   "'%s' is required.", path);
            if (!found) return false;
        }
        if (!translation_add(t, items, item) || !name_item(t, item)) return false;
        i++;
    }
    return true;
}

/* A text is a message of one part. */
static bool add_text_input(const translation *t, cJSON *items, cJSON *text)
{
    cJSON *message = cJSON_CreateObject(), *part = cJSON_CreateObject();
    cJSON *parts = cJSON_CreateArray();

    return translation_add(t, items, message) &&
           translation_put_text(t, message, "type", "message") &&
           translation_put_text(t, message, "role", "user") && name_item(t, message) &&
           translation_put(t, message, "content", parts) && translation_add(t, parts, part) &&
           translation_put_text(t, part, "type", "input_text") &&
           translation_put_text(t, part, "text", text->valuestring);
}

static bool collect_items(const translation *t, request *q, cJSON *items)
{
    cJSON *input = cJSON_GetObjectItemCaseSensitive(t->from, "input");

    if (!add_previous(t, q, items)) return false;
    if (!input || cJSON_IsNull(input))
        return translation_refuse(t, ERR_REQUIRED, "input", "'input' is required.");
    if (cJSON_IsString(input)) return add_text_input(t, items, input);
    if (cJSON_IsArray(input)) return add_input(t, items);
    return translation_refuse(t, ERR_INVALID, "input",
                              "'input' must be a string or an array of items.");
}

static bool read_items(reader *r, request *q)
{
    cJSON *items = cJSON_CreateArray(), *item;
    size_t i = 0;
    bool good = items && collect_items(&r->t, q, items);

    if (good && q->said.store) {
        q->said.items = cJSON_PrintUnformatted(items);
        if (!q->said.items) good = fault_fail(r->t.why, ERR_NOMEM);
    }
    cJSON_ArrayForEach (item, items) good = good && read_item(r, item, i++);
    cJSON_Delete(items);
    return items ? good : fault_fail(r->t.why, ERR_NOMEM);
}

/* Of one answer only: an earlier one's are not gone on with. */
static bool read_instructions(reader *r)
{
    const char *text = "";
    cJSON *message;

    if (!json_get_string(r->t.from, "instructions", &text, r->t.why)) return false;
    if (!text[0]) return true;
    message = translation_message(&r->t, "system");
    return message && translation_move(&r->t, r->t.from, "instructions", message, "content");
}

/* --- all of it --- */

/* The answer's own id names the session of a conversation that begins. */
static bool read_session(const translation *t, request *q)
{
    char *name = q->session[0] ? q->session : q->id;
    bool good = true;

    if (q->said.store && !json_get(t->to, "session_id") &&
        !json_get(t->to, "prompt_cache_key") && !t->env->session)
        good = translation_put_text(t, t->to, "session_id", name);
    q->session[0] = '\0';
    return good;
}

static bool read_all(reader *r, request *q)
{
    q->said.store = true;
    random_id(q->id, "resp_");
    return json_get_bool(r->t.from, "store", &q->said.store, r->t.why) &&
           responses_translate_words(&r->t, q) && read_instructions(r) && read_items(r, q) &&
           read_session(&r->t, q);
}

bool responses_translate(request *q, cJSON **body, const request_env *env, fault *why)
{
    reader r = {0};
    const bool good = write_echo(q, *body, why) &&
                      translation_begin(&r.t, *body, REQUEST_RESPONSES, env, why) &&
                      read_all(&r, q);

    return translation_end(&r.t, body, good);
}
