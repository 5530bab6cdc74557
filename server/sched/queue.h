/* queue.h - who waits, in the order in which they will run: fair between tenants.
 *
 * Each tenant has one turn a round: a tenant's k-th request comes before any other's k+1-th
 * that came later, so whoever waits alone waits for at most one request of each other. Within a
 * tenant a smaller `priority` comes first (as vLLM has it), else who came first. Bounded; the
 * links are in the groups, so nothing is allocated. No thread of its own: the caller has
 * the lock. */
#ifndef SERVER_SCHED_QUEUE_H
#define SERVER_SCHED_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/sched/generation.h"

typedef struct queue {
    generation_group *first, *last; /* by turn; borrowed */
    size_t n, limit;                /* groups */
    size_t answers;                 /* their members */
    uint64_t turn;                  /* of who was taken last */
} queue;

/* False: it is full. */
bool queue_add(queue *q, generation_group *w);

/* Whose turn it is; NULL: nobody waits. */
generation_group *queue_take(queue *q);

/* The same, but w's, which waits: it need not be its turn. */
void queue_take_early(queue *q, generation_group *w);

/* Who was taken, but cannot run yet, comes first again: nobody overtakes, so nobody starves. */
void queue_put_back(queue *q, generation_group *w);

/* g waits, and does so no longer. */
void queue_remove(queue *q, generation_group *w);

#endif
