/* precedence.c - least share first, with a little for the others.
 *
 * Strict precedence would let a tenant that sends much from a low share stop the streams of
 * others for seconds. So of the time one part in BEHIND_EVERY + 1 stays theirs: their streams
 * go on, slowly, and whoever goes first loses no more than that part. Fair queueing by turns
 * alone was not enough: with a turn each, a tenant beside one other takes twice as long as when
 * alone.
 *
 * What a tenant has had says nothing of one that comes with a crowd: it has had nothing yet,
 * and whoever was here, alone, has. So its runs besides the first count as seconds it has had,
 * a few at most. Of two tenants with one run each nobody is favoured by that. */
#include "server/sched/precedence.h"

#include <math.h>

enum { BEHIND_EVERY = 15 };

/* What a run besides a tenant's first counts as, and all of them at most: beside one with a
 * single run, who has many gets 3 parts of 8 at least. */
#define RUN_SECONDS  0.5
#define RUNS_SECONDS 2.5

static uint64_t tenant_of(const run *x)
{
    return x->generation->in.tenant;
}

/* What the tenant has had, and is about to have. */
static double had_of(const precedence *p, run *const *runs, size_t n, uint64_t tenant,
                     double now)
{
    double beside = -RUN_SECONDS;

    for (size_t i = 0; i < n; i++)
        if (tenant_of(runs[i]) == tenant) beside += RUN_SECONDS;
    return share_of(&p->share, tenant, now) + fmin(fmax(beside, 0), RUNS_SECONDS);
}

/* Of those who run; INFINITY: of nobody. */
static double least_had(const precedence *p, run *const *runs, size_t n, double now)
{
    double least = INFINITY;

    for (size_t i = 0; i < n; i++) {
        const double had = had_of(p, runs, n, tenant_of(runs[i]), now);

        if (had < least) least = had;
    }
    return least;
}

void precedence_begin(precedence *p, run *const *runs, size_t n, double now)
{
    const double least = least_had(p, runs, n, now);

    p->tenants = p->any_behind = false;
    for (size_t i = 0; i < n; i++) {
        const double had = had_of(p, runs, n, tenant_of(runs[i]), now);

        runs[i]->behind = share_goes_first(least, had);
        p->any_behind |= runs[i]->behind;
        p->tenants |= tenant_of(runs[i]) != GENERATION_ANYBODY;
    }
    p->everybody = !p->any_behind || p->wait_seconds <= 0;
}

bool precedence_stands_back(const precedence *p, const run *x)
{
    return x->behind && !p->everybody;
}

bool precedence_interrupts(const precedence *p, run *const *runs, size_t n, uint64_t tenant,
                           double now)
{
    return tenant != GENERATION_ANYBODY && !p->given_up &&
           share_goes_first(had_of(p, runs, n, tenant, now), least_had(p, runs, n, now));
}

/* Who comes while nobody is behind finds the wait full: the first step is his alone. */
void precedence_end(precedence *p, double seconds, bool given_up)
{
    if (given_up)
        p->given_up = true;
    else if (p->everybody)
        p->given_up = false;
    if (p->everybody && !given_up)
        p->wait_seconds = BEHIND_EVERY * seconds;
    else
        p->wait_seconds -= seconds;
}
