/* completion.h - the way of a generation request, the same for both endpoints.
 *
 *   loop: hold the request -> worker: read the body, tokenize -> loop: admit or refuse,
 *   (delivery.h), then headers -> scheduler: tokens -> loop: events, or the whole answer
 *
 * Whatever can be refused is refused before a header is sent. What fails later is an error
 * event. Loop thread only. */
#ifndef SERVER_API_COMPLETION_H
#define SERVER_API_COMPLETION_H

#include "server/api/reply.h"
#include "server/api/request.h"
#include "server/http/http.h"

/* How an endpoint reads and writes; one const struct each, in api_*.c. */
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

/* A POST of this kind: takes r and answers it in the end. */
void completion_start(http_request *r, const completion_kind *kind);

#endif
