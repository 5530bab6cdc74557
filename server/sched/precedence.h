/* precedence.h - who goes first in a step: tenants that have had less of the machine.
 *
 *   share of a tenant   least .... least + margin | more
 *   its runs            take part in every step   | are behind: they stand back, but for one
 *                                               | step in BEHIND_EVERY, which is everybody's
 *
 * Whoever is alone, or among equals, is never behind. One thread, the scheduler's. */
#ifndef SERVER_SCHED_PRECEDENCE_H
#define SERVER_SCHED_PRECEDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/sched/run.h"
#include "server/sched/share.h"

typedef struct precedence {
    share share;
    double wait_seconds; /* until a step is everybody's */
    bool tenants;        /* there are several, as far as we know: they have keys */
    bool any_behind;     /* in this step */
    bool everybody;      /* takes part in it, those who are behind too */
    bool given_up;       /* a step was, and none of everybody's has been done since */
} precedence;

/* A step begins: say of each run whether it is behind. */
void precedence_begin(precedence *p, run *const *runs, size_t n, double now);

/* Does x take part in no step for now? */
bool precedence_stands_back(const precedence *p, const run *x);

/* Would a tenant that has nothing running go before all that take part, so that the step may be
 * given up for it? Not twice in a row: others go on, whoever comes. */
bool precedence_interrupts(const precedence *p, run *const *runs, size_t n, uint64_t tenant,
                           double now);

/* The step took so long, or was given up after that. */
void precedence_end(precedence *p, double seconds, bool given_up);

#endif
