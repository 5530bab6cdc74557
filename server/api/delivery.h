/* delivery.h - the answers to one request, from admission to the last byte.
 *
 * A request gets prompts x n choices, each a generation. Those of one prompt go to the
 * scheduler as a group, so that it is read once, as many together as may run at once. What they
 * say is written as events, or as one object at the end. One that fails ends all. Loop thread
 * only. */
#ifndef SERVER_API_DELIVERY_H
#define SERVER_API_DELIVERY_H

#include "server/api/completion_kind.h"
#include "server/api/keys.h"
#include "server/http/http.h"

/* Why a request is not admitted. */
typedef struct delivery_refusal {
    size_t prompt, max_tokens; /* tokens of the prompt that cannot be answered */
    keys_verdict key;          /* of its API key: limit NULL, or the one that it is over */
} delivery_refusal;

/* Submit all of q's choices, which are q's from then on, as is r's answer. On anything but
 * ERR_OK both are the caller's still: ERR_NOMEM, what sched_submit says, and ERR_TOOMANY where
 * they could never wait together. */
err delivery_start(http_request *r, const completion_kind *kind, const request_env *env,
                   request *q, delivery_refusal *why);

/* An answer that runs now. */
typedef struct delivery_view {
    const char *id, *session; /* of its response; of its conversation, or "" */
    uint64_t tenant;          /* request.who's */
    size_t prompt, max_tokens, decoded;
    float temperature;
    bool stream;
    const struct delivery *of; /* where the next one is looked for: begin with zeros */
    size_t i;
} delivery_view;

/* The next one of the server's; false: there is none. */
bool delivery_next(const struct server *s, delivery_view *v);

/* Answer with e; ERR_BUSY says when to come again. */
void delivery_fail(http_request *r, err e);

#endif
