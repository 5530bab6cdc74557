/* chat_plain.c - what a template has no word for, in words.
 *
 *   tools                      -> system message, or the first of the user where it takes none
 *   tool_calls of an assistant -> <tool_call>{..}</tool_call> behind its content
 *   a tool's message           -> <tool_response>..</tool_response> of the user, several as one
 *
 * Phi 4 mini wants the tools as a text in a member of the system message. */
#include "server/api/chat_plain.h"

#include <stdlib.h>
#include <string.h>

#include "server/json.h"
#include "server/text.h"

/* What the template leaves to us. */
typedef struct lacks {
    bool tools, calls, results; /* no word for them */
    bool member;                /* tools are a member of the system message */
    bool system;                /* no system message either */
} lacks;

static lacks look(const chat *c)
{
    return (lacks){
        .tools = !chat_mentions(c, "tools"),
        .calls = !chat_mentions(c, "tool_calls"),
        .results = !chat_mentions(c, "tool"),
        .member = chat_mentions(c, "message['tools']"),
        .system = !chat_mentions(c, "system") || chat_mentions(c, "System role not supported"),
    };
}

/* --- texts --- */

/* A content's text, also of parts; false: it is something else. */
static bool add_content(text_builder *t, const cJSON *message)
{
    const cJSON *content = json_get(message, "content"), *part;

    if (cJSON_IsString(content)) text_add_string(t, content->valuestring);
    if (!content || cJSON_IsString(content)) return true;
    if (!cJSON_IsArray(content)) return false;
    cJSON_ArrayForEach (part, content) {
        const cJSON *text = json_get(part, "text");

        if (!cJSON_IsString(text)) return false;
        text_add_string(t, text->valuestring);
    }
    return true;
}

/* Takes t: the message's content from now on. */
static err set_content(cJSON *message, text_builder *t)
{
    char *text = text_take(t, NULL);
    cJSON *item = text ? cJSON_CreateString(text) : NULL;

    free(text);
    if (!item) return ERR_NOMEM;
    cJSON_DeleteItemFromObjectCaseSensitive(message, "content");
    if (cJSON_AddItemToObject(message, "content", item)) return ERR_OK;
    cJSON_Delete(item);
    return ERR_NOMEM;
}

static void add_json(text_builder *t, const cJSON *item)
{
    char *text = cJSON_PrintUnformatted(item);

    if (text)
        text_add_string(t, text);
    else
        t->failed = true;
    cJSON_free(text);
}

/* --- tools --- */

static void describe(text_builder *t, const cJSON *tools)
{
    const cJSON *tool;

    text_add_string(t, "You can call these tools:\n");
    cJSON_ArrayForEach (tool, tools) {
        text_add_string(t, "\n");
        add_json(t, json_get(tool, "function"));
    }
    text_add_string(t,
                    "\n\nTo call one, write its name and its arguments in this form, once for "
                    "each call:\n<tool_call>\n{\"name\": \"NAME\", \"arguments\": "
                    "{ARGUMENTS}}\n</tool_call>\nWhat it returns comes in "
                    "<tool_response></tool_response>. Where no tool helps, just answer.");
}

static bool is_role(const cJSON *message, const char *role)
{
    const cJSON *own = json_get(message, "role");

    return cJSON_IsString(own) && strcmp(own->valuestring, role) == 0;
}

static cJSON *find_role(cJSON *list, const char *role)
{
    cJSON *m;

    cJSON_ArrayForEach (m, list)
        if (is_role(m, role)) return m;
    return NULL;
}

/* The system message, made where there is none. */
static cJSON *find_system(cJSON *list)
{
    cJSON *first = list->child;

    if (is_role(first, "system") || is_role(first, "developer")) return first;
    first = cJSON_CreateObject();
    if (first && cJSON_AddStringToObject(first, "role", "system") &&
        cJSON_AddStringToObject(first, "content", "") &&
        cJSON_InsertItemInArray(list, 0, first))
        return first;
    cJSON_Delete(first);
    return NULL;
}

static err add_member(cJSON *list, const cJSON *tools)
{
    cJSON *system = find_system(list), *all = cJSON_CreateArray();
    const cJSON *tool;
    text_builder t = {0};
    err e = ERR_NOMEM;

    if (system && all) {
        cJSON_ArrayForEach (tool, tools)
            cJSON_AddItemReferenceToArray(all, (cJSON *)json_get(tool, "function"));
        add_json(&t, all);
        if (!t.failed && cJSON_AddStringToObject(system, "tools", t.at)) e = ERR_OK;
    }
    text_free(&t);
    cJSON_Delete(all);
    return e;
}

static err add_tools(cJSON *list, const lacks *x, const cJSON *tools)
{
    cJSON *user = x->system ? find_role(list, "user") : NULL;
    cJSON *to = user ? user : find_system(list);
    text_builder t = {0};

    if (!to) return ERR_NOMEM;
    if (user) {
        describe(&t, tools);
        text_add_string(&t, "\n\n");
    }
    if (!add_content(&t, to)) {
        text_free(&t);
        return ERR_OK; /* what is wrong with it is said by who reads it */
    }
    if (!user) {
        if (t.n) text_add_string(&t, "\n\n");
        describe(&t, tools);
    }
    return set_content(to, &t);
}

/* --- calls and results --- */

/* False: it is no call that a client may send. */
static bool add_call(text_builder *t, const cJSON *call)
{
    const cJSON *f = json_get(call, "function");
    const cJSON *name = json_get(f, "name"), *arguments = json_get(f, "arguments");

    if (!cJSON_IsString(name)) return false;
    text_add_string(t, t->n ? "\n<tool_call>\n{\"name\": " : "<tool_call>\n{\"name\": ");
    text_add_json_string(t, name->valuestring);
    text_add_string(t, ", \"arguments\": ");
    if (cJSON_IsString(arguments))
        text_add_string(t, arguments->valuestring[0] ? arguments->valuestring : "{}");
    else if (arguments)
        add_json(t, arguments);
    else
        text_add_string(t, "{}");
    text_add_string(t, "}\n</tool_call>");
    return true;
}

static err write_calls(cJSON *message)
{
    const cJSON *calls = json_get(message, "tool_calls"), *call;
    text_builder t = {0};
    bool good = cJSON_IsArray(calls) && calls->child && add_content(&t, message);

    cJSON_ArrayForEach (call, calls) good = good && add_call(&t, call);
    if (!good) {
        text_free(&t);
        return ERR_OK;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(message, "tool_calls");
    return set_content(message, &t);
}

/* Into the user's message that is `last`, or a new one in the place of this. */
static err write_result(cJSON *message, cJSON *last, bool *joined)
{
    text_builder t = {0};
    cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");

    *joined = last != NULL;
    if (last) {
        add_content(&t, last);
        text_add_string(&t, "\n");
    }
    text_add_string(&t, "<tool_response>\n");
    if (!add_content(&t, message)) {
        *joined = false;
        text_free(&t);
        return ERR_OK;
    }
    text_add_string(&t, "\n</tool_response>");
    if (last) return set_content(last, &t);
    cJSON_DeleteItemFromObjectCaseSensitive(message, "tool_call_id");
    cJSON_DeleteItemFromObjectCaseSensitive(message, "name");
    return cJSON_SetValuestring(role, "user") ? set_content(message, &t) : ERR_NOMEM;
}

static err write_history(cJSON *list, const lacks *x)
{
    cJSON *m = list->child, *last = NULL, *next;

    for (; m; m = next) {
        const bool result = x->results && (is_role(m, "tool") || is_role(m, "function"));
        bool joined = false;

        next = m->next;
        if (x->calls && is_role(m, "assistant")) TRY(write_calls(m));
        if (result) TRY(write_result(m, last, &joined));
        if (joined)
            cJSON_Delete(cJSON_DetachItemViaPointer(list, m));
        else
            last = result ? m : NULL;
    }
    return ERR_OK;
}

static bool has_history(const cJSON *messages, const lacks *x)
{
    const cJSON *m, *calls;

    cJSON_ArrayForEach (m, messages) {
        calls = json_get(m, "tool_calls");
        if (x->calls && calls && calls->child) return true;
        if (x->results && (is_role(m, "tool") || is_role(m, "function"))) return true;
    }
    return false;
}

err chat_plain_write(const chat *c, const cJSON *messages, const cJSON *tools, cJSON **out)
{
    const lacks x = look(c);
    cJSON *list;
    err e = ERR_OK;

    *out = NULL;
    if (!cJSON_IsArray(messages) || !messages->child) return ERR_OK;
    if (!has_history(messages, &x) && !(tools && (x.tools || x.member))) return ERR_OK;
    list = cJSON_Duplicate(messages, true);
    if (!list) return ERR_NOMEM;
    e = write_history(list, &x);
    if (e == ERR_OK && tools && x.member)
        e = add_member(list, tools);
    else if (e == ERR_OK && tools && x.tools)
        e = add_tools(list, &x, tools);
    if (e == ERR_OK)
        *out = list;
    else
        cJSON_Delete(list);
    return e;
}
