/* sched.c - one thread, one generation at a time, in the order they came.
 *
 * Two lists cross the border, each taken whole under its lock: what waits (loop to
 * scheduler) and what has news (scheduler to loop, with one uv_async). A generation is on
 * the second at most once; `listed` says so. */
#include "server/sched.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "server/run.h"

struct sched {
    runtime *runtime;
    uv_async_t wake; /* news for the loop */
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t more;
    generation *first, *last; /* waiting */
    size_t waiting, limit;
    generation *running;
    generation *news, *news_end;
    bool draining, closing;
    sched_stats stats;
};

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

static void read_cache_stats(sched *s, sched_stats *out)
{
    const runtime *r = s->runtime;
    cache_stats c;

    cache_read_stats(r->cache, &c);
    out->capacity_bytes = c.capacity_bytes;
    out->codes_bytes = c.codes_bytes;
    out->scales_bytes = c.scales_bytes;
    out->index_bytes = c.index_bytes;
    out->free_bytes = c.free_bytes;
    out->block_tokens = c.block_tokens;
    out->block_bytes = c.block_bytes;
    out->capacity_tokens = c.capacity_tokens;
    out->active_tokens = c.active_tokens;
    out->evictable_tokens = c.idle_tokens;
    out->uncompressed_bytes = c.fp16_bytes;
    out->scratch_bytes = c.scratch_bytes + forward_bytes(r->forward);
    out->workspace_bytes = c.workspace_bytes;
    out->workspace_used_bytes = c.workspace_used_bytes;
    out->plan_bytes = c.weight_bytes;
    out->queried_tokens = c.queried_tokens;
    out->hit_tokens = c.hit_tokens;
    out->evicted_blocks = c.evicted_blocks;
    out->evicted_tokens = c.evicted_blocks * c.block_tokens;
    out->phase_seconds[SCHED_GEMM] = forward_seconds(r->forward, FORWARD_GEMM);
    out->phase_seconds[SCHED_REMATERIALIZE] = forward_seconds(r->forward, FORWARD_TILE) +
                                              c.rebuild_seconds;
    out->phase_seconds[SCHED_ATTENTION] = forward_seconds(r->forward, FORWARD_ATTEND);
    out->phase_seconds[SCHED_SEAL] = c.seal_seconds;
    out->remat_seconds = out->phase_seconds[SCHED_REMATERIALIZE];
    out->remat_tokens = c.remat_tokens;
    out->mode = c.mode;
    out->bits_per_element = c.bits_per_element;
}

/* Hand back what was canceled while it waited. True if there was any. Lock held. */
static bool drop_canceled(sched *s)
{
    generation *g = s->first;
    bool any = false;

    s->first = s->last = NULL;
    for (generation *next; g; g = next) {
        next = g->next;
        g->next = NULL;
        if (atomic_load(&g->cancel)) {
            g->result = ERR_CANCELED;
            g->ended = any = true;
            s->waiting--;
            list_news(s, g);
            continue;
        }
        if (s->last)
            s->last->next = g;
        else
            s->first = g;
        s->last = g;
    }
    return any;
}

/* After a step: figures for /metrics, and news for the loop. */
static void publish(sched *s, run *x, size_t prompt_tokens, size_t new_tokens, double sampled)
{
    sched_stats now = {0};
    bool news = new_tokens > 0;

    read_cache_stats(s, &now);
    pthread_mutex_lock(&s->lock);
    now.running = s->stats.running;
    now.prompt_tokens_computed = s->stats.prompt_tokens_computed + prompt_tokens;
    now.generation_tokens = s->stats.generation_tokens + new_tokens;
    now.steps = s->stats.steps + 1;
    now.phase_seconds[SCHED_SAMPLE] = s->stats.phase_seconds[SCHED_SAMPLE] + sampled;
    s->stats = now;
    if (new_tokens) list_news(s, x->generation);
    news |= drop_canceled(s);
    pthread_mutex_unlock(&s->lock);
    if (news) uv_async_send(&s->wake);
}

/* Run g to its end. */
static err run_generation(sched *s, generation *g)
{
    run x;

    if (atomic_load(&g->cancel)) return ERR_CANCELED;
    g->out.started_ns = uv_hrtime();
    TRY(run_open(&x, s->runtime, g));
    for (bool over = false; !over;) {
        const size_t read = x.read, tokens = generation_tokens(g);
        const double sampled = x.sample_seconds;

        over = run_step(&x);
        publish(s, &x, x.read - read, generation_tokens(g) - tokens,
                x.sample_seconds - sampled);
    }
    run_close(&x);
    return g->out.finish == FINISH_ABORT ? ERR_CANCELED : ERR_OK;
}

/* Hand g back: the loop calls done. The figures follow the context's end. */
static void finish(sched *s, generation *g, err e)
{
    sched_stats now = {0};

    g->result = e;
    if (e != ERR_OK) generation_end(g, FINISH_ABORT);
    g->out.ended_ns = uv_hrtime();
    read_cache_stats(s, &now);
    pthread_mutex_lock(&s->lock);
    now.prompt_tokens_computed = s->stats.prompt_tokens_computed;
    now.generation_tokens = s->stats.generation_tokens;
    now.steps = s->stats.steps;
    now.phase_seconds[SCHED_SAMPLE] = s->stats.phase_seconds[SCHED_SAMPLE];
    s->stats = now; /* running: 0 */
    s->running = NULL;
    g->ended = true;
    list_news(s, g);
    pthread_mutex_unlock(&s->lock);
    uv_async_send(&s->wake);
}

/* The next in line; NULL when the scheduler closes and nobody waits. */
static generation *next_waiting(sched *s)
{
    generation *g;

    pthread_mutex_lock(&s->lock);
    while (!s->first && !s->closing) pthread_cond_wait(&s->more, &s->lock);
    g = s->first;
    if (g) {
        s->first = g->next;
        if (!s->first) s->last = NULL;
        s->waiting--;
        s->running = g;
        s->stats.running = 1;
    }
    pthread_mutex_unlock(&s->lock);
    return g;
}

static void *schedule(void *arg)
{
    sched *s = arg;

    for (generation *g; (g = next_waiting(s));) finish(s, g, run_generation(s, g));
    return NULL;
}

/* --- loop thread --- */

/* What is taken stays `listed` until its turn, so the scheduler lets its link alone; what it
 * publishes meanwhile is seen in that turn, for the flag is cleared first. */
static void deliver(sched *s)
{
    generation *list;

    pthread_mutex_lock(&s->lock);
    list = s->news;
    s->news = s->news_end = NULL;
    pthread_mutex_unlock(&s->lock);
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

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

err sched_open(sched **out, uv_loop_t *loop, runtime *r, int limit)
{
    sched *s = calloc(1, sizeof *s);
    sigset_t all, old;
    int failed;

    if (!s) return ERR_NOMEM;
    s->runtime = r;
    s->limit = (size_t)limit;
    read_cache_stats(s, &s->stats);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    if (uv_async_init(loop, &s->wake, on_wake)) {
        free(s);
        return ERR_NOMEM;
    }
    s->wake.data = s;
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    failed = pthread_create(&s->thread, NULL, schedule, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed) {
        uv_close((uv_handle_t *)&s->wake, on_closed);
        return ERR_SYSTEM;
    }
    *out = s;
    return ERR_OK;
}

err sched_check(const sched *s, size_t prompt_tokens, size_t max_tokens)
{
    return run_check(s->runtime, prompt_tokens, max_tokens);
}

err sched_submit(sched *s, generation *g)
{
    err e = run_check(s->runtime, g->in.n_ids, g->in.max_tokens);

    if (e != ERR_OK) return e;
    pthread_mutex_lock(&s->lock);
    if (s->draining || s->closing) {
        e = ERR_DRAINING;
    } else if (s->waiting >= s->limit) {
        e = ERR_BUSY;
    } else {
        g->out.queued_ns = uv_hrtime();
        g->next = NULL;
        if (s->last)
            s->last->next = g;
        else
            s->first = g;
        s->last = g;
        s->waiting++;
        pthread_cond_signal(&s->more);
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

void sched_drain(sched *s)
{
    bool news = false;

    pthread_mutex_lock(&s->lock);
    s->draining = true;
    while (s->first) {
        generation *g = s->first;

        s->first = g->next;
        g->next = NULL;
        g->result = ERR_DRAINING;
        g->ended = news = true;
        s->waiting--;
        list_news(s, g);
    }
    s->last = NULL;
    pthread_mutex_unlock(&s->lock);
    if (news) uv_async_send(&s->wake);
}

void sched_cancel_all(sched *s)
{
    pthread_mutex_lock(&s->lock);
    for (generation *g = s->first; g; g = g->next) atomic_store(&g->cancel, true);
    if (s->running) atomic_store(&s->running->cancel, true);
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
    deliver(s);
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->lock);
    uv_close((uv_handle_t *)&s->wake, on_closed);
}

void sched_read_stats(sched *s, sched_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    out->waiting = s->waiting;
    pthread_mutex_unlock(&s->lock);
}

const char *sched_phase_name(sched_phase p)
{
    static const char *const name[SCHED_PHASES] = {"gemm", "rematerialize", "seal", "attention",
                                                   "sample"};

    assert((unsigned)p < SCHED_PHASES);
    return name[p];
}
