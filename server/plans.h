/* plans.h - where the plan of a model is. What makes one is server/cmd/plan_maker.h.
 *
 * MODEL.xplan (of a predictor that was asked for: MODEL.rank64.xplan) is looked for beside
 * MODEL.gguf, then in $XQUANTD_PLAN_DIR, then in ${XDG_CACHE_HOME:-~/.cache}/xquantd. The first
 * that exists counts: a broken one is an error, not a reason to look on. Last come those that
 * ship with the program, which are known by their content, whatever the model's file is called.
 * One plan serves every klt<R>. */
#ifndef SERVER_PLANS_H
#define SERVER_PLANS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "xcache/codec/codec.h"
#include "xcache/codec/plan.h"

/* The file beside the model; r NULL: of the predictor that suits it, which its name says
 * nothing of. The caller frees; NULL: out of memory. */
char *plans_beside(const char *model_path, const plan_predictor *r);

/* The same name in the user's cache folder, which is made. NULL: there is none, or no memory.
 */
char *plans_cached(const char *model_path, const plan_predictor *r);

/* The plan that a model's file has by its name, in the places above and among those that ship;
 * not opened. The caller frees; NULL: there is none, or no memory. */
char *plans_named(const char *model_path);

/* Open the model's plan if `mode` is klt<R>; *out = NULL where the mode needs none. `why` is
 * "--cache MODE: FILE: part". ERR_NOPLAN: no such file; ERR_OLDPLAN: one of an older version
 * alone; else errors of plan_open. The caller closes. */
err plans_open(const char *model_path, const char *mode, const gguf *g, plan **out, fault *why);

/* The same for a plan made with that predictor; NULL: whichever the plan without a word of it
 * in its name has. */
err plans_open_with(const char *model_path, const char *mode, const plan_predictor *r,
                    const gguf *g, plan **out, fault *why);

/* The largest KL that is near enough for `auto`: --max-kl, where it is given. */
#define PLANS_MAX_KL CODEC_MAX_KL
double plans_max_kl(double asked);

enum { PLANS_REJECTED = 48 };

/* What `auto` found. */
typedef struct plans_choice {
    plan *plan;    /* NULL: there is none of this model. The caller closes */
    char mode[16]; /* the densest that is measured within max_kl: "klt12"; "": there is none */
    fault passed;  /* "FILE: part" of the first file that was passed over; e OK: none was */
    /* where the plan has no such mode, its smallest and how far that is: "klt5 (KL 0.012)";
     * "all (KL not measured)" where it has measured none; else "" */
    char rejected[PLANS_REJECTED];
} plans_choice;

/* Find the plan of the model g in the same places as plans_open, and the mode that `auto`
 * takes. Files that are broken, old or of another model are passed over. ERR_NOMEM; ERR_SYSTEM:
 * descriptors are short, or the disk fails; *out is then empty. */
err plans_best(const char *model_path, const gguf *g, double max_kl, plans_choice *out);

/* "--cache MODE, made by `xquantd calibrate ...`": what ERR_NOPLAN is about. */
void plans_explain(const char *model_path, const char *mode, char *text, size_t n);

/* "full", "none", "rank:64". False: it is none of these, or of a rank over D. */
bool plans_parse_predictor(const char *text, size_t D, plan_predictor *out);

/* The same word for a predictor, in text or a constant. */
const char *plans_predictor_name(plan_predictor r, char text[32]);

#endif
