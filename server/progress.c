/* progress.c - draws the bar. A terminal is slower than the work: ten times a second at most.
 */
#include "server/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "engine/clock.h"

enum { BAR = 40, PAUSE_NS = 100000000 };

void progress_show(progress *p, double done)
{
    static const char full[] = "########################################";
    const uint64_t now = clock_ns();
    unsigned left;

    if (!isatty(STDERR_FILENO)) return; /* a log should not hold a thousand bars */
    /* shares are guesses, and a part may be shorter than its share */
    if (done < p->shown) done = p->shown; /* a bar never runs backwards */
    if (!p->started_ns) p->started_ns = now;
    if (p->shown_ns && now - p->shown_ns < PAUSE_NS) return;
    p->shown_ns = now;
    p->shown = done;
    fprintf(stderr, "\r[%-*.*s] %3.0f %%", BAR, (int)(done * BAR), full, done * 100);
    if (done > 0 && now - p->started_ns > 10 * (uint64_t)PAUSE_NS) { /* too early to tell */
        left = (unsigned)(clock_seconds_between(p->started_ns, now) * (1 - done) / done + .5);
        fprintf(stderr, ", %u:%02u left ", left / 60, left % 60);
    }
    fflush(stderr);
}

void progress_clear(progress *p)
{
    if (p->shown_ns) fprintf(stderr, "\r%*s\r", BAR + 32, "");
    *p = (progress){0};
}
