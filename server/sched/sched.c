/* sched.c - one thread that steps a batch, and lets in who waits when their turn comes.
 *
 * Lists cross the border, each taken whole under one lock: what waits (loop to scheduler)
 * and what has news (scheduler to loop, with one uv_async); calls go and come likewise. A
 * generation is on the list of news at most once; `listed` says so. */
#include "server/sched/sched.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "server/sched/queue.h"
#include "xcache/degrade.h"

enum { IDLE_LAYERS = 4 }; /* of a block, between two looks at who has come */

/* First in, first out. */
typedef struct call_list {
    sched_call *first, *last;
} call_list;

struct sched {
    runtime *runtime;
    batch batch;     /* the scheduler thread's */
    uv_async_t wake; /* news for the loop */
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t more;
    queue waiting;
    double service_seconds; /* between two ends, lately */
    uint64_t last_end_ns;
    generation **running; /* [2 * batch.most] and who is about to */
    size_t n_running;
    generation *news, *news_end;
    call_list asked, answered;
    bool draining, closing;
    sched_stats stats;
};

static void add_call(call_list *l, sched_call *c)
{
    c->next = NULL;
    if (l->last)
        l->last->next = c;
    else
        l->first = c;
    l->last = c;
}

/* All of them; the list is empty then. */
static sched_call *take_calls(call_list *l)
{
    sched_call *first = l->first;

    *l = (call_list){0};
    return first;
}

/* --- scheduler thread --- */

/* Put g on the list for the loop, once. Call with the lock held. */
static void list_news(sched *s, generation *g)
{
    if (g->listed) return;
    g->listed = true;
    g->ready = NULL;
    if (s->news_end)
        s->news_end->ready = g;
    else
        s->news = g;
    s->news_end = g;
}

/* Everything that this thread alone may read; not under the lock, since it takes a while. */
static sched_stats measure(const sched *s)
{
    const forward *f = s->runtime->forward;
    sched_stats now = {.batch = s->batch.stats, .forward_bytes = forward_bytes(f)};

    cache_read_stats(s->runtime->cache, &now.cache);
    for (int p = 0; p < FORWARD_PHASES; p++)
        now.forward_seconds[p] = forward_seconds(f, (forward_phase)p);
    return now;
}

static bool is_canceled(const generation *g)
{
    for (; g; g = g->copy)
        if (atomic_load(&g->cancel)) return true;
    return false;
}

/* End what waits with e: all, or only what was canceled. True if there was any. Lock held. */
static bool end_waiting(sched *s, bool all, err e)
{
    bool any = false;

    for (generation *g = s->waiting.first, *next; g; g = next) {
        next = g->next;
        if (!all && !is_canceled(g)) continue;
        queue_remove(&s->waiting, g);
        for (generation *c = g; c; c = c->copy) {
            c->result = e;
            c->ended = any = true;
            list_news(s, c);
        }
    }
    return any;
}

/* Work what was asked, and note what it has changed. False: nothing was. */
static bool answer_calls(sched *s)
{
    call_list answered = {0};
    sched_stats now;
    sched_call *c;

    pthread_mutex_lock(&s->lock);
    c = take_calls(&s->asked);
    pthread_mutex_unlock(&s->lock);
    if (!c) return false;
    for (sched_call *next; c; c = next) {
        next = c->next;
        c->work(c, s->runtime->cache);
        add_call(&answered, c);
    }
    now = measure(s);
    pthread_mutex_lock(&s->lock);
    s->stats = now;
    for (sched_call *next, *a = answered.first; a; a = next) {
        next = a->next;
        add_call(&s->answered, a);
    }
    pthread_mutex_unlock(&s->lock);
    uv_async_send(&s->wake);
    return true;
}

/* After a step: figures, and news for the loop. */
static void publish(sched *s)
{
    const sched_stats now = measure(s);
    bool news = s->batch.n_news > 0;

    pthread_mutex_lock(&s->lock);
    s->stats = now;
    for (size_t i = 0; i < s->batch.n_news; i++) list_news(s, s->batch.news[i]);
    news |= end_waiting(s, false, ERR_CANCELED);
    pthread_mutex_unlock(&s->lock);
    if (news) uv_async_send(&s->wake);
}

/* The list of who runs, which sched_cancel_all reads. Lock held. */
static void note_running(sched *s, generation *g)
{
    for (; g; g = g->copy) s->running[s->n_running++] = g;
}

static void forget_running(sched *s, const generation *g)
{
    for (size_t i = 0; i < s->n_running; i++)
        if (s->running[i] == g) s->running[i--] = s->running[--s->n_running];
}

/* How long a place in the queue lasts. Lock held. */
static void note_end(sched *s, uint64_t now_ns)
{
    const double seconds = clock_seconds_between(s->last_end_ns, now_ns);

    if (s->last_end_ns) s->service_seconds += (seconds - s->service_seconds) / 8;
    s->last_end_ns = s->waiting.n ? now_ns : 0; /* an idle while counts for nothing */
}

/* Hand g back: the loop calls done. The figures follow the context's end. */
static void finish(sched *s, generation *g, err e)
{
    sched_stats now;

    g->result = e;
    if (e != ERR_OK) generation_end(g, FINISH_ABORT);
    g->out.ended_ns = clock_ns();
    now = measure(s);
    pthread_mutex_lock(&s->lock);
    forget_running(s, g);
    note_end(s, g->out.ended_ns);
    s->stats = now;
    g->ended = true;
    list_news(s, g);
    pthread_mutex_unlock(&s->lock);
    uv_async_send(&s->wake);
}

/* Whose turn it is is about to run; NULL: nobody waits. */
static generation *leave_line(sched *s)
{
    generation *g;

    pthread_mutex_lock(&s->lock);
    g = queue_take(&s->waiting);
    if (g) note_running(s, g);
    pthread_mutex_unlock(&s->lock);
    return g;
}

/* Back to the head of the line. False: it was closed meanwhile. */
static bool stay_in_line(sched *s, generation *g)
{
    bool open;

    pthread_mutex_lock(&s->lock);
    open = !s->draining;
    if (open) {
        for (const generation *c = g; c; c = c->copy) forget_running(s, c);
        queue_put_back(&s->waiting, g);
    }
    pthread_mutex_unlock(&s->lock);
    return open;
}

/* What they may need is reserved: the loop may promise an answer. */
static void announce(sched *s, generation *g)
{
    pthread_mutex_lock(&s->lock);
    for (; g; g = g->copy) {
        g->out.started_ns = clock_ns();
        list_news(s, g);
    }
    pthread_mutex_unlock(&s->lock);
    uv_async_send(&s->wake);
}

/* They never ran. The loop may free each as soon as it is handed back. */
static void finish_all(sched *s, generation *g, err e)
{
    for (generation *next; g; g = next) {
        next = g->copy;
        g->out.started_ns = clock_ns();
        finish(s, g, e);
    }
}

/* Let in as many as there is room for, in order: nobody overtakes, so nobody starves. */
static void admit(sched *s)
{
    for (generation *g; s->batch.n < s->batch.most && (g = leave_line(s));) {
        err e = ERR_CANCELED;

        if (!is_canceled(g)) e = batch_add(&s->batch, g);
        if (e == ERR_BUSY && s->batch.n) {
            if (stay_in_line(s, g)) return;
            e = ERR_DRAINING;
        }
        if (e == ERR_OK)
            announce(s, g);
        else
            finish_all(s, g, e);
    }
}

/* Sleep until there is something to do. False: the scheduler closes, and all is done. */
static bool wait_for_work(sched *s)
{
    const bool pressed = degrade_is_pressed(s->runtime->cache);
    bool work;

    pthread_mutex_lock(&s->lock);
    while (!(work = s->waiting.n || s->batch.n || s->asked.first || pressed) && !s->closing)
        pthread_cond_wait(&s->more, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return work;
}

/* Nobody runs: room is made for those who come, a little at a time. */
static void use_idle_time(sched *s)
{
    sched_stats now;

    if (!degrade_step(s->runtime->cache, IDLE_LAYERS)) return;
    now = measure(s);
    pthread_mutex_lock(&s->lock);
    s->stats = now;
    pthread_mutex_unlock(&s->lock);
}

static void *schedule(void *arg)
{
    sched *s = arg;

    while (wait_for_work(s)) {
        answer_calls(s);
        admit(s);
        if (!s->batch.n) {
            use_idle_time(s);
            continue;
        }
        batch_step(&s->batch);
        publish(s);
        for (generation *g; (g = batch_take(&s->batch));)
            finish(s, g, g->out.finish == FINISH_ABORT ? ERR_CANCELED : ERR_OK);
    }
    return NULL;
}

/* --- loop thread --- */

/* What is taken stays `listed` until its turn, so the scheduler lets its link alone; what it
 * publishes meanwhile is seen in that turn, for the flag is cleared first. */
static void deliver(sched *s)
{
    generation *list;
    sched_call *answered;

    pthread_mutex_lock(&s->lock);
    list = s->news;
    s->news = s->news_end = NULL;
    answered = take_calls(&s->answered);
    pthread_mutex_unlock(&s->lock);
    for (sched_call *next; answered; answered = next) {
        next = answered->next;
        answered->done(answered);
    }
    while (list) {
        generation *g = list;
        bool ended;

        list = g->ready;
        pthread_mutex_lock(&s->lock);
        g->listed = false;
        ended = g->ended;
        pthread_mutex_unlock(&s->lock);
        if (ended)
            g->done(g, g->result);
        else if (g->progress)
            g->progress(g);
    }
}

static void on_wake(uv_async_t *a)
{
    deliver(a->data);
}

static void free_sched(sched *s)
{
    batch_close(&s->batch);
    free(s->running);
    free(s);
}

static void on_closed(uv_handle_t *h)
{
    free_sched(h->data);
}

static err start_thread(sched *s)
{
    sigset_t all, old;
    int failed;

    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    failed = pthread_create(&s->thread, NULL, schedule, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed ? ERR_SYSTEM : ERR_OK;
}

err sched_open(sched **out, uv_loop_t *loop, runtime *r, int limit)
{
    sched *s = calloc(1, sizeof *s);
    err e;

    if (!s) return ERR_NOMEM;
    s->runtime = r;
    s->waiting.limit = (size_t)limit;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    s->running = calloc(2 * r->max_running, sizeof(generation *));
    e = s->running ? batch_open(&s->batch, r, r->max_running) : ERR_NOMEM;
    if (e == ERR_OK) s->stats = measure(s);
    if (e != ERR_OK || uv_async_init(loop, &s->wake, on_wake)) {
        free_sched(s);
        return ERR_NOMEM;
    }
    s->wake.data = s;
    e = start_thread(s);
    if (e != ERR_OK)
        uv_close((uv_handle_t *)&s->wake, on_closed);
    else
        *out = s;
    return e;
}

err sched_check(const sched *s, size_t prompt_tokens, size_t max_tokens, size_t copies)
{
    return run_check(s->runtime, prompt_tokens, max_tokens, copies);
}

static err check_group(const sched *s, const generation *g)
{
    const generation_in *in = &g->in;
    size_t copies = 0;

    while ((g = g->copy)) {
        assert(g->in.n_ids == in->n_ids && g->in.max_tokens == in->max_tokens);
        copies++;
    }
    return run_check(s->runtime, in->n_ids, in->max_tokens, copies);
}

/* Lock held. */
static err stand_in_line(sched *s, generation *const *list, size_t n)
{
    const uint64_t now_ns = clock_ns();

    if (s->draining || s->closing) return ERR_DRAINING;
    if (s->waiting.n + n > s->waiting.limit) return ERR_BUSY;
    for (size_t i = 0; i < n; i++) {
        for (generation *g = list[i]; g; g = g->copy) g->out.queued_ns = now_ns;
        queue_add(&s->waiting, list[i]);
    }
    pthread_cond_signal(&s->more);
    return ERR_OK;
}

err sched_submit(sched *s, generation *const *list, size_t n)
{
    err e;

    for (size_t i = 0; i < n; i++) TRY(check_group(s, list[i]));
    pthread_mutex_lock(&s->lock);
    e = stand_in_line(s, list, n);
    pthread_mutex_unlock(&s->lock);
    return e;
}

size_t sched_queue_limit(const sched *s)
{
    return s->waiting.limit;
}

unsigned sched_retry_seconds(sched *s)
{
    double wait;

    pthread_mutex_lock(&s->lock);
    wait = (double)s->waiting.n * s->service_seconds;
    pthread_mutex_unlock(&s->lock);
    return wait < 1 ? 1 : wait > SCHED_RETRY_MOST ? SCHED_RETRY_MOST : (unsigned)ceil(wait);
}

void sched_ask(sched *s, sched_call *c)
{
    pthread_mutex_lock(&s->lock);
    add_call(&s->asked, c);
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
}

void sched_drain(sched *s)
{
    bool news;

    pthread_mutex_lock(&s->lock);
    s->draining = true;
    news = end_waiting(s, true, ERR_DRAINING);
    pthread_mutex_unlock(&s->lock);
    if (news) uv_async_send(&s->wake);
}

void sched_cancel_all(sched *s)
{
    pthread_mutex_lock(&s->lock);
    for (generation *g = s->waiting.first; g; g = g->next)
        for (generation *c = g; c; c = c->copy) atomic_store(&c->cancel, true);
    for (size_t i = 0; i < s->n_running; i++) atomic_store(&s->running[i]->cancel, true);
    pthread_mutex_unlock(&s->lock);
}

void sched_close(sched *s)
{
    if (!s) return;
    sched_cancel_all(s);
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    do deliver(s);
    while (answer_calls(s)); /* what was asked by those who were told: the cache is ours now */
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->lock);
    uv_close((uv_handle_t *)&s->wake, on_closed);
}

void sched_read_stats(sched *s, sched_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    out->running = s->n_running;
    out->waiting = s->waiting.n;
    pthread_mutex_unlock(&s->lock);
}
