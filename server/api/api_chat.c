/* api_chat.c - POST /v1/chat/completions: answer a conversation.
 *
 * One direction of a wire format: an answer or a stream of deltas out. Messages in are
 * chat_prompt.c's; what the two endpoints share is in request.c and reply.c.
 */
#include "server/api/chat_prompt.h"
#include "server/api/completion.h"
#include "server/api/prompt_text.h"
#include "server/api/reply_prompt.h"
#include "server/api/routes.h"

/* --- logprobs: a list of tokens, each with its bytes --- */

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
        reply_add_logprob(t, a, i);
    }
    text_add_string(t, "],\"refusal\":null},");
}

/* --- answers --- */

static const char event_object[] = "chat.completion.chunk";

static void open_answer(text_builder *t, const reply *a)
{
    reply_open(t, a, "chat.completion");
    reply_prompt_add_logprobs(t, a);
    reply_add_prompt_ids(t, a);
    text_add_string(t, ",\"choices\":[");
}

static bool has(const reply_slice *s, piece_kind kind)
{
    for (size_t i = 0; i < s->n_pieces; i++)
        if (s->pieces[i].kind == kind) return true;
    return false;
}

/* A call up to its arguments, whose text follows within the quotes. */
static void open_call(text_builder *t, const piece *p)
{
    text_add_string(t, "\"id\":");
    text_add_json_string(t, p->id);
    text_add_string(t, ",\"type\":\"function\",\"function\":{\"name\":");
    text_add_json_string(t, p->name);
    text_add_string(t, ",\"arguments\":\"");
}

static void add_calls(text_builder *t, const reply_slice *s)
{
    bool open = false;

    text_add_string(t, ",\"tool_calls\":[");
    for (size_t i = 0; i < s->n_pieces; i++) {
        const piece *p = &s->pieces[i];

        if (p->kind == PIECE_CALL) {
            text_add_string(t, open ? "\"}},{" : "{");
            open_call(t, p);
            open = true;
        } else if (p->kind == PIECE_ARGUMENTS) {
            text_add_escaped(t, p->text, p->len);
        }
    }
    text_add_string(t, "\"}}]");
}

/* `refusal` is always null: the model does not say when it refuses. Who calls and says nothing
 * has no content. */
static void write_choice(text_builder *t, reply *a, const reply_slice *s)
{
    const bool calls = has(s, PIECE_CALL);

    text_addf(t, "{\"index\":%zu,\"message\":{\"role\":\"assistant\",\"content\":", a->index);
    if (calls && !has(s, PIECE_TEXT))
        text_add_string(t, "null");
    else
        reply_add_text(t, s, PIECE_TEXT);
    if (has(s, PIECE_REASONING)) {
        text_add_string(t, ",\"reasoning_content\":");
        reply_add_text(t, s, PIECE_REASONING);
    }
    text_add_string(t, ",\"refusal\":null");
    if (calls) add_calls(t, s);
    text_add_string(t, "}");
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
    reply_close_event(t, a, s);
}

static void write_role(text_builder *t, const reply *a, const reply_slice *s)
{
    const reply_slice none = {
        .token_from = s->token_from, .token_to = s->token_from, .first = true};

    open_delta(t, a);
    text_add_string(t, "{\"role\":\"assistant\",\"content\":\"\"}");
    close_delta(t, a, &none);
}

/* The id, the name and the type of a call come once: clients put strings behind each other. */
static void add_call_delta(text_builder *t, const piece *p)
{
    text_addf(t, "{\"tool_calls\":[{\"index\":%d,", p->call);
    if (p->kind == PIECE_CALL) {
        open_call(t, p);
    } else {
        text_add_string(t, "\"function\":{\"arguments\":\"");
        text_add_escaped(t, p->text, p->len);
    }
    text_add_string(t, "\"}}]}");
}

static void write_piece(text_builder *t, const reply *a, const reply_slice *s, const piece *p)
{
    const reply_slice only = {.pieces = p, .n_pieces = 1};
    const bool thought = p->kind == PIECE_REASONING;

    open_delta(t, a);
    if (p->kind == PIECE_CALL || p->kind == PIECE_ARGUMENTS) {
        add_call_delta(t, p);
    } else {
        text_add_string(t, thought ? "{\"reasoning_content\":" : "{\"content\":");
        reply_add_text(t, &only, p->kind);
        text_add_string(t, "}");
    }
    close_delta(t, a, s);
}

/* The role, pieces, the end: an event each, as the client libraries expect. The tokens of a
 * slice go with its first piece, or with the end where none is left. */
static void write_events(text_builder *t, reply *a, const reply_slice *s)
{
    reply_slice now = *s;

    now.first = false;
    if (s->first) write_role(t, a, s);
    now.last = false;
    for (size_t i = 0; i < s->n_pieces; i++) {
        write_piece(t, a, &now, &s->pieces[i]);
        now.token_from = now.token_to;
    }
    if (s->last) {
        now.last = true;
        open_delta(t, a);
        text_add_string(t, "{}");
        close_delta(t, a, &now);
    }
}

static void end_events(text_builder *t, reply *a, const reply_usage *usage)
{
    reply_end_events(t, a, event_object, usage);
}

const completion_kind api_chat_kind = {
    .request = {.chat = true, .read_prompt = chat_prompt_read},
    .id_prefix = "chatcmpl-",
    .prompt_param = "messages",
    .stream_type = "text/event-stream",
    .open_answer = open_answer,
    .write_choice = write_choice,
    .close_answer = reply_close,
    .write_events = write_events,
    .end_events = end_events,
};

/* POST /apply-template: what the model would be given, as text. */
static void write_prompt(text_builder *t, const request *q, const request_env *env)
{
    text_builder text = {0};

    prompt_text_add(&text, env->tokens, &q->prompts[0]);
    text_add_string(t, "{\"prompt\":");
    text_add_json(t, text.at ? text.at : "", text.n);
    text_add_string(t, "}");
    if (text.failed) t->failed = true;
    text_free(&text);
}

static const completion_kind apply_kind = {
    .request = {.chat = true, .read_prompt = chat_prompt_read},
    .prompt_param = "messages",
    .write_prompt = write_prompt,
};

void api_apply(http_request *r)
{
    completion_start(r, &apply_kind);
}

void api_chat(http_request *r)
{
    completion_start(r, &api_chat_kind);
}
