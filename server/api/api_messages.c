/* api_messages.c - POST /v1/messages and /v1/messages/count_tokens, for Anthropic's clients. */
#include "server/api/chat_prompt.h"
#include "server/api/completion.h"
#include "server/api/messages.h"
#include "server/api/routes.h"

static void write_count(text_builder *t, const request *q, const request_env *env)
{
    (void)env;
    text_addf(t, "{\"input_tokens\":%zu}", q->prompts[0].n);
}

const completion_kind api_messages_kind = {
    .request = {.chat = true,
                .translate = messages_translate,
                .renames = messages_renames,
                .read_prompt = chat_prompt_read},
    .id_prefix = "msg_",
    .prompt_param = "messages",
    .stream_type = "text/event-stream",
    .open_answer = messages_open,
    .write_choice = messages_write_choice,
    .close_answer = messages_close,
    .write_events = messages_write_events,
    .end_events = messages_end_events,
};

static const completion_kind count_kind = {
    .request = {.chat = true,
                .translate = messages_translate_count,
                .renames = messages_renames,
                .read_prompt = chat_prompt_read},
    .prompt_param = "messages",
    .write_prompt = write_count,
};

void api_messages(http_request *r)
{
    completion_start(r, &api_messages_kind);
}

void api_messages_count(http_request *r)
{
    completion_start(r, &count_kind);
}
