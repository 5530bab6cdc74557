/* completion.h - the way of a generation request, the same for both endpoints.
 *
 *   loop: hold the request -> worker: read the body, tokenize -> loop: admit or refuse,
 *   (delivery.h), then headers -> scheduler: tokens -> loop: events, or the whole answer
 *
 * Whatever can be refused is refused before a header is sent. What fails later is an error
 * event. Loop thread only. */
#ifndef SERVER_API_COMPLETION_H
#define SERVER_API_COMPLETION_H

#include "server/api/completion_kind.h"
#include "server/http/http.h"

/* A POST of this kind: takes r and answers it in the end. */
void completion_start(http_request *r, const completion_kind *kind);

#endif
