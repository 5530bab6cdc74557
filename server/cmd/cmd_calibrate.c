/* cmd_calibrate.c - `xquantd calibrate`: makes the plan of a model, for klt at every ratio, and
 * measures beside it what needs no plan.
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
#include "server/cmd/corpus.h"
#include "server/cmd/plan_maker.h"
#include "server/plans.h"
#include "server/runtime.h"
#include "server/text.h"

/* What was made, and where it is; or what is at fault, and why ("": as its err says). */
typedef struct outcome {
    plan *plan;
    char *path;
    plan_predictor predictor; /* that was asked for */
    size_t memory;
    double seconds;
    char about[4352], why[128];
} outcome;

/* --- output --- */

static const char *const text_names[PLAN_TEXTS] = {
    [PLAN_PROSE] = "prose", [PLAN_DIALOGUE] = "dialogue", [PLAN_CODE] = "code"};

/* Of the model's file: what --cache klt costs beside the weights. */
static double share_of_model(const runtime *r, const outcome *o)
{
    return (double)plan_bytes(o->plan) / (double)gguf_file_bytes(r->file);
}

static void add_measured(text_builder *t, const char *mode, const plan_measured *m)
{
    text_addf(t, "{\"cache\":\"%s\",\"ratio\":%.4g", mode, (double)m->ratio);
    for (int k = 0; k < PLAN_TEXTS; k++) {
        if (m->kl[k] < 0) continue; /* none of that kind was there */
        text_addf(t, ",\"%s\":{\"kl\":%.6g,\"p99\":%.6g,\"top1\":%.6g}", text_names[k],
                  (double)m->kl[k], (double)m->p99[k], (double)m->top1[k]);
    }
    text_add_string(t, "}");
}

static bool print_json(const runtime *r, const outcome *o)
{
    const plan_about a = plan_read_about(o->plan);
    const plan_measured *m;
    text_builder t = {0};
    char name[32], mode[16], *text;

    text_add_string(&t, "{\"model\":");
    text_add_json_string(&t, r->model_name);
    text_add_string(&t, ",\"plan\":");
    text_add_json_string(&t, o->path);
    text_addf(&t, ",\"predictor\":\"%s\",\"bytes\":%zu,\"model_share\":%.4g,\"kl_tokens\":%zu",
              plans_predictor_name(a.predictor, name), plan_bytes(o->plan),
              share_of_model(r, o), a.kl_tokens);
    text_add_string(&t, ",\"measured\":[");
    for (size_t i = 0; (m = plan_measured_at(o->plan, i, mode)); i++) {
        if (i) text_add_string(&t, ",");
        add_measured(&t, mode, m);
    }
    text_addf(&t, "],\"seconds\":%.3f,\"memory_bytes\":%zu}\n", o->seconds, o->memory);
    text = text_take(&t, NULL);
    if (text) fputs(text, stdout);
    free(text);
    return text && fflush(stdout) == 0;
}

/* A text that was not measured has no columns; one is always there. */
static bool is_measured(const plan *p, int text)
{
    return plan_read_about(p).measured && plan_read_measured(p)[0].kl[text] >= 0;
}

static void print_mode(const plan *p, const char *mode, const plan_measured *m)
{
    printf("%-8s %6.2f", mode, (double)m->ratio);
    for (int k = 0; k < PLAN_TEXTS; k++)
        if (is_measured(p, k))
            printf("  %9.5f %8.4f %6.4f", (double)m->kl[k], (double)m->p99[k],
                   (double)m->top1[k]);
    putchar('\n');
}

static void print_measured(const plan *p)
{
    const plan_measured *m;
    char mode[16];

    printf("%-8s %6s", "", "");
    for (int k = 0; k < PLAN_TEXTS; k++)
        if (is_measured(p, k)) printf("  %-25s", text_names[k]);
    printf("\n%-8s %6s", "mode", "ratio");
    for (int k = 0; k < PLAN_TEXTS; k++)
        if (is_measured(p, k)) printf("  %9s %8s %6s", "KL", "p99", "top-1");
    putchar('\n');
    for (size_t i = 0; (m = plan_measured_at(p, i, mode)); i++) print_mode(p, mode, m);
}

static bool print_text(const runtime *r, const outcome *o)
{
    const plan_about a = plan_read_about(o->plan);
    char name[32];

    printf(
        "%s\n%.1f MB, %.0f %% of the model's file; predictor %s; %.0f s, %.0f MB of memory\n",
        o->path, (double)plan_bytes(o->plan) * 1e-6, 100 * share_of_model(r, o),
        plans_predictor_name(a.predictor, name), o->seconds, (double)o->memory * 1e-6);
    printf("KL in nats and top-1 against kv32, %zu held-out tokens of each kind\n\n",
           a.kl_tokens);
    print_measured(o->plan);
    return fflush(stdout) == 0;
}

/* --- the run --- */

/* What is to be made, from the options. */
static err read_wish(const config *c, const runtime *r, outcome *o, plan_maker_wish *w)
{
    *w = (plan_maker_wish){.text = *c->text ? c->text : NULL};
    if (!*c->predict) return ERR_OK;
    w->predictor = &o->predictor;
    if (plans_parse_predictor(c->predict, r->weights->D, &o->predictor)) return ERR_OK;
    snprintf(o->about, sizeof o->about, "--predict %.64s", c->predict);
    snprintf(o->why, sizeof o->why, "is none of: full none rank:N, N up to %zu", r->weights->D);
    return ERR_RANGE;
}

/* Where the plan goes: known before it is made. */
static err choose_path(const config *c, const runtime *r, const plan_predictor *p, outcome *o)
{
    o->path = *c->out ? strdup(c->out) : plans_beside(r->model_path, p);
    return o->path ? ERR_OK : ERR_NOMEM;
}

/* Of a path that can or could not be written. err has one word for all that a file system can
 * say: errno is read before anything else is called. */
static err explain_path(outcome *o, err e)
{
    snprintf(o->why, sizeof o->why, "%s", e == ERR_SYSTEM ? strerror(errno) : "");
    snprintf(o->about, sizeof o->about, "%.4000s", o->path);
    return e;
}

/* What failed while the plan was made, in its own words. */
static void explain_failure(const runtime *r, const fault *why, err e, outcome *o)
{
    const char *system = strerror(errno); /* before anything below may change it */

    *o->why = '\0';
    snprintf(o->about, sizeof o->about, "%.4000s", *why->field ? why->field : r->model_path);
    if (e == ERR_READ)
        snprintf(o->why, sizeof o->why, "%s", system);
    else if (e == ERR_EMPTY)
        snprintf(o->why, sizeof o->why, "too short: %zu tokens are needed",
                 corpus_text_tokens(r->tokens, r->weights->ctx));
    else if (e == ERR_SYSTEM)
        snprintf(o->why, sizeof o->why, "the text and this model give no plan");
}

static err calibrate(const config *c, const runtime *r, outcome *o)
{
    const uint64_t start = clock_ns();
    fault why = {0};
    plan_maker_wish w;
    err e;

    TRY(read_wish(c, r, o, &w));
    TRY(choose_path(c, r, w.predictor, o));
    TRY(explain_path(o, plan_try_path(o->path)));
    e = plan_maker_run(r, &w, &o->plan, &o->memory, &why);
    if (e != ERR_OK) {
        explain_failure(r, &why, e, o);
        return e;
    }
    o->seconds = clock_seconds_between(start, clock_ns());
    return explain_path(o, plan_write(o->plan, o->path));
}

static int run(config *c)
{
    outcome o = {0};
    runtime r;
    err e = command_open_measured(&r, c, o.about, sizeof o.about);

    if (e == ERR_OK) e = calibrate(c, &r, &o);
    if (e == ERR_OK && !(c->json ? print_json(&r, &o) : print_text(&r, &o))) {
        e = ERR_SYSTEM;
        snprintf(o.about, sizeof o.about, "standard output");
        snprintf(o.why, sizeof o.why, "%s", strerror(errno));
    }
    if (e != ERR_OK)
        fprintf(stderr, "xquantd: %s: %s\n", o.about, *o.why ? o.why : err_text(e));
    /* The plan was made, but not written: minutes are lost, which plan_try_path makes unlikely,
     * not impossible (a disk that fills up meanwhile). */
    plan_close(o.plan);
    free(o.path);
    runtime_close(&r);
    return e != ERR_OK;
}

int cmd_calibrate(int argc, char **argv)
{
    return command_run(CONFIG_CALIBRATE, argc, argv, run);
}
