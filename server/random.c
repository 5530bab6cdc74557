/* random.c - the kernel's random numbers. */
#include "server/random.h"

#include <stdio.h>
#include <sys/random.h>

#include "engine/clock.h"

/* A sandbox may forbid the call. No secret depends on these numbers, so an answer is better
 * than none: the clock, spread over all bits by the golden ratio's (Knuth, 6.4). */
uint64_t random_number(void)
{
    uint64_t x;

    if (getrandom(&x, sizeof x, 0) == (ssize_t)sizeof x) return x;
    return clock_ns() * 0x9e3779b97f4a7c15u;
}

void random_id(char id[RANDOM_ID_BYTES], const char *prefix)
{
    snprintf(id, RANDOM_ID_BYTES, "%.15s%016llx%016llx", prefix,
             (unsigned long long)random_number(), (unsigned long long)random_number());
}
