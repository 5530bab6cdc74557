/* answer.h - whole answers to a request: JSON, or an error as wire_error.h has it. */
#ifndef SERVER_HTTP_ANSWER_H
#define SERVER_HTTP_ANSWER_H

#include "engine/err.h"
#include "server/http/http.h"
#include "server/text.h"

/* 200 with the JSON that t holds, which is empty afterwards. */
void answer_json(http_request *r, text_builder *t);

/* Answer with e's status and type and err_text(e) as the message. Adds Retry-After and
 * x-should-retry as openai-wire says for 429, 503 and other 5xx. */
void answer_err(http_request *r, err e);

/* Add the headers that say when to try again. */
void answer_add_retry(http_request *r, unsigned seconds);

/* 429, to be tried again in so many seconds. */
void answer_busy(http_request *r, unsigned seconds);

/* answer_err with a sentence and the parameter at fault (NULL: null). code: a constant, or
 * NULL for null. The log's line says it too. */
void answer_error(http_request *r, int status, const char *type, const char *code,
                  const char *param, const char *message);

/* Answer with what why says: its sentence and field, or e's where it has none. */
void answer_fault(http_request *r, const fault *why);

#endif
