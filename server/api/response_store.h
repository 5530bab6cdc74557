/* response_store.h - answers of /v1/responses that may be asked for again, or gone on from.
 *
 * What is kept is text: the answer, and the items of the conversation up to it. So one that is
 * forgotten takes nothing with it but itself. The table is bounded in bytes: beyond them the
 * answer that was used least recently is forgotten. An answer is seen by its own tenant only.
 * Any thread. */
#ifndef SERVER_API_RESPONSE_STORE_H
#define SERVER_API_RESPONSE_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "server/api/sessions.h"
#include "server/api/tenant.h"
#include "server/random.h"

typedef struct response_store response_store;

/* What is kept; texts are copied. */
typedef struct response_kept {
    char id[RANDOM_ID_BYTES];
    tenant who;
    char session[SESSION_NAME_BYTES + 1]; /* whose turn it was */
    char *answer;                         /* a JSON object */
    char *items;                          /* JSON arrays: what the model was given */
    char *output;                         /* and what it said */
} response_kept;

/* At most so many bytes. ERR_NOMEM. The caller closes; NULL allowed. */
err response_store_open(response_store **out, size_t limit);
void response_store_close(response_store *s);

/* Keep it: its texts are s's from then on, also where it is too large to be kept. */
void response_store_put(response_store *s, response_kept *kept);

/* A copy of it, which the caller frees; false: there is none, or no memory (*e says which).
 * The id is the answer's own, or one of its items'. */
bool response_store_get(response_store *s, const tenant *who, const char *id,
                        response_kept *out, err *e);
void response_kept_free(response_kept *kept);

/* False: there is none. */
bool response_store_delete(response_store *s, const tenant *who, const char *id);

#endif
