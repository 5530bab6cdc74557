/* plan_maker.c - calibrates a loaded model on a corpus, and tells how it goes.
 *
 *   share     0 ... TELL_SHARE          ... 1
 *   stderr    bar       "about 4 min"    bar
 *
 * Plans are made for blocks of CACHE_BLOCK_TOKENS whatever the runtime's are: what is learned
 * does not depend on them, and a plan would record another KL for each. */
#include "server/cmd/plan_maker.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "server/cmd/corpus.h"
#include "server/folders.h"
#include "server/plans.h"
#include "server/progress.h"
#include "xcache/calibrate/calibrate.h"

/* Reading the text with attention written out takes about as long as all the rest. */
static const double OPENING = 0.5;

/* Sooner the first row, whose pages are touched for the first time, would count for all. */
static const double TELL_SHARE = 0.02;
enum { TELL_SECONDS = 5, PATH_BYTES = 4200 };

typedef struct teller {
    progress bar;
    uint64_t start;
    bool told;
} teller;

/* In minutes, for that is all it is worth. */
static void tell_duration(teller *t, double share)
{
    const double passed = clock_seconds_between(t->start, clock_ns()), all = passed / share;

    if (t->told || passed < TELL_SECONDS || share < TELL_SHARE) return;
    t->told = true;
    progress_clear(&t->bar);
    if (all < 90)
        fprintf(stderr, "calibration takes about %.0f s\n", all);
    else
        fprintf(stderr, "calibration takes about %.0f min\n", all / 60);
}

static void show(void *arg, double share)
{
    teller *t = arg;

    tell_duration(t, share);
    progress_show(&t->bar, share);
}

static err calibrate(const runtime *r, const plan_maker_wish *w, const corpus *c, plan **out,
                     size_t *memory)
{
    const reader_model parts = {r->weights, &r->kern, r->team, CACHE_BLOCK_TOKENS};
    teller t = {.start = clock_ns()};
    const stage all = {show, &t, 0, 1}, first = stage_part(&all, 0, OPENING),
                rest = stage_part(&all, OPENING, 1 - OPENING);
    calibration *made = NULL;
    err e = calibrate_open(&made, r->file, &parts, &c->learn, c->held, &first);

    if (e == ERR_OK)
        e = calibrate_make(made, w->predictor ? *w->predictor : plan_maker_default(r), &rest,
                           out);
    if (e == ERR_OK && memory) *memory = calibrate_bytes(made);
    calibrate_close(made);
    progress_clear(&t.bar);
    return e;
}

/* What ships, or the one file that was named. */
static err read_corpus(const runtime *r, const plan_maker_wish *w, corpus *out, fault *why)
{
    static const char *const shipped[PLAN_TEXTS] = {[PLAN_PROSE] = "models/calibration.txt",
                                                    [PLAN_DIALOGUE] = "models/dialogues.jsonl",
                                                    [PLAN_CODE] = "models/code.txt"};
    char paths[PLAN_TEXTS][PATH_BYTES];
    corpus_files files = {.path = {w->text}, .chat = r->chat.templates};

    for (int k = 0; !w->text && k < PLAN_TEXTS; k++) {
        folders_find_shipped(shipped[k], paths[k], sizeof paths[k]);
        files.path[k] = paths[k];
    }
    return corpus_open(out, r->tokens, r->weights->ctx, &files, why);
}

err plan_maker_run(const runtime *r, const plan_maker_wish *w, plan **out, size_t *memory,
                   fault *why)
{
    corpus c = {0};
    err e = read_corpus(r, w, &c, why);

    if (e == ERR_OK) e = calibrate(r, w, &c, out, memory);
    corpus_close(&c);
    return e;
}

plan_predictor plan_maker_default(const runtime *r)
{
    const model *m = r->weights;
    const plan_about sizes = {.D = m->D, .L = m->L, .E = m->E, .C = m->C};

    return plan_default_predictor(&sizes, gguf_file_bytes(r->file));
}

err plan_maker_open(const runtime *r, const char *mode, const plan_predictor *form, plan **out,
                    fault *why)
{
    const plan_maker_wish w = {.predictor = form};
    char *path;
    err e = plans_open_with(r->model_path, mode, form, r->file, out, why);

    if (e != ERR_NOPLAN) return e;
    e = plan_maker_run(r, &w, out, NULL, why);
    if (e != ERR_OK) return err_blame(why, e, mode);
    path = plans_cached(r->model_path, form);
    if (path) (void)plan_write(*out, path); /* the next run makes it again */
    free(path);
    return ERR_OK;
}
