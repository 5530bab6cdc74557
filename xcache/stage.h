/* stage.h - how far a long computation has come, told to whoever shows it. */
#ifndef XCACHE_STAGE_H
#define XCACHE_STAGE_H

/* tell(arg, share): share rises from 0 to 1, called by the thread that computes. A stage of a
 * computation tells of its own part only: from .. from + span of the whole. */
typedef struct stage {
    void (*tell)(void *arg, double share); /* NULL: nobody asks */
    void *arg;
    double from, span;
} stage;

/* `share` of this stage is done. */
void stage_tell(const stage *s, double share);

/* The part of s that starts at `from` and is `span` long, both as shares of s. */
stage stage_part(const stage *s, double from, double span);

#endif
