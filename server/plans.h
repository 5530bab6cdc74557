/* plans.h - where the plans of klt modes are. What makes one is server/cmd/plan_maker.h.
 *
 * MODEL.klt16.xplan (another than the default predictor: MODEL.klt16.rank64.xplan) is looked
 * for beside MODEL.gguf, then in $XQUANTD_PLAN_DIR, then in
 * ${XDG_CACHE_HOME:-~/.cache}/xquantd. The first that exists counts: a broken one is an error,
 * not a reason to look on. Last come those that ship with the program, which are known by their
 * content, whatever the model's file is called. */
#ifndef SERVER_PLANS_H
#define SERVER_PLANS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "xcache/codec/plan.h"

/* The file beside the model, D its width. The caller frees; NULL: out of memory. */
char *plans_beside(const char *model_path, size_t D, double ratio, plan_predictor r);

/* The same name in the user's cache folder, which is made. NULL: there is none, or no memory.
 */
char *plans_cached(const char *model_path, size_t D, double ratio, plan_predictor r);

/* Open the plan of `mode` for the model g; *out = NULL where the mode needs none. `why` is
 * "--cache MODE: FILE: part". ERR_NOPLAN: no such file; else errors of plan_open. The caller
 * closes. */
err plans_open(const char *model_path, const char *mode, const gguf *g, plan **out, fault *why);

/* The same for a plan made with another predictor than the default, which r NULL stands for. */
err plans_open_with(const char *model_path, const char *mode, const plan_predictor *r,
                    const gguf *g, plan **out, fault *why);

/* The largest KL that is near enough for `auto`: --max-kl, where it is given. */
#define PLANS_MAX_KL 0.005
double plans_max_kl(double asked);

/* Plans of the model that `auto` passed over because of their KL. */
typedef struct plans_rejected {
    size_t n;
    char text[200]; /* "klt7.5 (KL 0.019), klt12 (KL not measured)": those that it holds */
} plans_rejected;

/* The plan that `auto` takes: of those of the model g in the same places, made with any
 * predictor, the one of the largest ratio whose recorded divergence is at most max_kl; one
 * that recorded none is unknown, and not taken. *out = NULL where there is none; files that are
 * broken or of another model are passed over.
 *   rejected  out  those whose KL was too large or unknown; may be NULL
 * ERR_NOMEM; ERR_SYSTEM: descriptors are short, or the disk fails. The caller closes. */
err plans_best(const char *model_path, const gguf *g, double max_kl, plans_rejected *rejected,
               plan **out);

enum { PLANS_LISTED = 16 };

/* Every plan of the model g in the same places that `--cache klt<R>` would find, one a ratio,
 * and at most PLANS_LISTED. Files that are broken or of another model are passed over.
 * ERR_NOMEM, ERR_SYSTEM. The caller closes all *n, also then. */
err plans_list(const char *model_path, const gguf *g, plan *list[PLANS_LISTED], size_t *n);

/* "--cache MODE, made by `xquantd calibrate ...`": what ERR_NOPLAN is about. */
void plans_explain(const char *model_path, const char *mode, char *text, size_t n);

/* "full", "none", "rank:64", or "" for what suits width D. False: it is none of these, or of a
 * rank over D. */
bool plans_parse_predictor(const char *text, size_t D, plan_predictor *out);

/* The same word for a predictor, in text or a constant. */
const char *plans_predictor_name(plan_predictor r, char text[32]);

#endif
