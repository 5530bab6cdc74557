/* job.h - one piece of work as it crosses from the loop to a thread that may block.
 *
 * Who owns it, in order:  loop (fills `in`)  ->  submit  ->  worker (reads `in`,
 * writes `out`)  ->  done callback on the loop (reads `out`, frees). At no time do
 * two threads own a job, so its fields need no lock; `cancel` is the one exception,
 * set by the loop when the caller hangs up or the deadline passes. */
#ifndef SERVER_SCHED_JOB_H
#define SERVER_SCHED_JOB_H

#include <stdatomic.h>

#include "engine/err.h"

typedef struct job {
    struct job *next;                  /* the queue's, while it holds the job */
    err (*work)(struct job *);         /* worker thread: may block, must not touch the loop */
    void (*done)(struct job *, err e); /* loop thread: must not block; frees the job */
    atomic_bool cancel;                /* work() polls it between steps */
    err result;                        /* the queue's */
} job;

#endif
