/* progress.h - a bar on stderr for work that takes minutes: share done and time left.
 *
 * Shown only where stderr is a terminal. Start with `progress p = {0}`; one thread. */
#ifndef SERVER_PROGRESS_H
#define SERVER_PROGRESS_H

#include <stdint.h>

typedef struct progress {
    uint64_t started_ns, shown_ns; /* 0: not yet */
    double shown;                  /* share that the bar shows */
} progress;

/* `done` of the work, 0 .. 1. Draws at most ten times a second. */
void progress_show(progress *p, double done);

/* Wipe the bar off the line; nothing if none was drawn. */
void progress_clear(progress *p);

#endif
