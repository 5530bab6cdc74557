/* cmd_calibrate.c - `xquantd calibrate`: makes the plan of a klt mode for a model.
 *
 * Making takes minutes, so all that can go wrong at its end is tried at its beginning: the
 * folder that the plan goes to, the predictor, the length of the text. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "engine/clock.h"
#include "server/cmd/command.h"
#include "server/cmd/plan_maker.h"
#include "server/plans.h"
#include "server/runtime.h"
#include "server/text.h"

/* What was made, and where it is; or what is at fault, and why ("": as its err says). */
typedef struct outcome {
    plan *plan;
    char *path;
    size_t memory;
    double seconds;
    char about[4352], why[128];
} outcome;

/* The ratio as its mode's name writes it, so that both are the same number: --ratio 7.5000001
 * would make a plan that no --cache can name. */
static double name_ratio(double ratio)
{
    char text[32];

    snprintf(text, sizeof text, "%g", ratio);
    return strtod(text, NULL);
}

/* --- output --- */

static bool print_json(const runtime *r, const outcome *o)
{
    const plan_about a = plan_read_about(o->plan);
    text_builder t = {0};
    char name[32], *text;

    text_add_string(&t, "{\"model\":");
    text_add_json_string(&t, r->model_name);
    text_add_string(&t, ",\"plan\":");
    text_add_json_string(&t, o->path);
    text_addf(&t, ",\"cache\":\"klt%g\",\"ratio\":%g,\"predictor\":\"%s\",\"bytes\":%zu",
              a.ratio, a.ratio, plans_predictor_name(a.predictor, name), plan_bytes(o->plan));
    text_addf(&t, ",\"code_bits_per_token\":%zu,\"kl\":%.6g,\"kl_tokens\":%zu", a.code_bits,
              a.kl, a.kl_tokens);
    text_addf(&t, ",\"seconds\":%.3f,\"memory_bytes\":%zu}\n", o->seconds, o->memory);
    text = text_take(&t, NULL);
    if (text) fputs(text, stdout);
    free(text);
    return text && fflush(stdout) == 0;
}

static bool print_text(const outcome *o)
{
    const plan_about a = plan_read_about(o->plan);
    char name[32];

    printf("%s\nklt%g, predictor %s, %.1f MB; %.0f s, %.0f MB of memory\n", o->path, a.ratio,
           plans_predictor_name(a.predictor, name), (double)plan_bytes(o->plan) * 1e-6,
           o->seconds, (double)o->memory * 1e-6);
    printf("KL %.5f nats over %zu held-out tokens of the text (own block exact)\n", a.kl,
           a.kl_tokens);
    return fflush(stdout) == 0;
}

/* --- the run --- */

/* What is to be made, from the options. */
static err read_wish(const config *c, const runtime *r, outcome *o, plan_maker_wish *w)
{
    *w = (plan_maker_wish){
        .ratio = name_ratio(c->ratio), .max_kl = c->max_kl, .text = *c->text ? c->text : NULL};
    if (plans_parse_predictor(c->predict, r->weights->D, &w->predictor)) return ERR_OK;
    snprintf(o->about, sizeof o->about, "--predict %.64s", c->predict);
    snprintf(o->why, sizeof o->why, "is none of: full none rank:N, N up to %zu", r->weights->D);
    return ERR_RANGE;
}

/* Where a plan of that ratio goes; the caller frees. */
static char *choose_path(const config *c, const runtime *r, double ratio, plan_predictor p)
{
    if (*c->out) return strdup(c->out);
    return plans_beside(r->model_path, r->weights->D, ratio, p);
}

/* Minutes of work should not end at a folder that is not there. */
static err check_path(const config *c, const runtime *r, const plan_maker_wish *w, outcome *o)
{
    char *path = choose_path(c, r, w->ratio, w->predictor);
    err e = ERR_NOMEM;

    if (path) {
        e = plan_try_path(path);
        snprintf(o->why, sizeof o->why, "%s", e == ERR_SYSTEM ? strerror(errno) : "");
        snprintf(o->about, sizeof o->about, "%.4000s", path);
    }
    free(path);
    return e;
}

/* What failed while the plan was made, in its own words. */
static void explain_failure(const runtime *r, const plan_maker_wish *w, err e, outcome *o)
{
    const char *text = w->text ? w->text : "the text that ships";
    const char *system = strerror(errno); /* before anything below may change it */

    *o->why = '\0';
    if (e == ERR_READ || e == ERR_EMPTY || e == ERR_UTF8)
        snprintf(o->about, sizeof o->about, "%.4000s", text);
    else if (w->max_kl > 0)
        snprintf(o->about, sizeof o->about, "--max-kl %g", w->max_kl);
    else
        snprintf(o->about, sizeof o->about, "--ratio %g", w->ratio);
    if (e == ERR_READ)
        snprintf(o->why, sizeof o->why, "%s", system);
    else if (e == ERR_EMPTY)
        snprintf(o->why, sizeof o->why, "too short: %zu tokens are needed",
                 plan_maker_text_tokens(r));
    else if (e == ERR_RANGE)
        snprintf(o->why, sizeof o->why, "no ratio from %d to %d is so close", PLAN_RATIO_MIN,
                 PLAN_RATIO_MAX);
    else if (e == ERR_SYSTEM)
        snprintf(o->why, sizeof o->why, "the text and this model give no plan");
}

static err write_plan(const config *c, const runtime *r, outcome *o)
{
    const plan_about a = plan_read_about(o->plan);
    err e;

    o->path = choose_path(c, r, a.ratio, a.predictor);
    if (!o->path) return ERR_NOMEM;
    e = plan_write(o->plan, o->path);
    snprintf(o->why, sizeof o->why, "%s", e == ERR_SYSTEM ? strerror(errno) : "");
    snprintf(o->about, sizeof o->about, "%.4000s", o->path);
    return e;
}

static err calibrate(const config *c, const runtime *r, outcome *o)
{
    const uint64_t start = clock_ns();
    plan_maker_wish w;
    err e;

    TRY(read_wish(c, r, o, &w));
    TRY(check_path(c, r, &w, o));
    e = plan_maker_run(r, &w, &o->plan, &o->memory);
    if (e != ERR_OK) {
        explain_failure(r, &w, e, o);
        return e;
    }
    o->seconds = clock_seconds_between(start, clock_ns());
    return write_plan(c, r, o);
}

static int run(config *c)
{
    outcome o = {0};
    runtime r;
    err e = command_open_measured(&r, c, o.about, sizeof o.about);

    if (e == ERR_OK) e = calibrate(c, &r, &o);
    if (e == ERR_OK && !(c->json ? print_json(&r, &o) : print_text(&o))) {
        e = ERR_SYSTEM;
        snprintf(o.about, sizeof o.about, "standard output");
        snprintf(o.why, sizeof o.why, "%s", strerror(errno));
    }
    if (e != ERR_OK)
        fprintf(stderr, "xquantd: %s: %s\n", o.about, *o.why ? o.why : err_text(e));
    plan_close(o.plan);
    free(o.path);
    runtime_close(&r);
    return e != ERR_OK;
}

int cmd_calibrate(int argc, char **argv)
{
    return command_run(CONFIG_CALIBRATE, argc, argv, run);
}
