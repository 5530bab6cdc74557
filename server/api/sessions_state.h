/* sessions_state.h - the table of sessions, for the files that hold it and that ask the cache.
 */
#ifndef SERVER_API_SESSIONS_STATE_H
#define SERVER_API_SESSIONS_STATE_H

#include "server/api/sessions.h"

/* What is pinned of a session; the scheduler's thread alone looks inside. */
typedef struct pin {
    uint32_t *blocks; /* [n] */
    size_t n;
} pin;

struct session_links {
    session *older, *newer; /* by use */
    unsigned refs;          /* the table's, and visits' */
    bool gone;              /* no longer in the table */
    bool wants_pin;
    pin pin;
};

struct sessions {
    sched *sched;
    void *by_name; /* tsearch's */
    session *oldest, *newest;
    size_t count, ids, limit_ids;
    size_t block_tokens, blocks; /* of the pool */
    size_t block_numbers;
};

size_t sessions_length(const session *s); /* ids of its history */

/* One part of it less: the table's, or a visit's. The last one frees it. */
void sessions_unref(session *s);
void sessions_remove(sessions *t, session *s);

/* Is there room for one more that is pinned? */
bool sessions_may_pin(const sessions *t, const session *of);

#endif
