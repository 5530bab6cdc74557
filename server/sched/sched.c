/* sched.c - one thread that steps a batch, and lets in who waits when their turn comes.
 *
 * Which thread calls what:
 *
 *   loop                       scheduler's thread              loop
 *   sched_submit -> waiting -> admit -> batch -> finish ----.
 *   sched_ask ----> asked ---> answer_calls ----------------+-> outbox -> done, progress
 *   sched_drain, _cancel_all   publish (after each step) ---'
 *
 * The scheduler's thread alone touches batch, cache and forward; `lock` guards what both touch.
 * It is held for a few list operations, never over a step or a callback. lock -> outbox.lock is
 * the only nesting.
 *
 * Where a request is canceled: whoever no longer wants a generation sets its `cancel`, on the
 * loop. While it waits, the end of the next step takes it out of the queue (end_waiting), or
 * admit does; while it runs, the beginning of the next step ends it (batch.c). Either way
 * `done` comes once, through the outbox, so the loop needs no second path for who has left. */
#include "server/sched/sched.h"

#include <assert.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "server/sched/outbox.h"
#include "server/sched/queue.h"
#include "server/sched/running.h"
#include "xcache/degrade.h"

enum { IDLE_LAYERS = 4 }; /* of a block, between two looks at who has come */

struct sched {
    runtime *runtime;
    batch batch;   /* the scheduler thread's */
    outbox outbox; /* locks itself */
    pthread_t thread;
    atomic_size_t
        arrivals;         /* groups that have come: between two layers a look at this is all */
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t more;
    queue waiting;
    size_t seen; /* of arrivals; the scheduler thread's */
    outbox_calls asked;
    running running;
    double service_seconds; /* between two ends, lately */
    uint64_t last_end_ns;
    bool draining, closing;
    sched_stats stats;
};

/* --- scheduler thread --- */

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

static void update_stats(sched *s)
{
    const sched_stats now = measure(s);

    pthread_mutex_lock(&s->lock);
    s->stats = now;
    pthread_mutex_unlock(&s->lock);
}

/* One is enough: answers to one prompt wait together, and only who hung up cancels. */
static bool is_canceled(const generation_group *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (atomic_load(&w->members[i]->cancel)) return true;
    return false;
}

/* Hand them back unrun. The loop may free each as soon as it has it, and w with the last: w is
 * not read after that. */
static void end_group(sched *s, generation_group *w, err e)
{
    for (size_t i = 0, n = w->n; i < n; i++) outbox_end(&s->outbox, w->members[i], e);
}

/* End what waits with e: all, or only what was canceled. True if there was any. Lock held. */
static bool end_waiting(sched *s, bool all, err e)
{
    bool any = false;

    for (generation_group *w = s->waiting.first, *next; w; w = next) {
        next = w->next;
        if (!all && !is_canceled(w)) continue;
        queue_remove(&s->waiting, w);
        end_group(s, w, e);
        any = true;
    }
    return any;
}

/* Work what was asked, and note what it has changed: whoever is told it is done must find it
 * in the figures. False: nothing was asked. */
static bool answer_calls(sched *s)
{
    outbox_calls worked = {0};
    sched_call *c;

    pthread_mutex_lock(&s->lock);
    c = outbox_calls_take(&s->asked);
    pthread_mutex_unlock(&s->lock);
    if (!c) return false;
    for (sched_call *next; c; c = next) {
        next = c->next;
        c->work(c, s->runtime->cache);
        outbox_calls_add(&worked, c);
    }
    update_stats(s);
    outbox_answer(&s->outbox, &worked);
    outbox_wake(&s->outbox);
    return true;
}

/* After a step: figures, and news for the loop. Cancels are looked for here, between two steps,
 * and not when they are set: a flag needs no lock, and a step is short. */
static void publish(sched *s)
{
    bool news = s->batch.n_news > 0;

    update_stats(s);
    for (size_t i = 0; i < s->batch.n_news; i++) outbox_add(&s->outbox, s->batch.news[i]);
    pthread_mutex_lock(&s->lock);
    news |= end_waiting(s, false, ERR_CANCELED);
    pthread_mutex_unlock(&s->lock);
    if (news) outbox_wake(&s->outbox);
}

/* How long a place in the queue lasts, for Retry-After. Lock held. */
static void note_end(sched *s, uint64_t now_ns)
{
    const double seconds = clock_seconds_between(s->last_end_ns, now_ns);

    if (s->last_end_ns) s->service_seconds += (seconds - s->service_seconds) / 8;
    s->last_end_ns = s->waiting.n ? now_ns : 0; /* an idle while counts for nothing */
}

/* Hand g back: the loop calls done. The figures follow the context's end, and come before the
 * loop hears of it. */
static void finish(sched *s, generation *g, err e)
{
    sched_stats now;

    if (e != ERR_OK) generation_end(g, FINISH_ABORT);
    g->out.ended_ns = clock_ns();
    now = measure(s);
    pthread_mutex_lock(&s->lock);
    running_forget(&s->running, g);
    note_end(s, g->out.ended_ns);
    s->stats = now;
    pthread_mutex_unlock(&s->lock);
    outbox_end(&s->outbox, g, e);
    outbox_wake(&s->outbox);
}

static bool is_newcomer(const sched *s, const generation_group *w)
{
    const uint64_t tenant = w->members[0]->in.tenant;

    return tenant != GENERATION_ANYBODY && !batch_has(&s->batch, tenant);
}

/* The first one that waits whose tenant has nothing running. Lock held. */
static generation_group *find_newcomer(const sched *s)
{
    generation_group *w = s->waiting.first;

    while (w && !is_newcomer(s, w)) w = w->next;
    return w;
}

/* Has somebody come for whom the step is given up? Batch asks, between two layers. */
static bool is_wanted(void *user)
{
    sched *s = user;
    const size_t arrivals = atomic_load(&s->arrivals);
    const generation_group *w;
    bool wanted;

    if (arrivals == s->seen) return false;
    pthread_mutex_lock(&s->lock);
    w = find_newcomer(s);
    wanted = w && batch_gives_way(&s->batch, w->members[0]->in.tenant);
    pthread_mutex_unlock(&s->lock);
    s->seen = arrivals;
    return wanted;
}

/* Whose turn it is, or the first newcomer, is about to run; NULL: nobody waits. */
static generation_group *leave_line(sched *s, bool newcomer)
{
    generation_group *w;

    pthread_mutex_lock(&s->lock);
    w = newcomer ? find_newcomer(s) : s->waiting.first;
    if (w) queue_take_early(&s->waiting, w);
    if (w)
        running_note(&s->running,
                     w); /* in the same breath: sched_cancel_all must find it somewhere */
    pthread_mutex_unlock(&s->lock);
    return w;
}

/* Back to the head of the line. False: it was closed meanwhile, and whoever closed it has not
 * seen this one. */
static bool stay_in_line(sched *s, generation_group *w)
{
    bool open;

    pthread_mutex_lock(&s->lock);
    open = !s->draining;
    if (open) {
        running_forget_group(&s->running, w);
        queue_put_back(&s->waiting, w);
    }
    pthread_mutex_unlock(&s->lock);
    return open;
}

/* What they may need is reserved: the loop may promise an answer (a stream's 200). */
static void announce(sched *s, const generation_group *w)
{
    for (size_t i = 0; i < w->n; i++) {
        w->members[i]->out.started_ns = clock_ns();
        outbox_add(&s->outbox, w->members[i]);
    }
    outbox_wake(&s->outbox);
}

/* They never ran; see end_group for who owns what. */
static void finish_group(sched *s, generation_group *w, err e)
{
    for (size_t i = 0, n = w->n; i < n; i++) {
        w->members[i]->out.started_ns = clock_ns();
        finish(s, w->members[i], e);
    }
}

/* Let in as many as there is room for, in order. Nobody overtakes but a newcomer, and nobody a
 * newcomer; whose tenant has nothing running any more is one, so nobody starves. With an empty
 * batch nobody's end would make more room, so BUSY is an answer then. */
static void admit(sched *s)
{
    bool newcomers = false; /* no others any more */

    for (generation_group *w; s->batch.n < s->batch.most && (w = leave_line(s, newcomers));) {
        err e = ERR_CANCELED;

        if (!is_canceled(w)) e = batch_add(&s->batch, w);
        if (e == ERR_BUSY && s->batch.n) {
            const bool last = newcomers || is_newcomer(s, w);

            newcomers = true;
            if (stay_in_line(s, w)) {
                if (last) return;
                continue;
            }
            e = ERR_DRAINING;
        }
        if (e == ERR_OK)
            announce(s, w);
        else
            finish_group(s, w, e);
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
    if (degrade_step(s->runtime->cache, IDLE_LAYERS)) update_stats(s);
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

/* --- loop thread: opening --- */

static void free_sched(void *user)
{
    sched *s = user;

    batch_close(&s->batch);
    running_close(&s->running);
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static err start_thread(sched *s)
{
    sigset_t all, old;
    int failed;

    sigfillset(&all);        /* signals are the loop's */
    sigdelset(&all, SIGBUS); /* but this one: torn_file.h */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    failed = pthread_create(&s->thread, NULL, schedule, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed ? ERR_SYSTEM : ERR_OK;
}

/* Up to the thread. */
static err prepare(sched *s, uv_loop_t *loop)
{
    TRY(running_open(&s->running, s->runtime->max_running));
    TRY(batch_open(&s->batch, s->runtime, s->runtime->max_running));
    s->batch.is_wanted = is_wanted;
    s->batch.user = s;
    s->stats = measure(s);
    return outbox_open(&s->outbox, loop);
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
    e = prepare(s, loop);
    if (e != ERR_OK) {
        free_sched(s);
        return e;
    }
    e = start_thread(s);
    if (e != ERR_OK)
        outbox_close(&s->outbox, free_sched, s); /* the handle is the loop's: free it there */
    else
        *out = s;
    return e;
}

/* --- loop thread: asking for work --- */

err sched_check(const sched *s, size_t prompt_tokens, size_t max_tokens, size_t answers)
{
    return run_check(s->runtime, prompt_tokens, max_tokens, answers);
}

static err check_group(const sched *s, const generation_group *w)
{
    const generation_in *in = &w->members[0]->in;

    for (size_t i = 1; i < w->n; i++)
        assert(w->members[i]->in.n_ids == in->n_ids &&
               w->members[i]->in.max_tokens == in->max_tokens);
    if (in->n_texts) return run_check_texts(s->runtime, in->ends, in->n_texts);
    return run_check(s->runtime, in->n_ids, in->max_tokens, w->n);
}

/* Is there a place for n groups? Who was canceled, by a client that left or a deadline, has his
 * until the step that is being computed ends, which may be long: where it is wanted it is free
 * at once. Lock held. */
static bool has_places(sched *s, size_t n)
{
    if (s->waiting.n + n <= s->waiting.limit) return true;
    if (end_waiting(s, false, ERR_CANCELED)) outbox_wake(&s->outbox);
    return s->waiting.n + n <= s->waiting.limit;
}

/* Lock held. */
static err stand_in_line(sched *s, generation_group *const *list, size_t n)
{
    const uint64_t now_ns = clock_ns();

    if (s->draining || s->closing) return ERR_DRAINING;
    if (!has_places(s, n)) return ERR_BUSY;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < list[i]->n; k++) list[i]->members[k]->out.queued_ns = now_ns;
        queue_add(&s->waiting, list[i]);
    }
    atomic_fetch_add(&s->arrivals, n);
    pthread_cond_signal(&s->more);
    return ERR_OK;
}

err sched_submit(sched *s, generation_group *const *list, size_t n)
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
    return s->waiting.limit; /* constant, so no lock */
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
    outbox_calls_add(&s->asked, c);
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
}

/* --- loop thread: ending --- */

void sched_drain(sched *s)
{
    bool news;

    pthread_mutex_lock(&s->lock);
    s->draining = true;
    news = end_waiting(s, true, ERR_DRAINING);
    pthread_mutex_unlock(&s->lock);
    if (news) outbox_wake(&s->outbox);
}

/* All are in one of the two lists at any time the lock is free, see leave_line. */
void sched_cancel_all(sched *s)
{
    pthread_mutex_lock(&s->lock);
    for (generation_group *w = s->waiting.first; w; w = w->next)
        for (size_t i = 0; i < w->n; i++) atomic_store(&w->members[i]->cancel, true);
    running_cancel(&s->running);
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
    do outbox_deliver(&s->outbox);
    while (answer_calls(s)); /* a callback may have asked once more; the cache is ours now */
    outbox_close(&s->outbox, free_sched, s);
}

void sched_read_stats(sched *s, sched_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    out->running = s->running.n;
    out->waiting = s->waiting.answers;
    pthread_mutex_unlock(&s->lock);
}
