/* outbox.h - what the scheduler's thread has for the loop: generations with news, and answered
 * calls.
 *
 * The one way back over the border of job.h. Both lists are taken whole under the lock and
 * worked unlocked on the loop, woken by one uv_async. A generation is in the box at most once
 * (`listed` says so), so the box needs no memory of its own and no bound: it is as long as what
 * runs and waits. News are not lost: the flag is cleared before the generation is looked at, so
 * what is published meanwhile is either seen now or listed again. */
#ifndef SERVER_SCHED_OUTBOX_H
#define SERVER_SCHED_OUTBOX_H

#include <pthread.h>
#include <uv.h>

#include "engine/err.h"
#include "server/sched/generation.h"
#include "xcache/cache.h"

/* A question about the cache, from the loop to the thread that owns it and back. It must be
 * short: between two steps nobody's tokens come. */
typedef struct sched_call {
    struct sched_call *next;
    void (*work)(struct sched_call *c, cache *of); /* scheduler's thread */
    void (*done)(struct sched_call *c);            /* loop; frees it */
} sched_call;

/* First in, first out. No lock of its own. */
typedef struct outbox_calls {
    sched_call *first, *last;
} outbox_calls;

void outbox_calls_add(outbox_calls *l, sched_call *c);
sched_call *outbox_calls_take(outbox_calls *l); /* all, linked by `next`; NULL: none */

typedef struct outbox {
    uv_async_t wake;
    pthread_mutex_t lock; /* guards the lists, and `listed` and `ended` of generations */
    generation *first, *last;
    outbox_calls answered;
    void (*closed)(void *user);
    void *user;
} outbox;

/* Loop. ERR_SYSTEM. The caller closes. */
err outbox_open(outbox *o, uv_loop_t *loop);

/* Loop, when no other thread is left: `closed` is called once the loop has let go of o. */
void outbox_close(outbox *o, void (*closed)(void *user), void *user);

/* Any thread: g has news: it runs, or more tokens are published. Wakes nobody. */
void outbox_add(outbox *o, generation *g);

/* Any thread: the scheduler is through with g, which belongs to the loop from here on: it may
 * be freed before this returns. Wakes nobody. */
void outbox_end(outbox *o, generation *g, err result);

/* Scheduler's thread: the calls have been worked. Takes them. Wakes nobody. */
void outbox_answer(outbox *o, outbox_calls *worked);

/* Any thread: let the loop deliver soon. One call may stand for many that were added. */
void outbox_wake(outbox *o);

/* Loop: call `done` and `progress` of all that is there. */
void outbox_deliver(outbox *o);

#endif
