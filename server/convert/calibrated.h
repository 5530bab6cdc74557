/* calibrated.h - a folder becomes a model file that was made for a text, or measured on one.
 *
 * Both need the model as it was: it is written beside the file as F32, which holds every
 * folder's numbers, and removed again. It is loaded whole, which a conversion alone never does.
 */
#ifndef SERVER_CONVERT_CALIBRATED_H
#define SERVER_CONVERT_CALIBRATED_H

#include "server/convert/convert.h"
#include "server/convert/trial.h"

typedef struct calibrated_wish {
    convert_wish file;
    const char *calibration; /* a text that says which numbers count; NULL: all alike */
    const char *check;       /* a text to measure the file on; NULL: it is not */
} calibrated_wish;

/* Make it. *distance is filled where there is a text to measure on: of the folder's model and
 * the file. False: a sentence; the file is there all the same if only its measure failed, and
 * made->bytes says so. Main thread (convert.h). */
bool calibrated_run(const calibrated_wish *w, convert_made *made, trial_distance *distance,
                    fault *why);

#endif
