/* plan_maker.h - makes the plan of a loaded model, from texts. */
#ifndef SERVER_CMD_PLAN_MAKER_H
#define SERVER_CMD_PLAN_MAKER_H

#include <stddef.h>

#include "engine/err.h"
#include "server/runtime.h"
#include "xcache/codec/plan.h"

/* What a calibration is to do. */
typedef struct plan_maker_wish {
    const plan_predictor *predictor; /* borrowed; NULL: the one that suits the model */
    const char *text;                /* a file; NULL: those that ship */
} plan_maker_wish;

/* Make a plan, with a bar on stderr, and a line that says how long it will take; r needs no
 * cache. *memory (may be NULL): bytes it took. Errors of corpus_open, `why` then the file; else
 * those of calibrate.h. The caller closes. */
err plan_maker_run(const runtime *r, const plan_maker_wish *w, plan **out, size_t *memory,
                   fault *why);

/* Open the plan of `mode` as plans_open_with does; a missing one is made, and kept in the
 * user's cache folder. */
err plan_maker_open(const runtime *r, const char *mode, const plan_predictor *form, plan **out,
                    fault *why);

/* The predictor that a plan without a word of it is made with. */
plan_predictor plan_maker_default(const runtime *r);

#endif
