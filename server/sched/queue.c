/* queue.c - a list in the order of turns. */
#include "server/sched/queue.h"

/* Put g behind `before`; NULL: first. */
static void link_behind(queue *q, generation *before, generation *g)
{
    generation *after = before ? before->next : q->first;

    g->prev = before;
    g->next = after;
    *(before ? &before->next : &q->first) = g;
    *(after ? &after->prev : &q->last) = g;
    q->n++;
}

void queue_remove(queue *q, generation *g)
{
    *(g->prev ? &g->prev->next : &q->first) = g->next;
    *(g->next ? &g->next->prev : &q->last) = g->prev;
    g->next = g->prev = NULL;
    q->n--;
}

/* The last of g's tenant from `from` on towards the first; NULL: none. */
static generation *find_tenant(generation *from, const generation *g)
{
    while (from && from->in.tenant != g->in.tenant) from = from->prev;
    return from;
}

/* Behind all whose turn is not later. */
static void link_by_turn(queue *q, generation *g)
{
    generation *before = q->last;

    while (before && before->turn > g->turn) before = before->prev;
    link_behind(q, before, g);
}

/* g and an earlier one change places. */
static void swap(queue *q, generation *earlier, generation *g)
{
    const uint64_t turn = g->turn;

    queue_remove(q, g);
    g->turn = earlier->turn;
    link_behind(q, earlier->prev, g);
    queue_remove(q, earlier);
    earlier->turn = turn;
    link_by_turn(q, earlier);
}

bool queue_add(queue *q, generation *g)
{
    const generation *mine = find_tenant(q->last, g);
    generation *earlier;

    if (q->n >= q->limit) return false;
    g->turn = (mine && mine->turn > q->turn ? mine->turn : q->turn) + 1;
    link_by_turn(q, g);
    while ((earlier = find_tenant(g->prev, g)) && earlier->in.priority > g->in.priority)
        swap(q, earlier, g);
    return true;
}

generation *queue_take(queue *q)
{
    generation *g = q->first;

    if (!g) return NULL;
    q->turn = g->turn;
    queue_remove(q, g);
    return g;
}

void queue_put_back(queue *q, generation *g)
{
    link_behind(q, NULL, g);
}
