/* test_workers.c - the thread border: every job comes back to the loop exactly once. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "server/sched/workers.h"
#include "tests/test.h"

enum { THREADS = 4, MANY = 600 };

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int entered;
    bool open;
} gate;

typedef struct tally {
    uv_loop_t loop;
    workers *workers;
    pthread_t loop_thread;
    gate gate;
    int done, canceled, wrong_thread, resubmitted;
} tally;

typedef struct number {
    job job; /* first: the queue hands this back */
    tally *tally;
    int in, out;
    bool waits; /* at the gate */
    sigset_t blocked;
} number;

static void gate_enter(gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->entered++;
    pthread_cond_broadcast(&g->changed);
    while (!g->open) pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void gate_await(gate *g, int n)
{
    pthread_mutex_lock(&g->lock);
    while (g->entered < n) pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void *gate_open(void *arg)
{
    gate *g = arg;

    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

static err square(job *j)
{
    number *n = (number *)j;

    pthread_sigmask(SIG_SETMASK, NULL, &n->blocked);
    if (n->waits) gate_enter(&n->tally->gate);
    if (atomic_load(&j->cancel)) return ERR_CANCELED;
    n->out = n->in * n->in;
    return n->in % 7 == 0 ? ERR_UTF8 : ERR_OK;
}

static void squared(job *j, err e)
{
    number *n = (number *)j;
    tally *t = n->tally;

    t->done++;
    if (!pthread_equal(pthread_self(), t->loop_thread)) t->wrong_thread++;
    if (e == ERR_CANCELED)
        t->canceled++;
    else if (n->out != n->in * n->in || (e == ERR_UTF8) != (n->in % 7 == 0))
        t->wrong_thread += MANY;
    free(n);
}

static number *number_new(tally *t, int in)
{
    number *n = calloc(1, sizeof *n);

    *n = (number){.job = {.work = square, .done = squared}, .tally = t, .in = in};
    return n;
}

static tally *tally_open(int limit)
{
    tally *t = calloc(1, sizeof *t);

    pthread_mutex_init(&t->gate.lock, NULL);
    pthread_cond_init(&t->gate.changed, NULL);
    t->loop_thread = pthread_self();
    CHECK(uv_loop_init(&t->loop) == 0);
    CHECK(workers_open(&t->workers, &t->loop, THREADS, limit) == ERR_OK);
    return t;
}

/* Closing is part of every test: it fails if a handle is left. */
static void tally_close(tally *t)
{
    uv_run(&t->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&t->loop) == 0);
    CHECK(t->wrong_thread == 0);
    pthread_cond_destroy(&t->gate.changed);
    pthread_mutex_destroy(&t->gate.lock);
    free(t);
}

static void run_until(tally *t, int done)
{
    while (t->done < done) uv_run(&t->loop, UV_RUN_ONCE);
}

/* All threads stand at the gate, so what is submitted next waits. */
static void occupy(tally *t)
{
    for (int i = 0; i < THREADS; i++) {
        number *n = number_new(t, i);

        n->waits = true;
        CHECK(workers_submit(t->workers, &n->job) == ERR_OK);
    }
    gate_await(&t->gate, THREADS);
}

static void submit_many(tally *t, int n)
{
    for (int i = 0; i < n; i++)
        CHECK(workers_submit(t->workers, &number_new(t, i)->job) == ERR_OK);
}

TEST(workers_bring_hundreds_of_jobs_back_to_the_loop_with_their_results)
{
    tally *t = tally_open(MANY);

    submit_many(t, MANY);
    run_until(t, MANY);
    CHECK(t->canceled == 0);
    workers_close(t->workers);
    CHECK(t->done == MANY);
    tally_close(t);
}

TEST(workers_full_is_busy_and_close_delivers_the_rest)
{
    enum { LIMIT = 10 };
    tally *t = tally_open(LIMIT);
    number *refused = number_new(t, 1);
    pthread_t opener;

    occupy(t);
    submit_many(t, LIMIT);
    CHECK(workers_submit(t->workers, &refused->job) == ERR_BUSY);
    free(refused); /* still ours */
    CHECK(t->done == 0);
    pthread_create(&opener, NULL, gate_open, &t->gate);
    workers_close(t->workers);
    pthread_join(opener, NULL);
    CHECK(t->done == THREADS + LIMIT);
    tally_close(t);
}

TEST(workers_close_with_jobs_waiting_reports_what_never_ran_as_canceled)
{
    tally *t = tally_open(MANY);

    submit_many(t, MANY);
    workers_close(t->workers);
    CHECK(t->done == MANY);
    tally_close(t);
}

TEST(workers_do_not_start_a_job_that_was_canceled_while_it_waited)
{
    enum { CANCELED = 50 };
    tally *t = tally_open(MANY);
    number *waiting[CANCELED];

    occupy(t);
    for (int i = 0; i < CANCELED; i++) {
        waiting[i] = number_new(t, i);
        CHECK(workers_submit(t->workers, &waiting[i]->job) == ERR_OK);
    }
    for (int i = 0; i < CANCELED; i += 2) atomic_store(&waiting[i]->job.cancel, true);
    gate_open(&t->gate);
    run_until(t, THREADS + CANCELED);
    CHECK(t->canceled == CANCELED / 2);
    workers_close(t->workers);
    tally_close(t);
}

static err return_at_once(job *j)
{
    (void)j;
    return ERR_OK;
}

static void submit_again(job *j, err e)
{
    number *n = (number *)j;
    tally *t = n->tally;

    (void)e;
    t->done++;
    if (++t->resubmitted < MANY && workers_submit(t->workers, j) == ERR_OK) return;
    free(n);
}

TEST(workers_take_a_job_again_from_its_done_callback)
{
    tally *t = tally_open(1);
    number *n = number_new(t, 0);

    n->job.work = return_at_once;
    n->job.done = submit_again;
    CHECK(workers_submit(t->workers, &n->job) == ERR_OK);
    run_until(t, MANY);
    workers_close(t->workers);
    tally_close(t);
}

static void check_signals(job *j, err e)
{
    number *n = (number *)j;

    (void)e;
    CHECK(sigismember(&n->blocked, SIGTERM) == 1);
    CHECK(sigismember(&n->blocked, SIGINT) == 1);
    CHECK(sigismember(&n->blocked, SIGBUS) == 0); /* or a torn file ends the process */
    n->tally->done++;
    free(n);
}

TEST(workers_leave_signals_to_the_loops_thread)
{
    tally *t = tally_open(1);
    number *n = number_new(t, 3);

    n->job.done = check_signals;
    CHECK(workers_submit(t->workers, &n->job) == ERR_OK);
    run_until(t, 1);
    workers_close(t->workers);
    tally_close(t);
}
