/* trial.h - a model file that `convert` has made, run: on a text that says which numbers count,
 * and beside another one. */
#ifndef SERVER_CONVERT_TRIAL_H
#define SERVER_CONVERT_TRIAL_H

#include "engine/team.h"
#include "server/fault.h"
#include "xcache/calibrate/importance.h"

/* A model that is open, and a text cut into rows for it. */
typedef struct trial trial;

/* Open the file at path, which is read as it is: its products take floats where `exact`. False:
 * a sentence that names the file at fault. The caller closes, also then. */
bool trial_open(trial **out, const char *path, team *t, bool exact, fault *why);
void trial_close(trial *t);

/* Which numbers count on a text file, in rows of 512 tokens, at most 256 of them. */
bool trial_weigh(const trial *t, const char *text, importance **out, fault *why);

/* How far the second is from the first on a text file. */
typedef struct trial_distance {
    double kl, top1, ppl[2]; /* mean KL(first || second) in nats; share of equal best tokens */
    size_t tokens;
} trial_distance;
bool trial_compare(const trial *first, const trial *second, const char *text,
                   trial_distance *out, fault *why);

#endif
