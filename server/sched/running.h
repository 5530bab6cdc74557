/* running.h - who runs, or is about to: for those who cannot ask the batch, which is another
 * thread's. No thread of its own: the caller has the lock. */
#ifndef SERVER_SCHED_RUNNING_H
#define SERVER_SCHED_RUNNING_H

#include <stddef.h>

#include "engine/err.h"
#include "server/sched/generation.h"

typedef struct running {
    generation **list; /* [2 * most] borrowed: a group is noted before the batch has said
                        * whether it has room */
    size_t n;
} running;

/* `most` may run at once. ERR_NOMEM. The caller closes. */
err running_open(running *r, size_t most);
void running_close(running *r);

void running_note(running *r, const generation_group *w);
void running_forget(running *r, const generation *g);
void running_forget_group(running *r, const generation_group *w);

/* Set the cancel of all. */
void running_cancel(running *r);

#endif
