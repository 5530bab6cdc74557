/* completion_kind.h - what the endpoints that generate do each in its own way: how a request is
 * read and its answer written. completion.c and delivery.c do the rest for both. */
#ifndef SERVER_API_COMPLETION_KIND_H
#define SERVER_API_COMPLETION_KIND_H

#include "server/api/reply.h"
#include "server/api/request.h"

/* One const struct each, in api_*.c. */
typedef struct completion_kind {
    request_kind request;
    const char *id_prefix;    /* "chatcmpl-" */
    const char *prompt_param; /* what is at fault if the prompt is too long */
    const char *event_object; /* "chat.completion.chunk" */
    /* The whole answer up to its choices, and one of these; s covers all of it, `first` too. */
    void (*open_answer)(text_builder *t, const reply *a);
    void (*write_choice)(text_builder *t, reply *a, const reply_slice *s);
    /* The events of a slice, none or several. */
    void (*write_events)(text_builder *t, reply *a, const reply_slice *s);
} completion_kind;

extern const completion_kind api_chat_kind, api_completions_kind; /* in api_<name>.c */

#endif
