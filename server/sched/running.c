/* running.c - a list in no order, of as many as may run at once and a group besides. */
#include "server/sched/running.h"

#include <stdlib.h>

err running_open(running *r, size_t most)
{
    *r = (running){.list = calloc(2 * most, sizeof(generation *))};
    return r->list ? ERR_OK : ERR_NOMEM;
}

void running_close(running *r)
{
    free(r->list);
    *r = (running){0};
}

void running_note(running *r, const generation_group *w)
{
    for (size_t i = 0; i < w->n; i++) r->list[r->n++] = w->members[i];
}

/* A walk for each end: no more than --max-running, once in many steps. */
void running_forget(running *r, const generation *g)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->list[i] == g) r->list[i--] = r->list[--r->n];
}

void running_forget_group(running *r, const generation_group *w)
{
    for (size_t i = 0; i < w->n; i++) running_forget(r, w->members[i]);
}

/* Only a wish: the scheduler's thread reads it at its next step and ends them in its own time.
 */
void running_cancel(running *r)
{
    for (size_t i = 0; i < r->n; i++) atomic_store(&r->list[i]->cancel, true);
}
