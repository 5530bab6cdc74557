/* share.c - a few accounts that fade.
 *
 * An exponential, not a window: it needs no history, and what somebody did long ago is
 * forgotten by and by. With it a tenant that keeps the machine busy stands at FADE_SECONDS, two
 * that share it at half of that each. The margin is what equals may differ by (a prompt or two)
 * without one of them being made to wait: batches of all are cheaper than turns. */
#include "server/sched/share.h"

#include <math.h>

#define FADE_SECONDS   10
#define MARGIN_SECONDS 0.5

static double fade(const struct share_account *a, double now)
{
    return a->seconds * exp((a->at - now) / FADE_SECONDS);
}

static const struct share_account *find(const share *s, uint64_t tenant)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->accounts[i].tenant == tenant) return &s->accounts[i];
    return NULL;
}

/* A place for one more: forgetting who has had least comes closest to forgetting nothing. */
static struct share_account *add(share *s, double now)
{
    struct share_account *least = s->accounts;

    if (s->n < SHARE_TENANTS) return &s->accounts[s->n++];
    for (size_t i = 1; i < s->n; i++)
        if (fade(&s->accounts[i], now) < fade(least, now)) least = &s->accounts[i];
    return least;
}

void share_charge(share *s, uint64_t tenant, double seconds, double now)
{
    const struct share_account *known = find(s, tenant);
    struct share_account *a = known ? &s->accounts[known - s->accounts] : add(s, now);

    *a = (struct share_account){tenant, (known ? fade(a, now) : 0) + seconds, now};
}

double share_of(const share *s, uint64_t tenant, double now)
{
    const struct share_account *a = find(s, tenant);

    return a ? fade(a, now) : 0;
}

bool share_goes_first(double less, double more)
{
    return less + MARGIN_SECONDS < more;
}
