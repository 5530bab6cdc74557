/* sched.h - who runs next: a thread that owns contexts and batches.
 *
 * It stands on the border of job.h: takes admitted generations, fair between tenants (queue.h);
 * that one runs, each token and the end return through one list and one uv_async. Bounded: a
 * full queue is ERR_BUSY, before any header is sent. Answers to one prompt go together, as a
 * group: they take one place in the queue, and begin at once. */
#ifndef SERVER_SCHED_SCHED_H
#define SERVER_SCHED_SCHED_H

#include <stdatomic.h>
#include <uv.h>

#include "engine/err.h"
#include "server/runtime.h"
#include "server/sched/batch.h"
#include "server/sched/generation.h"
#include "server/sched/outbox.h"

typedef struct sched sched;

/* Start the thread for `loop`; at most `limit` groups wait. `r` must outlive it and
 * is used by no one else meanwhile. Loop thread only, like all but sched_stats. */
err sched_open(sched **out, uv_loop_t *loop, runtime *r, int limit);

/* Can so many answers to such a prompt ever run together? ERR_TOOLONG (prompt and max_tokens
 * against the context), ERR_EMPTY, ERR_NOROOM (larger than the whole pool). Any thread. */
err sched_check(const sched *s, size_t prompt_tokens, size_t max_tokens, size_t answers);

/* Hand n groups over, all or none. On ERR_OK the scheduler owns each generation until its
 * done(g, ...) has run on the loop, exactly once. Otherwise the caller still owns them: what
 * sched_check says, or ERR_BUSY. ERR_DRAINING after sched_close. To cancel one of a group while
 * it waits cancels all. */
err sched_submit(sched *s, generation_group *const *list, size_t n);

/* So many may wait at most. */
size_t sched_queue_limit(const sched *s);

enum { SCHED_RETRY_MOST = 30 };

/* After how many seconds a refused request is likely to find room: 1 .. SCHED_RETRY_MOST. Any
 * thread. */
unsigned sched_retry_seconds(sched *s);

/* Calls are worked in the order they came, those at sched_close's time included. Loop. */
void sched_ask(sched *s, sched_call *c);

/* Take no more (ERR_DRAINING), and end what waits with ERR_DRAINING; what runs goes on. */
void sched_drain(sched *s);

/* Cancel every waiting and running generation; their done callbacks come. */
void sched_cancel_all(sched *s);

/* Cancel all, wait for the thread, deliver every done callback, close. */
void sched_close(sched *s);

/* Figures for /metrics, as they were after one step. */
typedef struct sched_stats {
    cache_stats cache;
    batch_stats batch;
    double forward_seconds[FORWARD_PHASES]; /* of threads */
    size_t forward_bytes;                   /* its buffers, scratch beside the cache's */
    size_t running, waiting;                /* answers */
} sched_stats;

/* Any thread. */
void sched_read_stats(sched *s, sched_stats *out);

#endif
