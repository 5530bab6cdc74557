/* clock.h - the clocks: how long something took, and what time it is.
 *
 * Spans are taken on one monotonic clock, in nanoseconds where two threads compare moments (a
 * moment is never 0, so 0 may say "not yet"), in seconds where one function measures itself;
 * who waits at a barrier is counted. It is libuv's clock too: uv_hrtime and clock_ns may be
 * mixed. Any thread. */
#ifndef ENGINE_CLOCK_H
#define ENGINE_CLOCK_H

#include <stdint.h>

/* Since some moment before the process began. About 25 ns a call. */
uint64_t clock_ns(void);
double clock_seconds(void);

/* From one moment to a later one. */
double clock_seconds_between(uint64_t from_ns, uint64_t to_ns);
double clock_ms_between(uint64_t from_ns, uint64_t to_ns);

/* Since 1970: what people read, and what may jump. */
uint64_t clock_unix_ns(void);

/* That the CPU has spent on this process, user and system. */
double clock_cpu_seconds(void);

#endif
