/* threads.c - parallel-for with a spin-then-sleep barrier. */
#include "server/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SPINS = 4000 }; /* of a pause each: some 50 to 100 us */

/* A ticket is (round, next index) in one word, so that a worker which comes late can never
 * take an index of a round it has not seen: its exchange fails. A round is odd while the
 * job is being written, and even while it may be worked on. The caller waits for the
 * indices that were taken, not for workers that slept through it. */
typedef struct threads {
    team base;
    pthread_t *ids; /* [slots-1] */
    int started;
    _Atomic uint64_t ticket;
    atomic_int done;           /* indices of the round that are through */
    _Atomic(team_task *) task; /* the round's job */
    _Atomic(void *) arg;
    atomic_uint n;
    atomic_bool stop;
    atomic_int sleeping;
    atomic_int next_slot;
    pthread_mutex_t lock; /* only for sleeping */
    pthread_cond_t wake;
} threads;

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static uint32_t round_of(const threads *t)
{
    return (uint32_t)(atomic_load(&t->ticket) >> 32);
}

static void work(threads *t, int slot)
{
    for (;;) {
        uint64_t ticket = atomic_load(&t->ticket);
        team_task *const task = atomic_load(&t->task);
        void *const arg = atomic_load(&t->arg);
        const uint32_t i = (uint32_t)ticket;

        if (ticket >> 32 & 1 || i >= atomic_load(&t->n)) return;
        if (!atomic_compare_exchange_strong(&t->ticket, &ticket, ticket + 1)) continue;
        task(arg, (int)i, slot); /* the exchange held: this is the job of that round */
        atomic_fetch_add(&t->done, 1);
    }
}

/* Wait until the round is no longer `seen`: spin, then sleep. */
static void wait_round(threads *t, uint32_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (round_of(t) != seen) return;
        pause_cpu();
    }
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->sleeping, 1);
    while (round_of(t) == seen) pthread_cond_wait(&t->wake, &t->lock);
    atomic_fetch_sub(&t->sleeping, 1);
    pthread_mutex_unlock(&t->lock);
}

static void *worker(void *arg)
{
    threads *t = arg;
    const int slot = atomic_fetch_add(&t->next_slot, 1);
    uint32_t round = 0;

    while (!atomic_load(&t->stop)) {
        work(t, slot);
        wait_round(t, round);
        round = round_of(t);
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

static void start_round(threads *t, team_task *task, void *arg, int n)
{
    const uint32_t round = round_of(t) + 1;

    atomic_store(&t->ticket, (uint64_t)round << 32);
    atomic_store(&t->task, task);
    atomic_store(&t->arg, arg);
    atomic_store(&t->n, (unsigned)n);
    atomic_store(&t->done, 0);
    atomic_store(&t->ticket, (uint64_t)(round + 1) << 32);
    wake_sleepers(t);
}

static void run(team *base, team_task *task, void *arg, int n)
{
    threads *t = (threads *)(void *)base;

    if (n <= 1 || !t->started) {
        for (int i = 0; i < n; i++) task(arg, i, 0);
        return;
    }
    start_round(t, task, arg, n);
    work(t, 0);
    for (int spins = 0; atomic_load(&t->done) < n; spins++) {
        pause_cpu();
        if (spins > SPINS) sched_yield(); /* the cores are shared with others */
    }
}

err threads_open(team **out, int n)
{
    threads *t = calloc(1, sizeof *t);
    sigset_t all, old;

    if (!t) return ERR_NOMEM;
    t->base = (team){.slots = n, .run = run};
    atomic_store(&t->next_slot, 1);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    t->ids = calloc((size_t)n, sizeof *t->ids);
    if (!t->ids) {
        threads_close(&t->base);
        return ERR_NOMEM;
    }
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (t->started < n - 1 && !pthread_create(&t->ids[t->started], NULL, worker, t))
        t->started++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (t->started < n - 1) {
        threads_close(&t->base);
        return ERR_SYSTEM;
    }
    *out = &t->base;
    return ERR_OK;
}

void threads_close(team *base)
{
    threads *t = (threads *)(void *)base;

    if (!t) return;
    atomic_store(&t->stop, true);
    start_round(t, NULL, NULL, 0);
    for (int i = 0; i < t->started; i++) pthread_join(t->ids[i], NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t->ids);
    free(t);
}

/* Cores that cgroup v2 grants, rounded up; 0 if it sets no limit. */
static int cgroup_cores(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    double quota, period;
    int cores = 0;

    if (!f) return 0;
    if (fscanf(f, "%lf %lf", &quota, &period) == 2 && period > 0)
        cores = (int)((quota + period - 1) / period);
    fclose(f);
    return cores;
}

int threads_usable_cores(void)
{
    cpu_set_t set;
    int cores = 1;
    const int granted = cgroup_cores();

    if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
    if (granted && granted < cores) cores = granted;
    return cores > 0 ? cores : 1;
}
