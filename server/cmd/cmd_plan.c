/* cmd_plan.c - `xquantd plan`: how many conversations a machine holds in which mode, and which
 * one to serve with. Not to be taken for the plan files of klt modes, which calibrate makes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cmd/command.h"
#include "server/cmd/probe.h"
#include "server/cmd/sizing.h"
#include "server/plans.h"
#include "server/runtime.h"
#include "server/text.h"

/* kv16, modes without a plan, and klt at the ratios that its plan has measured. */
static const char *const plain_modes[] = {"kivi8", "kivi4", "xq4", "cl3"};
enum { PLAIN = sizeof plain_modes / sizeof plain_modes[0] };
enum { MODES = 1 + PLAIN + PLAN_MAX_MEASURED, COMMAND_BYTES = 4600 };

typedef struct session {
    const config *c;
    runtime runtime;
    memory_limit limit; /* its bytes: --ram, or what is free here */
    plans_choice found;
    char by_auto[16]; /* the mode that `auto` takes */
    sizing_wish wish;
    sizing_mode modes[MODES];
    size_t n;
    const sizing_mode *choice;
    char command[COMMAND_BYTES];
    char about[4400];
} session;

/* --- finding out --- */

/* kl < 0: not known. A mode that this model cannot have is left out. */
static err add_mode(session *s, const char *mode, const plan *p, double kl)
{
    sizing_mode *at = &s->modes[s->n];
    err e;

    *at = (sizing_mode){.plan = p, .kl = kl};
    snprintf(at->mode, sizeof at->mode, "%s", mode);
    e = sizing_measure(&s->runtime, &s->wish, at);
    /* xq with grouped heads wider than the model, for one. */
    if (e == ERR_MODEMODEL) return ERR_OK;
    if (e == ERR_OK) e = probe_attach(&s->runtime, mode, p, &at->attach_seconds);
    if (e != ERR_OK) return e;
    at->attach_seconds *= (double)s->wish.tokens;
    s->n++;
    return ERR_OK;
}

/* Any ratio can be served; those that were measured can be told apart. */
static err add_ratios(session *s, const plan *p)
{
    const size_t n = plan_read_about(p).measured;
    const plan_measured *list = plan_read_measured(p);
    char mode[16];

    for (size_t i = 0; i < n; i++) {
        const double ratio = (double)list[i].ratio;

        if (ratio < PLAN_RATIO_MIN) continue;
        snprintf(mode, sizeof mode, "klt%g", ratio);
        TRY(add_mode(s, mode, p, plan_kl(p, ratio)));
    }
    return ERR_OK;
}

/* The exact one as the measure, then what needs no plan, though one may know how far it is from
 * exact. */
static err add_modes(session *s)
{
    const plan *p = s->found.plan;

    TRY(add_mode(s, "kv16", NULL, SIZING_EXACT));
    for (size_t i = 0; i < PLAIN; i++)
        TRY(add_mode(s, plain_modes[i], NULL, p ? plan_plain_kl(p, plain_modes[i]) : -1));
    return p ? add_ratios(s, p) : ERR_OK;
}

/* Without a mode of the plan's, what cache_open would make of it: a second rule here went its
 * own way with a model whose K and V are wider than its layer inputs. */
static err resolve_auto(session *s)
{
    sizing_mode m = {.mode = "auto"};

    snprintf(s->by_auto, sizeof s->by_auto, "%s", s->found.mode);
    if (*s->by_auto) return ERR_OK;
    TRY(sizing_measure(&s->runtime, &s->wish, &m));
    snprintf(s->by_auto, sizeof s->by_auto, "%s", m.sizes.mode);
    return ERR_OK;
}

/* Ready to be pasted, with the sizes spelt out: `auto` would divide what is free at that
 * moment. */
static void write_command(session *s)
{
    const sizing_mode *m = s->choice;
    const bool named = s->c->model && *s->c->model;

    snprintf(
        s->command, sizeof s->command,
        "xquantd serve%s%s --cache %s --cache-size %lluMiB --ctx-size %zu --max-running %d",
        named ? " --model " : "", named ? s->runtime.model_path : "", m->mode,
        (unsigned long long)(m->sizes.pool_bytes >> 20), s->wish.tokens,
        (int)s->runtime.max_running);
}

/* What a name of --cache would find, and what `auto` would take of it. */
static err find_plan(session *s)
{
    const runtime *r = &s->runtime;

    return plans_best(r->model_path, r->file, plans_max_kl(s->c->max_kl), &s->found);
}

/* Weights are packed although only their size is wanted: probe_attach needs those of K and V.
 */
static err open_model(session *s)
{
    const size_t asked = (size_t)s->c->tokens;
    char text[24];

    TRY(command_open_model(&s->runtime, s->c, s->about, sizeof s->about));
    s->wish = (sizing_wish){.ram_bytes = s->limit.bytes,
                            .users = (uint64_t)s->c->users,
                            .tokens = asked,
                            .max_kl = s->c->max_kl};
    /* As long a conversation as the model was trained for, but no longer than what capacity is
     * usually told for. */
    if (!asked)
        s->wish.tokens = s->runtime.weights->ctx_train < RUNTIME_COUNTED_TOKENS
                             ? s->runtime.weights->ctx_train
                             : RUNTIME_COUNTED_TOKENS;
    snprintf(s->about, sizeof s->about, "weights take %s",
             memory_report_bytes(s->runtime.weights->weight_bytes, text));
    return s->runtime.weights->weight_bytes < s->limit.bytes ? ERR_OK : ERR_NOFIT;
}

/* --- telling --- */

/* The mode that `auto` takes is marked: it goes by KL alone and knows nothing of users. */
static void print_mode(const session *s, const sizing_mode *m)
{
    char kl[24] = "unknown", bytes[24], count[32], attach[24] = "none";

    if (m->kl >= 0) snprintf(kl, sizeof kl, m->kl > 0 ? "%.5f" : "%.0f", m->kl);
    if (m->attach_seconds > 0)
        snprintf(attach, sizeof attach, "%.0f ms", m->attach_seconds * 1e3);
    printf("%-8s %8s %12s %14s  %-4s %9s%s%s\n", m->mode, kl,
           memory_report_bytes(m->context_bytes, bytes),
           memory_report_count(m->contexts, count), m->contexts >= s->wish.users ? "yes" : "no",
           attach, strcmp(m->mode, s->by_auto) == 0 ? "  <- auto" : "",
           m->kl >= 0 && !sizing_is_near(m, &s->wish) ? "  KL over the limit" : "");
}

/* Does any mode hold all users, whatever its KL? */
static bool some_mode_holds(const session *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->modes[i].contexts >= s->wish.users) return true;
    return false;
}

/* In whole sentences: this is the answer, the table only its reason. */
static void print_choice(const session *s)
{
    char count[32], users[32], bytes[24], near[64] = "";

    if (s->choice->contexts >= s->wish.users) {
        printf("\n%s holds them all.\n", s->choice->mode);
        return;
    }
    if (some_mode_holds(s))
        snprintf(near, sizeof near, " that is known to be within KL %g",
                 plans_max_kl(s->wish.max_kl));
    printf("\nNo mode%s holds %s users in %s; %s holds %s, and reads the others' text anew.\n",
           near, memory_report_count(s->wish.users, users),
           memory_report_bytes(s->wish.ram_bytes, bytes), s->choice->mode,
           memory_report_count(s->choice->contexts, count));
}

/* What was not considered, and why: the table shows that they would hold more. */
static void print_left_out(const session *s)
{
    const double limit = plans_max_kl(s->wish.max_kl);
    size_t over = 0, unknown = 0;

    for (size_t i = 0; i < s->n; i++)
        if (s->modes[i].kl > limit)
            printf("%s%s (KL %.5f)", over++ ? ", " : "", s->modes[i].mode, s->modes[i].kl);
    if (over) printf(" left out: over KL %g (--max-kl).\n", limit);
    for (size_t i = 0; i < s->n; i++)
        if (s->modes[i].kl < 0) printf("%s%s", unknown++ ? ", " : "", s->modes[i].mode);
    if (unknown)
        printf(" left out: KL with this model unknown (`xquantd calibrate` measures it).\n");
    if (s->found.passed.e != ERR_OK)
        printf("%s: %s\n", s->found.passed.field, err_text(s->found.passed.e));
    if (!s->found.plan)
        printf("`xquantd calibrate --model %s` makes a plan, which holds more.\n",
               s->runtime.model_path);
}

static bool print_table(const session *s)
{
    char weights[24], ram[24], users[32], tokens[24];

    printf("%s: weights %s of %s; %s users, contexts of %s tokens\n\n", s->runtime.model_name,
           memory_report_bytes(s->runtime.weights->weight_bytes, weights),
           memory_report_bytes(s->limit.bytes, ram), memory_report_count(s->wish.users, users),
           memory_report_tokens(s->wish.tokens, tokens));
    printf("%-8s %8s %12s %14s  %-4s %9s\n", "mode", "KL", "a context", "contexts", "fit",
           "attach");
    for (size_t i = 0; i < s->n; i++) print_mode(s, &s->modes[i]);
    print_choice(s);
    print_left_out(s);
    printf("\n  %s\n", s->command);
    return fflush(stdout) == 0;
}

static void add_mode_json(text_builder *t, const session *s, const sizing_mode *m)
{
    const unsigned long long factors = m->sizes.weight_bytes; /* with those of its plan */

    text_addf(t, "{\"mode\":\"%s\",\"kl\":", m->mode);
    text_addf(t, m->kl >= 0 ? "%.6g" : "null", m->kl);
    text_addf(t, ",\"bytes_per_context\":%llu,\"contexts\":%llu,\"fits\":%s",
              (unsigned long long)m->context_bytes, (unsigned long long)m->contexts,
              m->contexts >= s->wish.users ? "true" : "false");
    text_addf(t, ",\"pool_bytes\":%llu,\"workspace_bytes\":%llu",
              (unsigned long long)m->sizes.pool_bytes,
              (unsigned long long)m->sizes.workspace_bytes);
    text_addf(t, ",\"scratch_bytes\":%llu,\"plan_bytes\":%llu,\"factor_bytes\":%llu",
              (unsigned long long)m->scratch_bytes, m->plan ? factors : 0,
              m->plan ? 0 : factors);
    text_addf(t, ",\"attach_ms\":%.6g,\"within_max_kl\":%s}", m->attach_seconds * 1e3,
              sizing_is_near(m, &s->wish) ? "true"
              : m->kl < 0                 ? "null"
                                          : "false");
}

static bool print_json(const session *s)
{
    text_builder t = {0};
    char *text;

    text_add_string(&t, "{\"model\":");
    text_add_json_string(&t, s->runtime.model_name);
    text_addf(&t, ",\"ram_bytes\":%llu,\"weight_bytes\":%zu,\"users\":%llu,\"tokens\":%zu",
              (unsigned long long)s->limit.bytes, s->runtime.weights->weight_bytes,
              (unsigned long long)s->wish.users, s->wish.tokens);
    text_addf(&t, ",\"max_kl\":%g,\"modes\":[", plans_max_kl(s->wish.max_kl));
    for (size_t i = 0; i < s->n; i++) {
        if (i) text_add_string(&t, ",");
        add_mode_json(&t, s, &s->modes[i]);
    }
    text_addf(&t, "],\"auto\":\"%s\",\"choice\":\"%s\",\"fits\":%s,\"command\":", s->by_auto,
              s->choice->mode, s->choice->contexts >= s->wish.users ? "true" : "false");
    text_add_json_string(&t, s->command);
    text_add_string(&t, "}\n");
    text = text_take(&t, NULL);
    if (text) fputs(text, stdout);
    free(text);
    return text && fflush(stdout) == 0;
}

/* --- the run --- */

static err run_session(session *s)
{
    TRY(open_model(s));
    snprintf(s->about, sizeof s->about, "%s", s->runtime.model_path);
    TRY(find_plan(s));
    TRY(add_modes(s));
    TRY(resolve_auto(s));
    s->choice = sizing_choose(s->modes, s->n, &s->wish);
    write_command(s);
    s->about[0] = '\0';
    /* A write that failed may have left no errno, or an older one. */
    errno = EIO;
    return (s->c->json ? print_json(s) : print_table(s)) ? ERR_OK : ERR_SYSTEM;
}

static int run(config *c)
{
    session s = {.c = c, .limit = memory_report_limit("")};
    err e;

    /* What is free is not what there is: other programs keep what they have. */
    s.limit.bytes = c->ram != CONFIG_AUTO ? c->ram : s.limit.free;
    c->ctx_size = c->tokens; /* positions that the model prepares, and the probe needs */
    if (c->tokens && c->tokens < PROBE_BLOCKS * 512) c->ctx_size = PROBE_BLOCKS * 512;
    e = run_session(&s);
    if (e != ERR_OK)
        fprintf(stderr, "xquantd: %s%s%s\n", s.about, *s.about ? ": " : "",
                e == ERR_SYSTEM && errno ? strerror(errno) : err_text(e));
    plan_close(s.found.plan);
    runtime_close(&s.runtime);
    return e == ERR_OK ? 0 : 1;
}

int cmd_plan(int argc, char **argv)
{
    return command_run(CONFIG_PLAN, argc, argv, run);
}
