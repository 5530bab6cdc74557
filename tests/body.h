/* body.h - bodies of generation requests, read as for the embedded model, for tests. */
#ifndef TESTS_BODY_H
#define TESTS_BODY_H

#include <stdbool.h>

#include "server/api/completion_kind.h"

/* What a request is read against; its tokenizer stays open. */
request_env body_env(void);

/* request_read of a text; the caller frees q either way. */
bool body_read(request *q, const completion_kind *kind, const char *body, fault *why);

/* Is it refused with 400 that names this member? */
bool body_refused(const completion_kind *kind, const char *body, const char *param);

#endif
