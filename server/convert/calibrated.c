/* calibrated.c - conversions with a model at work.
 *
 *   reference   the folder as F32: OUT.reference
 *   weigh       it reads the text: which numbers count
 *   file        the folder again, as it is wished, quantized by that
 *   check       reference and file read the other text side by side
 *
 * A conversion that was interrupted goes on in the same way: the reference is made anew, which
 * costs a copy, and gives the same weights, since no part of a forward pass depends on threads.
 */
#include "server/convert/calibrated.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "server/document.h"
#include "server/threads.h"

typedef struct making {
    const calibrated_wish *w;
    char reference[4400]; /* its path */
    trial *model;         /* of it */
    team *team;
    fault *why;
} making;

/* Halves do not reach as far as bfloat16 does, nor have these as many digits. */
static bool make_reference(making *k, const convert_made *named)
{
    convert_wish wish = k->w->file;
    convert_made made;

    snprintf(k->reference, sizeof k->reference, "%s.reference", named->path);
    wish.out = k->reference;
    wish.mix = mix_find("F32");
    if (!convert_run(&wish, &made, k->why)) return false;
    return trial_open(&k->model, k->reference, k->team, false, k->why);
}

/* A text that is another gives other weights, which a part of a file must not be mixed from. */
static bool name_text(const char *path, uint64_t *id, fault *why)
{
    size_t n = 0;
    char *text;

    errno = ENOMEM;
    text = document_read(path, &n);
    if (!text) return fault_refuse(why, ERR_JSON, NULL, "%s: %s", path, strerror(errno));
    *id = XXH3_64bits(text, n) | 1;
    free(text);
    return true;
}

static bool make_file(making *k, convert_made *made)
{
    convert_wish wish = k->w->file;
    importance *weights = NULL;
    bool done = true;

    if (k->w->calibration)
        done = name_text(k->w->calibration, &wish.weights_id, k->why) &&
               trial_weigh(k->model, k->w->calibration, &weights, k->why);
    wish.weights = weights;
    done = done && convert_run(&wish, made, k->why);
    importance_close(weights);
    return done;
}

static bool check_file(making *k, const convert_made *made, trial_distance *distance)
{
    trial *file = NULL;
    const bool done = trial_open(&file, made->path, k->team, false, k->why) &&
                      trial_compare(k->model, file, k->w->check, distance, k->why);

    trial_close(file);
    return done;
}

bool calibrated_run(const calibrated_wish *w, convert_made *made, trial_distance *distance,
                    fault *why)
{
    making k = {.w = w, .why = why};
    bool done;

    if (!w->calibration && !w->check) return convert_run(&w->file, made, why);
    *made = (convert_made){0};
    if (threads_open(&k.team, w->file.threads) != ERR_OK)
        return fault_refuse(why, ERR_JSON, NULL, "out of memory");
    done = convert_name(&w->file, made->path, sizeof made->path, why) &&
           make_reference(&k, made) && make_file(&k, made) &&
           (!w->check || check_file(&k, made, distance));
    trial_close(k.model);
    threads_close(k.team);
    if (*k.reference) unlink(k.reference);
    return done;
}
