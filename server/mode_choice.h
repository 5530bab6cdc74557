/* mode_choice.h - the mode of a model's cache, and the plan that goes with it. */
#ifndef SERVER_MODE_CHOICE_H
#define SERVER_MODE_CHOICE_H

#include <stdbool.h>

#include "config/config.h"
#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "server/plans.h"

typedef struct mode_choice {
    char mode[16];         /* --cache, or what auto takes of a plan; else "auto" */
    struct plan *plan;     /* of a klt mode; else NULL */
    struct plan *rejected; /* auto found it, and no mode near enough; until that is told */
    char nearest[PLANS_REJECTED]; /* of that plan */
    bool plan_missing;            /* auto found none of this model */
} mode_choice;

/* Whose mode it is; both borrowed. */
typedef struct mode_model {
    const char *path;
    const gguf *file;
} mode_model;

/* Choose, and open the plan. A plan that is missing or broken is known before minutes go into
 * the weights. Errors of plans.h; DEGRADE. The caller closes, also after a failure. */
err mode_choice_open(mode_choice *m, const mode_model *of, const config *c, fault *why);
void mode_choice_close(mode_choice *m);

/* Once the cache has resolved its mode: which one is served instead of those that auto
 * rejected, if it did, and how far it is known to be from exact. */
void mode_choice_tell(mode_choice *m, const char *served, double max_kl);

#endif
