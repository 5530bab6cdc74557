/* plan_maker.h - makes the plan of a klt mode for a loaded model, from a text. */
#ifndef SERVER_CMD_PLAN_MAKER_H
#define SERVER_CMD_PLAN_MAKER_H

#include <stddef.h>

#include "engine/err.h"
#include "server/runtime.h"
#include "xcache/codec/plan.h"

/* What a calibration is to do. */
typedef struct plan_maker_wish {
    double ratio;
    double max_kl; /* > 0: the largest ratio within it instead */
    plan_predictor predictor;
    const char *text; /* a file; NULL: the one that ships */
} plan_maker_wish;

/* Tokens that a text must have: those of its rows, less their BOS. */
size_t plan_maker_text_tokens(const runtime *r);

/* Make a plan, with a bar on stderr; r needs no cache. *memory (may be NULL): bytes it took.
 * ERR_READ: the text, errno says why; ERR_EMPTY: it is too short; else errors of calibrate.h.
 * The caller closes. */
err plan_maker_run(const runtime *r, const plan_maker_wish *w, plan **out, size_t *memory);

/* Open the plan of `mode` as plans_open_with does; a missing one is made, and kept in the
 * user's cache folder. */
err plan_maker_open(const runtime *r, const char *mode, plan_predictor form, plan **out,
                    fault *why);

#endif
