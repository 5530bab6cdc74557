/* plans.c - finds the plan of a model.
 *
 *   open    klt<R>: one name in three places; the first file that exists counts; else the one
 *           that ships and is of this model
 *   best    auto: the first of the same that is valid, and the mode that its KL allows
 *
 * A name says which model a plan is for, its content says so again, with a hash of the tensors:
 * so a renamed plan is an error where it was asked for, and passed over where not. In the
 * folder that ships with the program names count for nothing: a model that was mounted or
 * downloaded under another name has the same tensors, and a namesake has others.
 *
 * Plans of version 1 had a ratio each, and said so in their names: MODEL.klt16.xplan. Where
 * there is nothing newer they are named, so that nobody wonders why his plans do not count. */
#include "server/plans.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/folders.h"
#include "xcache/codec/codec.h"

/* --- names and places --- */

bool plans_parse_predictor(const char *text, size_t D, plan_predictor *out)
{
    char *end;
    unsigned long rank;

    if (strcmp(text, "full") == 0) {
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

const char *plans_predictor_name(plan_predictor r, char text[32])
{
    if (r.kind != PLAN_RANK) return r.kind == PLAN_FULL ? "full" : "none";
    snprintf(text, 32, "rank:%zu", r.rank);
    return text;
}

/* Length of a file's name without ".gguf": a plan belongs to the model, whatever its ending. */
static size_t base_length(const char *base)
{
    const size_t n = strlen(base);

    return n > 5 && !strcmp(base + n - 5, ".gguf") ? n - 5 : n;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* "model.xplan" for "models/model.gguf": its base name without the ending. */
static char *name_plan(const char *model_path, const plan_predictor *r)
{
    const char *base = base_of(model_path);
    char form[32] = "", *name; /* the default predictor goes without saying */

    if (r && r->kind == PLAN_RANK)
        snprintf(form, sizeof form, ".rank%zu", r->rank);
    else if (r)
        snprintf(form, sizeof form, ".%s", r->kind == PLAN_FULL ? "full" : "none");
    return asprintf(&name, "%.*s%s.xplan", (int)base_length(base), base, form) < 0 ? NULL
                                                                                   : name;
}

/* folder/name; frees name. */
static char *join(const char *folder, size_t n, char *name)
{
    char *path = NULL;

    if (name && asprintf(&path, "%.*s%s%s", (int)n, folder, n ? "/" : "", name) < 0)
        path = NULL;
    free(name);
    return path;
}

char *plans_beside(const char *model_path, const plan_predictor *r)
{
    const char *slash = strrchr(model_path, '/');

    return join(model_path, slash ? (size_t)(slash - model_path) : 0, name_plan(model_path, r));
}

char *plans_cached(const char *model_path, const plan_predictor *r)
{
    char *folder = folders_cache(), *path;

    if (!folder) return NULL;
    folders_make(folder);
    path = join(folder, strlen(folder), name_plan(model_path, r));
    free(folder);
    return path;
}

/* Where plans are looked for, in that order; NULL: there is no such place. The caller frees. */
enum { PLACES = 3 };

typedef struct places {
    char *folder[PLACES];
} places;

static void free_places(places *p)
{
    for (size_t i = 0; i < PLACES; i++) free(p->folder[i]);
}

/* A lack of memory must not pass for a place that is not there: the mode would be another one.
 */
static err find_places(const char *model_path, places *out)
{
    const char *slash = strrchr(model_path, '/'), *folder = getenv("XQUANTD_PLAN_DIR");
    const size_t n = slash ? (size_t)(slash - model_path) + !slash[1] : 1;
    places p = {{strndup(slash ? model_path : ".", n)}};
    bool lacking = !p.folder[0];

    if (folder && *folder) lacking |= !(p.folder[1] = strdup(folder));
    errno = 0;
    p.folder[2] = folders_cache();
    if (lacking || (!p.folder[2] && errno == ENOMEM)) {
        free_places(&p);
        return ERR_NOMEM;
    }
    *out = p;
    return ERR_OK;
}

char *plans_named(const char *model_path)
{
    char shipped[4400], *found = NULL;
    places p;

    folders_find_shipped("models", shipped, sizeof shipped);
    if (find_places(model_path, &p) != ERR_OK) return NULL;
    for (size_t i = 0; i <= PLACES && !found; i++) {
        const char *folder = i < PLACES ? p.folder[i] : shipped;

        if (!folder) continue;
        found = join(folder, strlen(folder), name_plan(model_path, NULL));
        if (found && access(found, F_OK) == 0) break;
        free(found);
        found = NULL;
    }
    free_places(&p);
    return found;
}

/* --- searching --- */

/* Whose plan is looked for, and what was found so far. */
typedef struct search {
    const char *model_path;
    const gguf *g;
    const plan_predictor *predictor; /* NULL: any */
    places where;
    bool strict; /* the first file that exists counts, else the first that is valid */
    plan *found;
    fault passed; /* the first file that is no plan of g: "FILE: part" */
} search;

/* What is short for the moment does not count as absent: the next start would take another
 * mode. */
static err shortage(void)
{
    if (errno == ENOMEM) return ERR_NOMEM;
    return errno == EMFILE || errno == ENFILE || errno == EIO ? ERR_SYSTEM : ERR_OK;
}

static void pass_over(search *s, const char *path, err e, const char *part)
{
    char text[sizeof s->passed.field];

    if (s->passed.e != ERR_OK) return;
    /* an old plan is told by its version, which its sentence has already */
    if (e == ERR_OLDPLAN) part = "";
    snprintf(text, sizeof text, "%.160s%s%.80s", base_of(path), *part ? ": " : "", part);
    err_blame(&s->passed, e, text);
}

/* Open a file that is there. ERR_OK too where it was passed over. */
static err try_file(search *s, const char *path)
{
    fault part = {0};
    err e;

    errno = 0;
    e = plan_open(&s->found, path, s->g, &part);
    if (e == ERR_OK || e == ERR_NOMEM) return e;
    if (!s->strict) TRY(shortage());
    pass_over(s, path, e, part.field);
    return s->strict ? e : ERR_OK;
}

static err search_places(search *s)
{
    err e = ERR_OK;

    for (size_t i = 0; i < PLACES && !s->found && e == ERR_OK; i++) {
        char *path;

        if (!s->where.folder[i]) continue;
        path = join(s->where.folder[i], strlen(s->where.folder[i]),
                    name_plan(s->model_path, s->predictor));
        if (!path) return ERR_NOMEM;
        errno = 0;
        e = access(path, F_OK) == 0 ? try_file(s, path) : shortage();
        free(path);
    }
    return e;
}

/* Call `look` with every plan file of a folder, while it returns ERR_OK and nothing was found.
 * An unreadable folder counts as empty. */
static err search_folder(search *s, const char *folder,
                         err (*look)(search *s, const char *folder, const char *name))
{
    DIR *d = opendir(folder);
    const struct dirent *f = NULL;
    err e = ERR_OK;

    if (!d) return shortage();
    while (e == ERR_OK && !s->found && (errno = 0, f = readdir(d)))
        if (strstr(f->d_name, ".xplan")) e = look(s, folder, f->d_name);
    if (e == ERR_OK && !f) e = shortage(); /* of readdir */
    closedir(d);
    return e;
}

/* Keep a plan that ships if it is g's, made as is asked for. All others are none of g's
 * business, so nothing is said of them. */
static err look_shipped(search *s, const char *folder, const char *name)
{
    char *path = join(folder, strlen(folder), strdup(name));
    plan *p = NULL;
    plan_about a;
    err e = ERR_NOMEM;

    errno = 0;
    if (path) e = plan_open(&p, path, s->g, NULL);
    free(path);
    if (e != ERR_OK) return e == ERR_NOMEM ? e : shortage();
    a = plan_read_about(p);
    if (!s->predictor ||
        (a.predictor.kind == s->predictor->kind && a.predictor.rank == s->predictor->rank))
        s->found = p;
    else
        plan_close(p);
    return ERR_OK;
}

/* "m.klt16.xplan" of "m.gguf": what version 1 called its files. */
static err look_old(search *s, const char *folder, const char *name)
{
    const char *base = base_of(s->model_path);
    const size_t n = base_length(base);

    (void)folder;
    if (strncmp(name, base, n) == 0 && strncmp(name + n, ".klt", 4) == 0)
        pass_over(s, name, ERR_OLDPLAN, "");
    return ERR_OK;
}

static err search_all(search *s)
{
    char folder[4400];

    TRY(search_places(s));
    folders_find_shipped("models", folder, sizeof folder);
    if (!s->found) TRY(search_folder(s, folder, look_shipped));
    for (size_t i = 0; i < PLACES && !s->found; i++)
        if (s->where.folder[i]) TRY(search_folder(s, s->where.folder[i], look_old));
    return ERR_OK;
}

static err run_search(search *s)
{
    err e;

    TRY(find_places(s->model_path, &s->where));
    e = search_all(s);
    free_places(&s->where);
    return e;
}

/* --- opening --- */

err plans_open_with(const char *model_path, const char *mode, const plan_predictor *r,
                    const gguf *g, plan **out, fault *why)
{
    search s = {.model_path = model_path, .g = g, .predictor = r, .strict = true};
    char text[sizeof why->field];
    err e;

    *out = NULL;
    if (codec_ratio(mode) == 0) return ERR_OK;
    e = run_search(&s);
    *out = s.found;
    if (e == ERR_OK && s.found) return ERR_OK;
    if (e == ERR_OK) e = s.passed.e != ERR_OK ? s.passed.e : ERR_NOPLAN;
    snprintf(text, sizeof text, "--cache %.32s%s%.200s", mode, s.passed.field[0] ? ": " : "",
             s.passed.field);
    return err_blame(why, e, text);
}

err plans_open(const char *model_path, const char *mode, const gguf *g, plan **out, fault *why)
{
    return plans_open_with(model_path, mode, NULL, g, out, why);
}

double plans_max_kl(double asked)
{
    return asked > 0 ? asked : PLANS_MAX_KL;
}

/* The smallest ratio stands for all: the others are further from exact. */
static void name_rejected(const plan *p, char text[PLANS_REJECTED])
{
    const plan_measured *list = plan_read_measured(p);
    const size_t n = plan_read_about(p).measured;
    size_t i = 0;
    char kl[32] = "not measured", mode[16] = "all";

    while (i < n && !(list[i].ratio > 0)) i++; /* what plan_make made room for, and no more */
    if (i < n) {
        const double ratio = (double)list[i].ratio, known = plan_kl(p, ratio);

        snprintf(mode, sizeof mode, "klt%g", ratio);
        if (known >= 0) snprintf(kl, sizeof kl, "%.3g", known);
    }
    snprintf(text, PLANS_REJECTED, "%s (KL %s)", mode, kl);
}

err plans_best(const char *model_path, const gguf *g, double max_kl, plans_choice *out)
{
    search s = {.model_path = model_path, .g = g};
    const err e = run_search(&s);

    *out = (plans_choice){.plan = s.found, .passed = s.passed};
    if (e != ERR_OK || !s.found) return e;
    if (!plan_best_mode(s.found, max_kl, out->mode)) name_rejected(s.found, out->rejected);
    return e;
}

void plans_explain(const char *model_path, const char *mode, char *text, size_t n)
{
    snprintf(text, n, "--cache %s (`xquantd calibrate --model %s` makes its plan)", mode,
             model_path);
}
