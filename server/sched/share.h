/* share.h - how much of the machine each tenant has had lately.
 *
 * Seconds of steps, fading: after FADE_SECONDS a third of them is left. Whoever has had less
 * than another by more than a margin goes first (batch.c), so a tenant that asks now and then
 * is served as if it were alone, one that asks all the time gets an equal share, and nobody
 * saves up more than the last seconds. Bounded; no thread of its own. */
#ifndef SERVER_SCHED_SHARE_H
#define SERVER_SCHED_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHARE_TENANTS = 64 }; /* the one that has had least is forgotten for a new one */

typedef struct share {
    struct share_account {
        uint64_t tenant;
        double seconds, at; /* what there was of it, and when */
    } accounts[SHARE_TENANTS];
    size_t n;
} share;

/* The tenant has had so many more. `now` in seconds of any clock that never goes back. */
void share_charge(share *s, uint64_t tenant, double seconds, double now);

/* What is left of them; 0 of one that is not known. */
double share_of(const share *s, uint64_t tenant, double now);

/* Does somebody who has had `less` go before one who has had `more`? */
bool share_goes_first(double less, double more);

#endif
