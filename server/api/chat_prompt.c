/* chat_prompt.c - messages are checked, made values of, and written by the model's template.
 *
 *   body                   given                    ids
 *   messages            -> messages
 *   documents           -> documents
 *   enable_thinking     -> enable_thinking          template and tokenizer (chat.h)
 *   reasoning_effort    -> reasoning_effort
 *   chat_template_kwargs   their members; --chat-template-kwargs before all of these
 *
 * Roles are checked here: what a template would say of an unknown one is not a sentence for a
 * client. A role's name counts as the template's own text, since only known ones pass: some
 * templates make a control token of it. */
#include "server/api/chat_prompt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/chat.h"
#include "server/api/chat_plain.h"
#include "server/json_value.h"

/* A request while its prompt is made. */
typedef struct prompt {
    const request_env *env;
    const request_tools *tools;
    cJSON *plain; /* the messages where the template knows no tools, or NULL; owned */
    jinja_run *run;
    jinja_arena *arena; /* the run's */
    jinja_dict *given;
    cJSON *parsed; /* documents that texts of the request hold: values borrow from them */
    fault *why;
} prompt;

static bool fail(prompt *p, err e)
{
    return e == ERR_OK || fault_fail(p->why, e);
}

/* "messages[3].content" */
static const char *path_to(char path[64], size_t i, const char *member)
{
    snprintf(path, 64, "messages[%zu]%s", i, member);
    return path;
}

/* --- a role --- */

/* The name under which templates know a role; NULL: nobody does. The newest name stays where
 * the template has it. */
static const char *model_role(const prompt *p, const char *role)
{
    static const char *const known[][2] = {
        {"system", "system"},       {"developer", "system"}, {"user", "user"},
        {"assistant", "assistant"}, {"tool", "tool"},        {"function", "tool"},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(role, known[i][0]) != 0) continue;
        if (i == 1 && chat_mentions(p->env->chat, known[i][0])) return known[i][0];
        return known[i][1];
    }
    return NULL;
}

static const char *read_role(prompt *p, const cJSON *message, size_t i)
{
    const cJSON *role = json_get(message, "role");
    const char *name = cJSON_IsString(role) ? model_role(p, role->valuestring) : NULL;
    char path[64];

    path_to(path, i, ".role");
    if (!cJSON_IsObject(message))
        fault_refuse(p->why, ERR_INVALID, path_to(path, i, ""), "'%s' must be an object.",
                     path);
    else if (!role)
        fault_refuse(p->why, ERR_REQUIRED, path, "'%s' is required.", path);
    else if (!name)
        fault_refuse(p->why, ERR_INVALID, path,
                     "'%s' must be one of system, developer, user, assistant, tool, function.",
                     path);
    return name;
}

/* --- a content --- */

/* Images and sounds are refused by name: leaving one out would answer another question. */
static bool add_part(prompt *p, jinja_buffer *to, const cJSON *part, const char *path)
{
    const cJSON *type = json_get(part, "type"), *text = json_get(part, "text");

    if (!cJSON_IsString(type) || strcmp(type->valuestring, "text") != 0)
        return fault_refuse(p->why, ERR_INVALID, path,
                            "A part of '%s' must have the type 'text'.", path);
    if (!cJSON_IsString(text))
        return fault_refuse(p->why, ERR_INVALID, path,
                            "A part of '%s' must have a string 'text'.", path);
    return fail(
        p, jinja_buffer_add(p->arena, to, text->valuestring, strlen(text->valuestring), false));
}

static bool join_parts(prompt *p, const cJSON *parts, const char *path, jinja_value *out)
{
    jinja_buffer *joined = jinja_arena_take(p->arena, sizeof *joined);
    const cJSON *part;

    if (!joined) return fault_fail(p->why, ERR_NOMEM);
    cJSON_ArrayForEach (part, parts)
        if (!add_part(p, joined, part, path)) return false;
    *out = jinja_of_text(jinja_buffer_text(joined));
    return true;
}

/* Null is allowed for an assistant only: a turn that called tools had no text. */
static bool read_content(prompt *p, const cJSON *message, const char *role, size_t i,
                         jinja_value *out)
{
    const cJSON *content = json_get(message, "content");
    char path[64];

    path_to(path, i, ".content");
    *out = jinja_of_text((jinja_text){0});
    if (!content && strcmp(role, "assistant") == 0) return true;
    if (cJSON_IsArray(content)) return join_parts(p, content, path, out);
    if (!content) return fault_refuse(p->why, ERR_REQUIRED, path, "'%s' is required.", path);
    if (!cJSON_IsString(content))
        return fault_refuse(p->why, ERR_INVALID, path,
                            "'%s' must be a string or an array of text parts.", path);
    return fail(p, json_value_text(p->arena, content->valuestring, out));
}

/* --- tool calls --- */

/* Templates write arguments as values; clients send them as a text of JSON. One that is none
 * stays a text. */
static bool read_arguments(prompt *p, const cJSON *arguments, jinja_value *out)
{
    cJSON *value = NULL;
    fault wrong;

    if (!cJSON_IsString(arguments)) return fail(p, json_value_make(p->arena, arguments, out));
    if (!json_parse(&value, arguments->valuestring, strlen(arguments->valuestring), &wrong))
        return fail(p, json_value_text(p->arena, arguments->valuestring, out));
    if (!p->parsed) p->parsed = cJSON_CreateArray();
    if (!p->parsed || !cJSON_AddItemToArray(p->parsed, value)) {
        cJSON_Delete(value);
        return fault_fail(p->why, ERR_NOMEM);
    }
    return fail(p, json_value_make(p->arena, value, out));
}

static bool read_call(prompt *p, const cJSON *call, const char *path, jinja_value *out)
{
    const cJSON *function = json_get(call, "function");
    const cJSON *name = json_get(function, "name"),
                *arguments = json_get(function, "arguments");
    jinja_value inner, v;

    if (!cJSON_IsString(name))
        return fault_refuse(p->why, ERR_INVALID, path,
                            "An element of '%s' must have a 'function' with a 'name'.", path);
    if (!fail(p, json_value_make(p->arena, call, out)) ||
        !fail(p, json_value_make(p->arena, function, &inner)))
        return false;
    if (arguments && (!read_arguments(p, arguments, &v) ||
                      !fail(p, jinja_dict_put(p->arena, inner.is.dict, "arguments", v))))
        return false;
    return fail(p, jinja_dict_put(p->arena, out->is.dict, "function", inner));
}

/* A template that has no word for them would leave them out, and answer another question. */
static bool read_calls(prompt *p, const cJSON *message, size_t i, jinja_dict *to)
{
    const cJSON *calls = json_get(message, "tool_calls"), *call;
    jinja_value list, v;
    char path[64];

    if (!calls || (cJSON_IsArray(calls) && !calls->child)) return true;
    path_to(path, i, ".tool_calls");
    if (!cJSON_IsArray(calls))
        return fault_refuse(p->why, ERR_INVALID, path, "'%s' must be an array.", path);
    if (!chat_mentions(p->env->chat, "tool_calls"))
        return fault_refuse(p->why, ERR_UNSUPPORTED, path,
                            "'%s' is not supported by this model's chat template.", path);
    if (!fail(p, jinja_make_list(p->arena, JINJA_LIST_FORM, 0, &list))) return false;
    cJSON_ArrayForEach (call, calls)
        if (!read_call(p, call, path, &v) ||
            !fail(p, jinja_list_add(p->arena, list.is.list, v)))
            return false;
    return fail(p, jinja_dict_put(p->arena, to, "tool_calls", list));
}

/* --- a message --- */

/* Thoughts go by three names; templates know one of them or another. */
static err add_thoughts(prompt *p, const cJSON *message, jinja_dict *to)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    const cJSON *thoughts = NULL;
    jinja_value v;

    for (size_t i = 0; i < 3 && !thoughts; i++) thoughts = json_get(message, names[i]);
    if (!cJSON_IsString(thoughts)) return ERR_OK;
    TRY(json_value_text(p->arena, thoughts->valuestring, &v));
    TRY(jinja_dict_put(p->arena, to, "reasoning_content", v));
    return jinja_dict_put(p->arena, to, "thinking", v);
}

/* Members that are null are not there, as in transformers: templates would write "None". */
static err add_members(prompt *p, const cJSON *message, jinja_dict *to)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, message) {
        jinja_value key, v;

        if (cJSON_IsNull(item) || strcmp(item->string, "tool_calls") == 0) continue;
        TRY(json_value_text(p->arena, item->string, &key));
        TRY(json_value_make(p->arena, item, &v));
        TRY(jinja_dict_set(p->arena, to, key, v));
    }
    return ERR_OK;
}

static bool read_message(prompt *p, const cJSON *message, size_t i, jinja_value *out)
{
    const char *role = read_role(p, message, i);
    jinja_value name, content;
    char path[64];

    if (!role ||
        !request_check_members(message, REQUEST_MESSAGE, path_to(path, i, "."), p->why) ||
        !read_content(p, message, role, i, &content) ||
        !fail(p, jinja_make_dict(p->arena, out)) ||
        !fail(p, add_members(p, message, out->is.dict)) ||
        !fail(p, add_thoughts(p, message, out->is.dict)) ||
        !read_calls(p, message, i, out->is.dict))
        return false;
    return fail(p, jinja_make_text(p->arena, role, strlen(role), true, &name)) &&
           fail(p, jinja_dict_put(p->arena, out->is.dict, "role", name)) &&
           fail(p, jinja_dict_put(p->arena, out->is.dict, "content", content));
}

static bool read_messages(prompt *p, const cJSON *body)
{
    const cJSON *list = json_get(body, "messages"), *message;
    const cJSON *tools = p->tools->off ? NULL : p->tools->list;
    jinja_value all, v;
    size_t i = 0;

    if (!fail(p, chat_plain_write(p->env->chat, list, tools, &p->plain))) return false;
    if (p->plain) list = p->plain;
    if (!list) return fault_refuse(p->why, ERR_REQUIRED, "messages", "'messages' is required.");
    if (!cJSON_IsArray(list) || !list->child)
        return fault_refuse(p->why, ERR_INVALID, "messages",
                            "'messages' must be an array of at least one message.");
    if (!fail(p, jinja_make_list(p->arena, JINJA_LIST_FORM, 0, &all))) return false;
    cJSON_ArrayForEach (message, list)
        if (!read_message(p, message, i++, &v) ||
            !fail(p, jinja_list_add(p->arena, all.is.list, v)))
            return false;
    return fail(p, jinja_dict_put(p->arena, p->given, "messages", all));
}

/* --- what else a template is given --- */

static bool give(prompt *p, const char *name, const cJSON *item)
{
    jinja_value v;

    return fail(p, json_value_make(p->arena, item, &v)) &&
           fail(p, jinja_dict_put(p->arena, p->given, name, v));
}

static bool give_members(prompt *p, const cJSON *object)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, object)
        if (!give(p, item->string, item)) return false;
    return true;
}

/* Documents that the template has no word for would be left out. */
static bool read_documents(prompt *p, const cJSON *body)
{
    const cJSON *documents = json_get(body, "documents");

    if (!documents || (cJSON_IsArray(documents) && !documents->child)) return true;
    if (!cJSON_IsArray(documents))
        return fault_refuse(p->why, ERR_INVALID, "documents", "'documents' must be an array.");
    if (!chat_mentions(p->env->chat, "documents"))
        return fault_refuse(p->why, ERR_UNSUPPORTED, "documents",
                            "'documents' is not supported by this model's chat template.");
    return give(p, "documents", documents);
}

static bool read_given(prompt *p, const cJSON *body)
{
    const cJSON *thinking = json_get(body, "enable_thinking");
    const cJSON *effort = json_get(body, "reasoning_effort");
    const cJSON *kwargs = json_get(body, "chat_template_kwargs");
    const char *text = NULL;
    bool flag;

    if (!json_get_bool(body, "enable_thinking", &flag, p->why) ||
        !json_get_string(body, "reasoning_effort", &text, p->why))
        return false;
    if (kwargs && !cJSON_IsObject(kwargs))
        return fault_refuse(p->why, ERR_INVALID, "chat_template_kwargs",
                            "'chat_template_kwargs' must be an object.");
    if (!give_members(p, p->env->chat_kwargs) ||
        (thinking && !give(p, "enable_thinking", thinking)) ||
        (effort && !give(p, "reasoning_effort", effort)) || !give_members(p, kwargs) ||
        (p->tools->list && !p->tools->off && !give(p, "tools", p->tools->list)))
        return false;
    return read_documents(p, body);
}

/* Who continues a message does not open a new one, unless he says that he wants both. */
static bool read_wish(prompt *p, const cJSON *body, chat_wish *out)
{
    *out = (chat_wish){.generate = true};
    if (!json_get_bool(body, "continue_final_message", &out->goes_on, p->why)) return false;
    out->generate = !out->goes_on;
    if (!json_get_bool(body, "add_generation_prompt", &out->generate, p->why)) return false;
    if (!out->generate || !out->goes_on) return true;
    return fault_refuse(p->why, ERR_INVALID, "continue_final_message",
                        "'continue_final_message' and 'add_generation_prompt' cannot both be "
                        "true.");
}

/* --- all of it --- */

/* What a template says itself is its client's to read as it is. */
static bool refuse_template(prompt *p, const jinja_fault *said)
{
    if (chat_problem(p->env->chat))
        return fault_refuse(p->why, ERR_TEMPLATE, "messages", "%s", said->text);
    if (said->raised || !said->line)
        return fault_refuse(p->why, ERR_INVALID, "messages", "%s", said->text);
    return fault_refuse(p->why, ERR_INVALID, "messages",
                        "The model's chat template does not take these messages: line %d: %s",
                        said->line, said->text);
}

static bool encode(prompt *p, request *q, chat_wish wish)
{
    token_ids ids = request_room(p->env);
    jinja_fault said;
    const err e = chat_encode(p->env->chat, p->run, p->given, wish, &ids, &said);

    if (e == ERR_TEMPLATE) return refuse_template(p, &said);
    if (e != ERR_OK) return request_refuse_text(p->env, e, "messages", p->why);
    q->prompts[q->n_prompts++] = (request_prompt){ids.at, ids.n, false};
    return true;
}

static bool read_all(prompt *p, request *q, const cJSON *body)
{
    jinja_value given;
    chat_wish wish;

    if (!request_make_room(q, 1, p->why) || !fail(p, jinja_make_dict(p->arena, &given)))
        return false;
    p->given = given.is.dict;
    return read_given(p, body) && read_wish(p, body, &wish) && read_messages(p, body) &&
           encode(p, q, wish);
}

bool chat_prompt_read(request *q, const cJSON *body, const request_env *env, fault *why)
{
    prompt p = {.env = env, .tools = &q->tools, .why = why};
    const err e = jinja_open(&p.run, chat_run_bytes(q->body_bytes), env->cancel);
    bool good;

    if (e != ERR_OK) return fault_fail(why, e);
    p.arena = jinja_arena_of(p.run);
    good = read_all(&p, q, body);
    jinja_close(p.run);
    cJSON_Delete(p.parsed);
    cJSON_Delete(p.plain);
    return good;
}
