/* completion_kind.h - a dialect: how a request of one wire format is read, and how its answer
 * is written.
 *
 *   body --translate--> the members of a chat completion --request.c--> generations
 *   generations --pieces--> write_choice, or write_events --> the dialect's own answer
 *
 * completion.c and delivery.c do the rest for all of them; there is one way to the scheduler.
 */
#ifndef SERVER_API_COMPLETION_KIND_H
#define SERVER_API_COMPLETION_KIND_H

#include "server/api/reply.h"
#include "server/api/request.h"

struct server;

/* One const struct each, in api_*.c. */
typedef struct completion_kind {
    request_kind request;
    const char *id_prefix;    /* "chatcmpl-" */
    const char *prompt_param; /* what is at fault if the prompt is too long */
    const char *stream_type;  /* "text/event-stream" */
    /* The whole answer up to its choices; one of these, s covers all of it, `first` too; and
     * what follows them. Between two choices comes a comma. */
    void (*open_answer)(text_builder *t, const reply *a);
    void (*write_choice)(text_builder *t, reply *a, const reply_slice *s);
    void (*close_answer)(text_builder *t, const reply *a, const reply_usage *usage);
    /* The events of a slice, none or several; and those that follow the last choice's. */
    void (*write_events)(text_builder *t, reply *a, const reply_slice *s);
    void (*end_events)(text_builder *t, reply *a, const reply_usage *usage);
    /* An event that says why there will be no more; or NULL: the error in the form of the path.
     */
    void (*fail_events)(text_builder *t, reply *a, const char *code, const char *message);
    /* Once an answer is whole; or NULL. */
    void (*keep)(struct server *s, const reply *a, const reply_usage *usage);
    /* In place of generations, what a worker answers once the request is read; or NULL. */
    void (*write_prompt)(text_builder *t, const request *q, const request_env *env);
} completion_kind;

/* The table of them, each in api_<name>.c. */
extern const completion_kind api_chat_kind, api_completions_kind, api_responses_kind,
    api_messages_kind, api_ollama_chat_kind, api_ollama_generate_kind;

#endif
