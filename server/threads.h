/* threads.h - the team of engine/team.h as real threads.
 *
 * A run is a parallel-for behind a barrier that spins for a while, because the next run
 * of a step comes within microseconds, and then sleeps. The caller works too, as slot 0. */
#ifndef SERVER_THREADS_H
#define SERVER_THREADS_H

#include "engine/err.h"
#include "engine/team.h"

/* A team of n slots: the caller and n - 1 threads with signals blocked. ERR_NOMEM,
 * ERR_SYSTEM. One thread at a time may call run. The caller closes. */
err threads_open(team **out, int n);
void threads_close(team *t);

/* Cores this process may use: affinity, and the quotas of its cgroups. At least 1. */
int threads_usable_cores(void);

#endif
