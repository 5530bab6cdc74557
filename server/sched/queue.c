/* queue.c - a list in the order of turns.
 *
 * A turn is a number of a round: a group's is one more than that of its tenant's last one that
 * waits, at least one more than the turn that was taken last. So the list, sorted by turn, has
 * one group of each tenant a round, and who comes late joins the round that is being served:
 *
 *   tenant 1 sends a b c d, then tenant 2 x y:   a1 x1 | b2 y2 | c3 | d4
 *   after a was taken (turn 1) tenant 3 sends z: x1 | b2 y2 z2 | c3 | d4
 *
 * Nothing is kept of a tenant that does not wait, so a turn is neither saved up nor owed, and
 * no table of tenants grows. Both walks are linear in what waits, at most --max-queue. */
#include "server/sched/queue.h"

/* What a group waits as; the same for all of its members. */
static const generation_in *wish(const generation_group *w)
{
    return &w->members[0]->in;
}

/* Put w behind `before`; NULL: first. */
static void link_behind(queue *q, generation_group *before, generation_group *w)
{
    generation_group *after = before ? before->next : q->first;

    w->prev = before;
    w->next = after;
    *(before ? &before->next : &q->first) = w;
    *(after ? &after->prev : &q->last) = w;
    q->n++;
    q->answers += w->n;
}

void queue_remove(queue *q, generation_group *w)
{
    *(w->prev ? &w->prev->next : &q->first) = w->next;
    *(w->next ? &w->next->prev : &q->last) = w->prev;
    w->next = w->prev = NULL;
    q->n--;
    q->answers -= w->n;
}

/* The last of w's tenant from `from` on towards the first; NULL: none. */
static generation_group *find_tenant(generation_group *from, const generation_group *w)
{
    while (from && wish(from)->tenant != wish(w)->tenant) from = from->prev;
    return from;
}

/* Behind all whose turn is not later: within a round who came first goes first. */
static void link_by_turn(queue *q, generation_group *w)
{
    generation_group *before = q->last;

    while (before && before->turn > w->turn) before = before->prev;
    link_behind(q, before, w);
}

/* w and an earlier one of its tenant change places: priority moves a tenant's own requests
 * only, so no tenant can raise itself above another. */
static void swap(queue *q, generation_group *earlier, generation_group *w)
{
    const uint64_t turn = w->turn;

    queue_remove(q, w);
    w->turn = earlier->turn;
    link_behind(q, earlier->prev, w);
    queue_remove(q, earlier);
    earlier->turn = turn;
    link_by_turn(q, earlier);
}

bool queue_add(queue *q, generation_group *w)
{
    const generation_group *mine = find_tenant(q->last, w);
    generation_group *earlier;

    if (q->n >= q->limit) return false;
    w->turn = (mine && mine->turn > q->turn ? mine->turn : q->turn) + 1;
    link_by_turn(q, w);
    while ((earlier = find_tenant(w->prev, w)) && wish(earlier)->priority > wish(w)->priority)
        swap(q, earlier, w);
    return true;
}

generation_group *queue_take(queue *q)
{
    generation_group *w = q->first;

    if (w) queue_take_early(q, w);
    return w;
}

/* A turn that is still to come stays so: those before w in this round are not late. */
void queue_take_early(queue *q, generation_group *w)
{
    if (w == q->first && w->turn > q->turn) q->turn = w->turn;
    queue_remove(q, w);
}

/* q->turn stays: the round goes on from w whether it is in the list or not. */
void queue_put_back(queue *q, generation_group *w)
{
    link_behind(q, NULL, w);
}
