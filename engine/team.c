/* team.c - the team of one. */
#include "engine/team.h"

static void run_alone(team *t, team_task *task, void *arg, int n)
{
    (void)t;
    for (int i = 0; i < n; i++) task(arg, i, 0);
}

const team team_alone = {.slots = 1, .run = run_alone};
