/* clock.c - the clocks of the system, as numbers. */
#include "engine/clock.h"

#include <time.h>

/* None of these clocks can fail where the program runs: each is in Linux since 2.6. */
static uint64_t read_ns(clockid_t which)
{
    struct timespec t = {0};

    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

/* A double counts nanoseconds exactly for 104 days of uptime, and microseconds for ever. */
double clock_seconds(void)
{
    return (double)clock_ns() * 1e-9;
}

/* The difference is taken before it becomes a double, so a long uptime costs no precision. It
 * may be negative where the two moments come from two threads. */
double clock_seconds_between(uint64_t from_ns, uint64_t to_ns)
{
    return (double)(int64_t)(to_ns - from_ns) * 1e-9;
}

double clock_ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return (double)(int64_t)(to_ns - from_ns) * 1e-6;
}

uint64_t clock_unix_ns(void)
{
    return read_ns(CLOCK_REALTIME);
}

double clock_cpu_seconds(void)
{
    return (double)read_ns(CLOCK_PROCESS_CPUTIME_ID) * 1e-9;
}
