/* team.h - "run this for i of n": how the engine reaches the worker threads.
 *
 * An interface, implemented above the engine. A slot is a worker's number, 0 .. slots-1:
 * two calls that run at once have different slots, so a slot's scratch needs no lock. */
#ifndef ENGINE_TEAM_H
#define ENGINE_TEAM_H

typedef void team_task(void *arg, int i, int slot);

typedef struct team {
    int slots;
    /* Call task(arg, i, slot) once for every i in 0 .. n-1 and return when all are done.
     * Which slot gets which i is not fixed; results must not depend on it. */
    void (*run)(struct team *t, team_task *task, void *arg, int n);
} team;

/* The team of one: runs everything in the caller, slot 0. */
extern const team team_alone;

#endif
