/* api_chat.c - POST /v1/chat/completions: answer a conversation.
 *
 * Both directions of one wire format: messages in, as the model's template wants them; an
 * answer or a stream of deltas out. What the two endpoints share is in request.c and reply.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/template.h"
#include "server/api/completion.h"
#include "server/api/routes.h"

/* --- messages --- */

/* A conversation while it is read: contents that came in parts are joined in `joined`. */
typedef struct conversation {
    template_message *messages; /* [n] */
    char **joined;              /* [n] NULL where the content is borrowed */
    size_t n;
} conversation;

/* The name under which the model knows a role; NULL: nobody does. */
/* Templates know four roles; the others are newer or older names of these. */
static const char *model_role(const char *role)
{
    static const char *const known[][2] = {
        {"system", "system"},       {"developer", "system"}, {"user", "user"},
        {"assistant", "assistant"}, {"tool", "tool"},        {"function", "tool"},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(role, known[i][0]) == 0) return known[i][1];
    return NULL;
}

/* "messages[3].content" */
static const char *path_to(char path[64], size_t i, const char *member)
{
    snprintf(path, 64, "messages[%zu]%s", i, member);
    return path;
}

/* Images and sounds are refused by name: leaving one out would answer another question. */
static bool add_part(text_builder *t, const cJSON *part, size_t i, fault *why)
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(part, "type");
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(part, "text");
    char path[64];

    if (!cJSON_IsString(type) || strcmp(type->valuestring, "text") != 0)
        return fault_refuse(why, ERR_INVALID, path_to(path, i, ".content"),
                            "A part of '%s' must have the type 'text'.", path);
    if (!cJSON_IsString(text))
        return fault_refuse(why, ERR_INVALID, path_to(path, i, ".content"),
                            "A part of '%s' must have a string 'text'.", path);
    text_add_string(t, text->valuestring);
    return true;
}

static bool join_parts(conversation *c, const cJSON *parts, size_t i, fault *why)
{
    text_builder t = {0};
    const cJSON *part;

    cJSON_ArrayForEach (part, parts) {
        if (add_part(&t, part, i, why)) continue;
        text_free(&t);
        return false;
    }
    c->joined[i] = text_take(&t, &c->messages[i].content_bytes);
    c->messages[i].content = c->joined[i];
    return c->joined[i] ? true : fault_fail(why, ERR_NOMEM);
}

/* Null is allowed for an assistant only: a turn that called tools had no text. */
static bool read_content(conversation *c, const cJSON *message, size_t i, fault *why)
{
    const cJSON *content = json_get(message, "content");
    template_message *to = &c->messages[i];
    char path[64];

    to->content = "";
    if (!content && strcmp(to->role, "assistant") == 0) return true; /* it called tools */
    if (cJSON_IsArray(content)) return join_parts(c, content, i, why);
    path_to(path, i, ".content");
    if (!content) return fault_refuse(why, ERR_REQUIRED, path, "'%s' is required.", path);
    if (!cJSON_IsString(content))
        return fault_refuse(why, ERR_INVALID, path,
                            "'%s' must be a string or an array of text parts.", path);
    to->content = content->valuestring;
    to->content_bytes = strlen(to->content);
    return true;
}

static bool read_message(conversation *c, const cJSON *message, size_t i, fault *why)
{
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");
    char path[64];

    if (!cJSON_IsObject(message))
        return fault_refuse(why, ERR_INVALID, path_to(path, i, ""), "'%s' must be an object.",
                            path);
    if (!role)
        return fault_refuse(why, ERR_REQUIRED, path_to(path, i, ".role"), "'%s' is required.",
                            path);
    c->messages[i].role = cJSON_IsString(role) ? model_role(role->valuestring) : NULL;
    if (!c->messages[i].role)
        return fault_refuse(why, ERR_INVALID, path_to(path, i, ".role"),
                            "'%s' must be one of system, developer, user, assistant, tool, "
                            "function.",
                            path);
    path_to(path, i, ".");
    return request_check_members(message, REQUEST_MESSAGE, path, why) &&
           read_content(c, message, i, why);
}

/* c->n counts before each is read, so that conversation_free sees what a failure leaves. */
static bool read_messages(conversation *c, const cJSON *list, fault *why)
{
    const cJSON *message;

    c->messages = calloc((size_t)cJSON_GetArraySize(list), sizeof *c->messages);
    c->joined = calloc((size_t)cJSON_GetArraySize(list), sizeof *c->joined);
    if (!c->messages || !c->joined) {
        return fault_fail(why, ERR_NOMEM);
    }
    cJSON_ArrayForEach (message, list) {
        c->n++;
        if (!read_message(c, message, c->n - 1, why)) return false;
    }
    return true;
}

/* Contents that came as one string belong to the document. */
static void conversation_free(conversation *c)
{
    for (size_t i = 0; i < c->n; i++) free(c->joined[i]);
    free(c->joined);
    free(c->messages);
}

/* Roles are checked before the template runs: what it would say of an unknown one is not a
 * sentence for a client. */
static bool read_prompt(request *q, const cJSON *body, const request_env *env, fault *why)
{
    const cJSON *list = json_get(body, "messages");
    token_ids ids = request_room(env);
    conversation c = {0};
    bool good;
    err e;

    if (!list) return fault_refuse(why, ERR_REQUIRED, "messages", "'messages' is required.");
    if (!cJSON_IsArray(list) || !list->child)
        return fault_refuse(why, ERR_INVALID, "messages",
                            "'messages' must be an array of at least one message.");
    good = request_make_room(q, 1, why) && read_messages(&c, list, why);
    if (good) {
        e = template_encode(env->tokens, c.messages, c.n, true, &ids);
        if (e == ERR_OK) q->prompts[q->n_prompts++] = (request_prompt){ids.at, ids.n};
        good = e == ERR_OK || request_refuse_text(env, e, "messages", why);
    }
    conversation_free(&c);
    return good;
}

/* --- logprobs: a list of tokens, each with its bytes --- */

/* A control token has no bytes that the answer's text would show. */
static void add_bytes(text_builder *t, const reply *a, int32_t id)
{
    const gguf_text piece = tokenizer_piece(a->generation->tokenizer, id, false);

    if (piece.n == 0) {
        text_add_string(t, "null");
        return;
    }
    for (size_t i = 0; i < piece.n; i++)
        text_addf(t, "%c%u", i ? ',' : '[', (unsigned)(unsigned char)piece.at[i]);
    text_add_string(t, "]");
}

/* Without the closing brace. */
static void open_entry(text_builder *t, const reply *a, int32_t id, float logprob)
{
    text_add_string(t, "{\"token\":");
    reply_add_token(t, a, id);
    text_add_string(t, ",\"logprob\":");
    text_add_float(t, logprob);
    text_add_string(t, ",\"bytes\":");
    add_bytes(t, a, id);
}

/* The sampled token and, beside it, the best: it need not be among them. */
static void add_entry(text_builder *t, const reply *a, size_t i)
{
    const generation *g = a->generation;
    const size_t k = (size_t)g->in.top;

    open_entry(t, a, g->out.tokens[i].id, reply_logprob(a, i));
    text_add_string(t, ",\"top_logprobs\":[");
    for (size_t j = 0; j < k; j++) {
        const sample_top *best = &g->out.top[i * k + j];

        if (j) text_add_string(t, ",");
        open_entry(t, a, best->id, best->logprob);
        text_add_string(t, "}");
    }
    text_add_string(t, "]}");
}

/* Null where the slice has no token: the event of the role, and an end that brings no text. */
static void add_logprobs(text_builder *t, const reply *a, const reply_slice *s)
{
    if (a->generation->in.top < 0 || s->token_from == s->token_to) {
        text_add_string(t, ",\"logprobs\":null,");
        return;
    }
    text_add_string(t, ",\"logprobs\":{\"content\":[");
    for (size_t i = s->token_from; i < s->token_to; i++) {
        if (i > s->token_from) text_add_string(t, ",");
        add_entry(t, a, i);
    }
    text_add_string(t, "],\"refusal\":null},");
}

/* --- answers --- */

static const char event_object[] = "chat.completion.chunk";

static void open_answer(text_builder *t, const reply *a)
{
    reply_open(t, a, "chat.completion");
    reply_add_prompt_ids(t, a);
}

/* `refusal` is always null: the model does not say when it refuses. */
static void write_choice(text_builder *t, reply *a, const reply_slice *s)
{
    text_addf(t, "{\"index\":%zu,\"message\":{\"role\":\"assistant\",\"content\":", a->index);
    reply_add_text(t, a, s);
    text_add_string(t, ",\"refusal\":null}");
    add_logprobs(t, a, s);
    reply_add_finish(t, a, s);
    reply_add_token_ids(t, a, s);
    text_add_string(t, "}");
}

/* An event up to its delta, and what follows that. */
static void open_delta(text_builder *t, const reply *a)
{
    reply_open_event(t, a, event_object);
    text_addf(t, "{\"index\":%zu,\"delta\":", a->index);
}

static void close_delta(text_builder *t, const reply *a, const reply_slice *s)
{
    add_logprobs(t, a, s);
    reply_add_finish(t, a, s);
    reply_add_token_ids(t, a, s);
    text_add_string(t, "}]");
    if (s->first) reply_add_prompt_ids(t, a);
    reply_close_event(t, a);
}

static void write_role(text_builder *t, const reply *a, const reply_slice *s)
{
    const reply_slice none = {
        .token_from = s->token_from, .token_to = s->token_from, .first = true};

    open_delta(t, a);
    text_add_string(t, "{\"role\":\"assistant\",\"content\":\"\"}");
    close_delta(t, a, &none);
}

/* The role, text, the end: an event each, as the client libraries expect. The tokens of a
 * slice go with its text, or with the end where no text is left. */
static void write_events(text_builder *t, reply *a, const reply_slice *s)
{
    reply_slice now = *s;

    now.first = false;
    if (s->first) write_role(t, a, s);
    if (s->text_to > s->text_from) {
        now.last = false;
        open_delta(t, a);
        text_add_string(t, "{\"content\":");
        reply_add_text(t, a, s);
        text_add_string(t, "}");
        close_delta(t, a, &now);
        now.token_from = now.token_to;
    }
    if (s->last) {
        now.last = true;
        open_delta(t, a);
        text_add_string(t, "{}");
        close_delta(t, a, &now);
    }
}

const completion_kind api_chat_kind = {
    .request = {.chat = true, .read_prompt = read_prompt},
    .id_prefix = "chatcmpl-",
    .prompt_param = "messages",
    .event_object = event_object,
    .open_answer = open_answer,
    .write_choice = write_choice,
    .write_events = write_events,
};

void api_chat(http_request *r)
{
    completion_start(r, &api_chat_kind);
}
