/* threads.c - parallel-for with a spin-then-sleep barrier.
 *
 *   caller   round odd: writes the job -> round even -> works as slot 0 -> waits for n done
 *   worker   sees another round -> reads the job -> works -> spins on the round, then sleeps
 *
 * A run has a number, the round, which is even once its job can be read: a seqlock, since a
 * worker that slept through a run may read while the next one is being written. Indices are
 * handed out by lanes, one a slot, each a range of its own; whoever has finished its lane takes
 * from the others'. The caller waits for indices, not for workers: one that wakes late finds
 * the lanes empty and costs nothing.
 *
 * A run takes microseconds and a step has a hundred of them, while waking a sleeper by futex
 * takes longer than a run: therefore spin first. Between requests nobody spins. All atomics are
 * sequentially consistent: what that costs is a store or two a run. */
#include "server/threads.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cgroup.h"

enum {
    SPINS = 4000,   /* of a pause each: some 50 to 100 us */
    LINE = 128,     /* two lines of 64 bytes come together */
    INDEX_BITS = 20 /* of a ticket; the rest counts rounds */
};

/* What a slot has to do and has done, on a line of its own. An index belongs to the same slot
 * whenever as many are run, so what it reads stays in that core's caches; who is through with
 * its own takes others'. A ticket is (round, next index) in one word. Whoever takes the first
 * index of a lane in a round moves it on to that round; a worker that comes late finds the
 * lane used up, or in a later round, for a round only ends when every index was taken. */
typedef struct lane {
    _Alignas(LINE) _Atomic uint64_t ticket;
    _Atomic uint64_t done; /* (round, indices through); the owner's */
} lane;

/* What is to be run. The round is odd while the rest is being written. */
typedef struct job {
    _Atomic uint64_t round;
    _Atomic(team_task *) task;
    _Atomic(void *) arg;
    atomic_int n;
} job;

typedef struct threads {
    team base;
    pthread_t *ids; /* [slots-1] */
    lane *lanes;    /* [slots] */
    int started;
    atomic_int next_slot;
    atomic_bool stop;
    pthread_mutex_t lock; /* only for sleeping */
    pthread_cond_t wake;
    _Alignas(LINE) job job;
    _Alignas(LINE) atomic_int sleeping;
} threads;

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* A job as it was at one time. */
typedef struct order {
    uint64_t round;
    team_task *task;
    void *arg;
    int n;
} order;

/* False: the job is being written. */
static bool read_job(const threads *t, order *o)
{
    o->round = atomic_load(&t->job.round);
    o->task = atomic_load(&t->job.task);
    o->arg = atomic_load(&t->job.arg);
    o->n = atomic_load(&t->job.n);
    return o->round % 2 == 0 && atomic_load(&t->job.round) == o->round;
}

/* The first index of a lane, or the end of the one before it. */
static uint64_t lane_start(const threads *t, int slot, int n)
{
    return (uint64_t)n * (uint64_t)slot / (uint64_t)t->base.slots;
}

/* The next index of a slot's lane; -1: all are taken. */
static int take_index(threads *t, int slot, const order *o)
{
    lane *l = &t->lanes[slot];
    const uint64_t first = lane_start(t, slot, o->n), end = lane_start(t, slot + 1, o->n);
    const uint64_t start = o->round << INDEX_BITS;
    uint64_t ticket = atomic_load(&l->ticket);

    for (;;) {
        const uint64_t next = ticket < start ? start + first : ticket;

        if (next >= start + end) return -1;
        if (atomic_compare_exchange_weak(&l->ticket, &ticket, next + 1))
            return (int)(next - start);
    }
}

/* Own lane first, then the others' in turn, each worker beginning at another. `done` is stored
 * after every index by its owner alone, so it needs no atomic addition. */
static void work(threads *t, int slot, const order *o)
{
    lane *own = &t->lanes[slot];
    uint64_t done = o->round << INDEX_BITS;

    for (int k = 0, i; k < t->base.slots; k++)
        while ((i = take_index(t, (slot + k) % t->base.slots, o)) >= 0) {
            o->task(o->arg, i, slot);
            atomic_store(&own->done, ++done);
        }
}

/* Wait until the round is no longer `seen`: spin, then sleep. The lock is taken to sleep and to
 * wake sleepers only: a run whose workers all spin takes none. */
static void wait_round(threads *t, uint64_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&t->job.round) != seen) return;
        pause_cpu();
    }
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->sleeping, 1);
    while (atomic_load(&t->job.round) == seen) pthread_cond_wait(&t->wake, &t->lock);
    atomic_fetch_sub(&t->sleeping, 1);
    pthread_mutex_unlock(&t->lock);
}

static void *worker(void *arg)
{
    threads *t = arg;
    const int slot = atomic_fetch_add(&t->next_slot, 1);
    order o;

    for (;;) {
        if (!read_job(t, &o)) continue;
        if (atomic_load(&t->stop))
            break; /* not before: the last round is not to be waited out */
        work(t, slot, &o);
        wait_round(t, o.round);
    }
    return NULL;
}

/* Wake who sleeps. A sleeper counts itself under the lock before it looks at the round for
 * the last time, so none is missed. */
static void wake_sleepers(threads *t)
{
    if (!atomic_load(&t->sleeping)) return;
    pthread_mutex_lock(&t->lock);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

/* Begin a round; returns the order that was given. The round goes up by two: odd between, so
 * that no worker mixes two jobs. A ticket has room for 2^43 runs: at 5 us each, a year of steps
 * without a pause. */
static order start_round(threads *t, team_task *task, void *arg, int n)
{
    const order o = {atomic_load(&t->job.round) + 2, task, arg, n};

    assert(n >= 0 && n < 1 << INDEX_BITS);
    atomic_store(&t->job.round, o.round - 1);
    atomic_store(&t->job.task, task);
    atomic_store(&t->job.arg, arg);
    atomic_store(&t->job.n, n);
    atomic_store(&t->job.round, o.round);
    wake_sleepers(t);
    return o;
}

/* Indices of the round that are through. A slot that did none still shows an older round. */
static int count_done(const threads *t, const order *o)
{
    const uint64_t start = o->round << INDEX_BITS;
    uint64_t n = 0;

    for (int s = 0; s < t->base.slots; s++) {
        const uint64_t done = atomic_load(&t->lanes[s].done);

        if (done > start) n += done - start;
    }
    return (int)n;
}

/* The caller waits for the indices, not for workers that slept through the round. */
static void run(team *base, team_task *task, void *arg, int n)
{
    threads *t = (threads *)(void *)base;
    order o;

    if (n <= 1 || !t->started) {
        for (int i = 0; i < n; i++) task(arg, i, 0);
        return;
    }
    o = start_round(t, task, arg, n);
    work(t, 0, &o);
    for (int spins = 0; count_done(t, &o) < n; spins++) {
        pause_cpu();
        if (spins > SPINS) sched_yield(); /* the cores are shared with others */
    }
}

/* Zeroed, in lines of its own. */
static void *allocate_lines(size_t bytes)
{
    void *p = aligned_alloc(LINE, bytes);

    if (p) memset(p, 0, bytes);
    return p;
}

/* A thread inherits the mask of who makes it: signals are the loop's, whichever thread that is.
 */
static err start_workers(threads *t)
{
    sigset_t all, old;

    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* torn_file.h */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (t->started < t->base.slots - 1 &&
           !pthread_create(&t->ids[t->started], NULL, worker, t))
        t->started++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return t->started < t->base.slots - 1 ? ERR_SYSTEM : ERR_OK;
}

err threads_open(team **out, int n)
{
    threads *t = allocate_lines(sizeof *t);
    err e = ERR_NOMEM;

    if (!t) return ERR_NOMEM;
    t->base = (team){.slots = n, .run = run};
    atomic_store(&t->next_slot, 1);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    t->ids = calloc((size_t)n, sizeof *t->ids);
    t->lanes = allocate_lines((size_t)n * sizeof *t->lanes);
    if (t->ids && t->lanes) e = start_workers(t);
    if (e != ERR_OK) {
        threads_close(&t->base);
        return e;
    }
    *out = &t->base;
    return ERR_OK;
}

void threads_close(team *base)
{
    threads *t = (threads *)(void *)base;

    if (!t) return;
    atomic_store(&t->stop, true);
    /* a round of nothing wakes them all, and they look at `stop` before they read it */
    start_round(t, NULL, NULL, 0);
    for (int i = 0; i < t->started; i++) pthread_join(t->ids[i], NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t->ids);
    free(t->lanes);
    free(t);
}

int threads_usable_cores(void)
{
    cpu_set_t set;
    int cores = 1;
    const int granted = cgroup_cores("");

    if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
    if (granted && granted < cores) cores = granted;
    return cores > 0 ? cores : 1;
}
