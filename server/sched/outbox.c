/* outbox.c - two lists under one lock, and the loop's way of taking them. */
#include "server/sched/outbox.h"

/* --- calls --- */

void outbox_calls_add(outbox_calls *l, sched_call *c)
{
    c->next = NULL;
    if (l->last)
        l->last->next = c;
    else
        l->first = c;
    l->last = c;
}

sched_call *outbox_calls_take(outbox_calls *l)
{
    sched_call *first = l->first;

    *l = (outbox_calls){0};
    return first;
}

/* --- in --- */

/* Lock held. `ready` is the box's alone from here until the loop has taken g out: a g that is
 * listed keeps its place, so the order is that of the oldest news. */
static void list(outbox *o, generation *g)
{
    if (g->listed) return;
    g->listed = true;
    g->ready = NULL;
    if (o->last)
        o->last->ready = g;
    else
        o->first = g;
    o->last = g;
}

void outbox_add(outbox *o, generation *g)
{
    pthread_mutex_lock(&o->lock);
    list(o, g);
    pthread_mutex_unlock(&o->lock);
}

void outbox_end(outbox *o, generation *g, err result)
{
    pthread_mutex_lock(&o->lock);
    g->result = result;
    g->ended = true; /* news that it has in the box already end it too: one callback, not two */
    list(o, g);
    pthread_mutex_unlock(&o->lock);
}

void outbox_answer(outbox *o, outbox_calls *worked)
{
    pthread_mutex_lock(&o->lock);
    for (sched_call *next, *c = outbox_calls_take(worked); c; c = next) {
        next = c->next; /* adding overwrites it */
        outbox_calls_add(&o->answered, c);
    }
    pthread_mutex_unlock(&o->lock);
}

/* uv_async_send is the one call of libuv that other threads may make. It is not made under the
 * lock: the loop would wake only to wait for it. */
void outbox_wake(outbox *o)
{
    uv_async_send(&o->wake);
}

/* --- out --- */

static void deliver_one(outbox *o, generation *g)
{
    bool ended;

    pthread_mutex_lock(&o->lock);
    g->listed = false; /* before it is looked at, see outbox.h */
    ended = g->ended;
    pthread_mutex_unlock(&o->lock);
    if (ended)
        g->done(g, g->result); /* frees g */
    else if (g->progress)
        g->progress(g);
}

/* Calls first: they were worked before the step whose tokens come after them. */
void outbox_deliver(outbox *o)
{
    generation *g;
    sched_call *answered;

    pthread_mutex_lock(&o->lock);
    g = o->first;
    o->first = o->last = NULL;
    answered = outbox_calls_take(&o->answered);
    pthread_mutex_unlock(&o->lock);
    for (sched_call *next; answered; answered = next) {
        next = answered->next;
        answered->done(answered);
    }
    for (generation *next; g; g = next) {
        next = g->ready; /* still ours: g is `listed` until its turn */
        deliver_one(o, g);
    }
}

/* libuv merges sends that come before this runs: one may stand for many. */
static void on_wake(uv_async_t *a)
{
    outbox_deliver(a->data);
}

/* --- opening, closing --- */

err outbox_open(outbox *o, uv_loop_t *loop)
{
    *o = (outbox){0};
    pthread_mutex_init(&o->lock, NULL); /* cannot fail without attributes */
    if (uv_async_init(loop, &o->wake, on_wake)) {
        pthread_mutex_destroy(&o->lock);
        return ERR_SYSTEM;
    }
    o->wake.data = o;
    return ERR_OK;
}

static void on_closed(uv_handle_t *h)
{
    const outbox *o = h->data;

    o->closed(o->user); /* frees o */
}

void outbox_close(outbox *o, void (*closed)(void *user), void *user)
{
    o->closed = closed;
    o->user = user;
    pthread_mutex_destroy(&o->lock);
    uv_close((uv_handle_t *)&o->wake, on_closed);
}
