/* workers.c - threads that run jobs for a loop: a bounded queue in, one list out.
 *
 *   loop: submit -> waiting (at most `limit`) -> a thread: work -> finished -> loop: done
 *
 * Not libuv's own pool: that is global, of four threads, unbounded, and shared with file calls
 * and name lookups, which would wait behind a megabyte that is tokenized. */
#include "server/sched/workers.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct job_list {
    job *first, **last; /* last: where the next one's pointer goes */
} job_list;

struct workers {
    uv_mutex_t lock; /* guards the fields up to `closing` */
    uv_cond_t more;
    job_list waiting, finished;
    int n_waiting;
    bool closing;
    /* the loop's: */
    uv_async_t wake;
    int limit, n_threads;
    uv_thread_t threads[];
};

static void list_clear(job_list *l)
{
    l->first = NULL;
    l->last = &l->first;
}

/* `last` points at a pointer, so the empty list is no special case. */
static void list_add(job_list *l, job *j)
{
    j->next = NULL;
    *l->last = j;
    l->last = &j->next;
}

static job *list_take(job_list *l)
{
    job *j = l->first;

    l->first = j->next;
    if (!l->first) l->last = &l->first;
    return j;
}

/* The next job, with the lock held before and after; NULL when it is time to end. */
static job *next_job(workers *w)
{
    while (!w->n_waiting && !w->closing) uv_cond_wait(&w->more, &w->lock);
    if (w->closing) return NULL;
    w->n_waiting--;
    return list_take(&w->waiting);
}

/* The lock is given back while a job runs. A job that was canceled while it waited is not
 * begun; one that runs looks itself. */
static void work(void *arg)
{
    workers *w = arg;
    job *j;

    uv_mutex_lock(&w->lock);
    while ((j = next_job(w))) {
        uv_mutex_unlock(&w->lock);
        j->result = atomic_load(&j->cancel) ? ERR_CANCELED : j->work(j);
        uv_mutex_lock(&w->lock);
        list_add(&w->finished, j);
        uv_async_send(&w->wake); /* under the lock: close waits for it */
    }
    uv_mutex_unlock(&w->lock);
}

/* Unlocked: a callback may submit the next job. */
static void deliver(job *j)
{
    while (j) {
        job *next = j->next;

        j->done(j, j->result); /* frees j */
        j = next;
    }
}

static void on_wake(uv_async_t *a)
{
    workers *w = a->data;
    job *all;

    uv_mutex_lock(&w->lock);
    all = w->finished.first;
    list_clear(&w->finished);
    uv_mutex_unlock(&w->lock);
    deliver(all);
}

/* With all signals blocked: they belong to the loop's thread. */
static int start_threads(workers *w, int n)
{
    sigset_t all, before;

    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* torn_file.h */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (w->n_threads < n && !uv_thread_create(&w->threads[w->n_threads], work, w))
        w->n_threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->n_threads;
}

/* Labels undo in reverse order; once the handle is the loop's, workers_close does it all. */
err workers_open(workers **out, uv_loop_t *loop, int n, int limit)
{
    workers *w = calloc(1, sizeof *w + (size_t)n * sizeof w->threads[0]);

    assert(n > 0 && limit > 0);
    if (!w) return ERR_NOMEM;
    w->limit = limit;
    list_clear(&w->waiting);
    list_clear(&w->finished);
    if (uv_mutex_init(&w->lock)) goto no_lock;
    if (uv_cond_init(&w->more)) goto no_cond;
    if (uv_async_init(loop, &w->wake, on_wake)) goto no_async;
    w->wake.data = w;
    if (start_threads(w, n) < n) {
        workers_close(w);
        return ERR_NOMEM;
    }
    *out = w;
    return ERR_OK;

no_async:
    uv_cond_destroy(&w->more);
no_cond:
    uv_mutex_destroy(&w->lock);
no_lock:
    free(w);
    return ERR_NOMEM;
}

err workers_submit(workers *w, job *j)
{
    err e = ERR_OK;

    uv_mutex_lock(&w->lock);
    if (w->closing || w->n_waiting >= w->limit) {
        e = ERR_BUSY;
    } else {
        list_add(&w->waiting, j);
        w->n_waiting++;
    }
    uv_mutex_unlock(&w->lock);
    if (!e) uv_cond_signal(&w->more); /* unlocked: who wakes need not wait for us */
    return e;
}

static void on_closed(uv_handle_t *wake)
{
    workers *w = wake->data;

    uv_cond_destroy(&w->more);
    uv_mutex_destroy(&w->lock);
    free(w);
}

/* What waits is delivered as canceled, what runs is waited for: every job that was taken comes
 * back exactly once, so its owner needs no other way to free it. */
void workers_close(workers *w)
{
    if (!w) return;
    uv_mutex_lock(&w->lock);
    w->closing = true;
    uv_cond_broadcast(&w->more);
    uv_mutex_unlock(&w->lock);
    while (w->n_threads) uv_thread_join(&w->threads[--w->n_threads]);
    for (job *j = w->waiting.first; j; j = j->next) j->result = ERR_CANCELED;
    deliver(w->finished.first); /* no lock: no other thread is left */
    deliver(w->waiting.first);
    uv_close((uv_handle_t *)&w->wake, on_closed);
}
