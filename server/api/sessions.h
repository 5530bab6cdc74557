/* sessions.h - conversations by name: which token ids each had, so that the next turn finds
 * them in the cache.
 *
 * A session is a name (of one tenant and one cache_salt), the ids of its last turn, prompt and
 * answer, and nothing else: what is cached is found by content. So a lost session costs
 * nothing but what resume.h saves, and the table is bounded: beyond its limit of ids the
 * session that was used least recently is forgotten, unless it is pinned.
 *
 * Loop thread only; what concerns the cache is asked of the scheduler's thread (sched_ask). */
#ifndef SERVER_API_SESSIONS_H
#define SERVER_API_SESSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "server/api/tenant.h"
#include "server/sched/sched.h"

enum { SESSION_NAME_BYTES = 256 /* of the longest name */ };

typedef struct sessions sessions;

/* Immutable, shared: a worker may read one while the session goes on. */
typedef struct session_history {
    unsigned refs; /* the loop's */
    size_t n;
    int32_t ids[]; /* [n] */
} session_history;

/* What of a session was in the cache when it was last looked at. */
typedef struct session_seen {
    size_t blocks;              /* sealed */
    size_t usable;              /* of these, the first so many it could go on behind */
    size_t degraded_blocks;     /* of all */
    size_t bytes, shared_bytes; /* of all; of those that another session has too */
    bool hot;                   /* could answer without rebuilding */
} session_seen;

typedef struct session {
    tenant who;
    const char *name;
    session_history *history; /* NULL: no turn has ended yet */
    uint64_t last_used_unix;
    size_t parted_at; /* tokens of the turn before that the last prompt began with; SIZE_MAX:
                         all */
    bool pinned;
    uint64_t pinned_until_unix; /* 0: until it is unpinned */
    session_seen seen;
    struct session_links *links; /* sessions.c's */
} session;

/* At most limit_ids ids are kept, a block of them counted for each name. s must outlive it.
 * ERR_NOMEM. The caller closes, after sched_close. */
err sessions_open(sessions **out, sched *s, size_t limit_ids);
void sessions_close(sessions *t);

/* NULL: there is none. */
session *sessions_find(const sessions *t, const tenant *who, const char *name);

/* The most recently used of who's sessions, and the one used before it; NULL: no more. */
session *sessions_first(const sessions *t, const tenant *who);
session *sessions_next(const session *s);

/* A turn has ended: its prompt and its answer. Makes the session if there is none. A pinned
 * session's new blocks are pinned too. ERR_NOMEM: it stays as it was. */
err sessions_note(sessions *t, const tenant *who, const char *name, const int32_t *prompt,
                  size_t n_prompt, const int32_t *answer, size_t n_answer);

/* Pin it until then, if it is not pinned already. Errors of sessions_act. */
err sessions_retain(sessions *t, session *s, uint64_t until_unix);

/* A new session that has had the same turns; its blocks are shared. ERR_BUSY: the name is
 * taken; ERR_NOMEM. */
err sessions_fork(sessions *t, const session *of, const char *name, session **out);

typedef enum session_act {
    SESSION_LOOK,   /* fill `seen` of all sessions */
    SESSION_PIN,    /* and keep this one's blocks from being evicted, those to come too */
    SESSION_UNPIN,  /* and no longer */
    SESSION_DELETE, /* and forget it, with the blocks that only it has */
} session_act;

/* Do it on the scheduler's thread, then call then(user, e) on the loop. ERR_BUSY: there is no
 * room to pin it. `of` NULL: none in particular (LOOK). Returns ERR_NOMEM, or ERR_BUSY (too
 * many are pinned): then `then` is not called. */
err sessions_act(sessions *t, session_act act, session *of, void (*then)(void *user, err e),
                 void *user);

/* Take part in a history that may be replaced meanwhile. */
session_history *sessions_history_hold(session_history *h);
void sessions_history_drop(session_history *h); /* NULL allowed */

/* How many there are, and how many of them were hot when last looked at. */
size_t sessions_count(const sessions *t, size_t *hot);

#endif
