/* cmd_calibrate.c - `xquantd calibrate`: makes the plan of a klt mode for a model. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "config/config.h"
#include "server/command.h"
#include "server/plans.h"
#include "server/runtime.h"
#include "server/text.h"

extern char **environ;

/* What was made, and where it is. */
typedef struct outcome {
    plan *plan;
    char *path;
    size_t memory;
    double seconds;
} outcome;

/* "full", "none", "rank:64", or "" for what suits width D. */
static bool parse_predictor(const char *text, size_t D, plan_predictor *out)
{
    char *end;
    unsigned long rank;

    if (!*text) {
        *out = plan_default_predictor(D);
    } else if (strcmp(text, "full") == 0) {
        *out = (plan_predictor){PLAN_FULL, 0};
    } else if (strcmp(text, "none") == 0) {
        *out = (plan_predictor){PLAN_NONE, 0};
    } else {
        if (strncmp(text, "rank:", 5) != 0 || text[5] < '1' || text[5] > '9') return false;
        rank = strtoul(text + 5, &end, 10);
        if (*end || rank > D) return false;
        *out = (plan_predictor){PLAN_RANK, rank};
    }
    return true;
}

/* The ratio as its mode's name writes it, so that both are the same number. */
static double name_ratio(double ratio)
{
    char text[32];

    snprintf(text, sizeof text, "%g", ratio);
    return strtod(text, NULL);
}

static const char *predictor_name(plan_predictor r, char text[32])
{
    if (r.kind != PLAN_RANK) return r.kind == PLAN_FULL ? "full" : "none";
    snprintf(text, 32, "rank:%zu", r.rank);
    return text;
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
              a.ratio, a.ratio, predictor_name(a.predictor, name), plan_bytes(o->plan));
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
           predictor_name(a.predictor, name), (double)plan_bytes(o->plan) * 1e-6, o->seconds,
           (double)o->memory * 1e-6);
    printf("KL %.5f nats over %zu held-out tokens of the text (own block exact)\n", a.kl,
           a.kl_tokens);
    return fflush(stdout) == 0;
}

/* --- the run --- */

/* Make and write the plan. `what` names what is at fault. */
static err calibrate(const config *c, const runtime *r, outcome *o, char *what, size_t n)
{
    const uint64_t start = uv_hrtime();
    plans_wish w = {
        .ratio = name_ratio(c->ratio), .max_kl = c->max_kl, .text = *c->text ? c->text : NULL};
    plan_about about;

    if (!parse_predictor(c->predict, r->weights->D, &w.predictor)) {
        snprintf(what, n, "--predict %.64s: not full, none or rank:N with N up to %zu",
                 c->predict, r->weights->D);
        return ERR_RANGE;
    }
    if (c->max_kl > 0)
        snprintf(what, n, "--max-kl %g", c->max_kl);
    else
        snprintf(what, n, "--ratio %g", w.ratio);
    if (w.text) snprintf(what + strlen(what), n - strlen(what), " --text %.4000s", w.text);
    TRY(plans_make(r, &w, &o->plan, &o->memory));
    about = plan_read_about(o->plan);
    o->path = *c->out ? strdup(c->out)
                      : plans_beside(r->model_path, about.D, about.ratio, about.predictor);
    if (!o->path) return ERR_NOMEM;
    o->seconds = (double)(uv_hrtime() - start) * 1e-9;
    snprintf(what, n, "%.4000s", o->path);
    return plan_write(o->plan, o->path);
}

/* The sentence for e: what an option or the text lacks, in its own words. */
static const char *complain(err e)
{
    if (e == ERR_SYSTEM && errno) return strerror(errno);
    if (e == ERR_EMPTY) return "the text is too short: 20,480 tokens are needed";
    if (e == ERR_READ) return "the text cannot be read";
    return err_text(e);
}

static int run(const config *c)
{
    char what[4352] = "";
    outcome o = {0};
    runtime r;
    err e = runtime_open_model(&r, c, what, sizeof what);

    errno = 0;
    if (e == ERR_OK) e = calibrate(c, &r, &o, what, sizeof what);
    if (e == ERR_OK && !(c->json ? print_json(&r, &o) : print_text(&o))) e = ERR_SYSTEM;
    if (e != ERR_OK) fprintf(stderr, "xquantd: %s: %s\n", what, complain(e));
    plan_close(o.plan);
    free(o.path);
    runtime_close(&r);
    return e != ERR_OK;
}

int cmd_calibrate(int argc, char **argv)
{
    config c;
    char *wrong = config_load(&c, CONFIG_CALIBRATE, argc, argv, environ);
    int code;

    if (wrong) {
        fprintf(stderr, "xquantd: %s\n", wrong);
        free(wrong);
        return 2;
    }
    code = run(&c);
    config_free(&c);
    return code;
}
