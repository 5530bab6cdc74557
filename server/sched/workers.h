/* workers.h - threads that run jobs for a loop, behind the border of job.h.
 *
 * For what must leave the loop but needs no scheduler: tokenizing a prompt. */
#ifndef SERVER_SCHED_WORKERS_H
#define SERVER_SCHED_WORKERS_H

#include <uv.h>

#include "engine/err.h"
#include "server/sched/job.h"

typedef struct workers workers;

/* Start `n` threads that run jobs for `loop`; at most `limit` jobs wait. ERR_NOMEM.
 * Loop thread only, like everything here. The caller closes *out. */
err workers_open(workers **out, uv_loop_t *loop, int n, int limit);

/* Hand `j` over. On ERR_OK the workers own j until j->done(j, ...) runs on the
 * loop thread, exactly once. On ERR_BUSY the caller still owns j. */
err workers_submit(workers *w, job *j);

/* Refuse new jobs, wait for running ones, deliver every done callback (ERR_CANCELED
 * for jobs that never ran), then close. The memory goes when the loop next runs. */
void workers_close(workers *w);

#endif
