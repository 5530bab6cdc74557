/* text_call.h - an endpoint that turns a JSON body into a JSON answer without the scheduler: a
 * worker reads, computes and writes, since a body may have megabytes. */
#ifndef SERVER_API_TEXT_CALL_H
#define SERVER_API_TEXT_CALL_H

#include "engine/err.h"
#include "server/api/server.h"
#include "server/json.h"
#include "server/text.h"

/* What a worker may read of the server; it never changes while requests run. */
typedef struct text_env {
    const tokenizer *tokens;
    size_t ctx_size;
    const atomic_bool *cancel; /* the client has left */
} text_env;

/* Write the answer to a body, an object. False: why says what is wrong with it. */
typedef bool text_work(const text_env *env, const cJSON *body, text_builder *answer,
                       fault *why);

/* Hold r, and answer it with what `work` makes of its body. */
void text_call_start(http_request *r, text_work *work);

#endif
