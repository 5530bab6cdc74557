/* plans.c - finds plan files.
 *
 *   open    klt<R>: one name in three places; the first file that exists counts; else any
 *           that ships and is of this model
 *   best    auto: all of the model's in the four places, by the KL they record
 *   list    the same for `plan`, one a ratio
 *
 * A name says which model and ratio a plan is for, its content says so again, with a hash of
 * the tensors: so a renamed plan is an error where it was asked for, and passed over where not.
 * In the folder that ships with the program names count for nothing: a model that was mounted
 * or downloaded under another name has the same tensors, and a namesake has others. */
#include "server/plans.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/model/arch.h"
#include "server/folders.h"
#include "xcache/codec/codec.h"

/* --- names and places --- */

bool plans_parse_predictor(const char *text, size_t D, plan_predictor *out)
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

/* "model.klt16.xplan" for "models/model.gguf": its base name without the ending. */
static char *name_plan(const char *model_path, size_t D, double ratio, plan_predictor r)
{
    const plan_predictor usual = plan_default_predictor(D);
    const char *slash = strrchr(model_path, '/'), *base = slash ? slash + 1 : model_path;
    char form[32] = "", *name; /* the default predictor goes without saying */

    if (r.kind != usual.kind || r.rank != usual.rank) {
        if (r.kind == PLAN_RANK)
            snprintf(form, sizeof form, ".rank%zu", r.rank);
        else
            snprintf(form, sizeof form, ".%s", r.kind == PLAN_FULL ? "full" : "none");
    }
    return asprintf(&name, "%.*s.klt%g%s.xplan", (int)base_length(base), base, ratio, form) < 0
               ? NULL
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

char *plans_beside(const char *model_path, size_t D, double ratio, plan_predictor r)
{
    const char *slash = strrchr(model_path, '/');

    return join(model_path, slash ? (size_t)(slash - model_path) : 0,
                name_plan(model_path, D, ratio, r));
}

char *plans_cached(const char *model_path, size_t D, double ratio, plan_predictor r)
{
    char *folder = folders_cache(), *path;

    if (!folder) return NULL;
    folders_make(folder);
    path = join(folder, strlen(folder), name_plan(model_path, D, ratio, r));
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

/* The first place that has the plan; the caller frees. *out NULL: none. */
static err find_plan(const char *model_path, size_t D, double ratio, plan_predictor r,
                     char **out)
{
    char *found = NULL;
    places p;
    err e;

    TRY(find_places(model_path, &p));
    e = ERR_OK;
    for (size_t i = 0; i < PLACES && !found && e == ERR_OK; i++) {
        if (!p.folder[i]) continue;
        found = join(p.folder[i], strlen(p.folder[i]), name_plan(model_path, D, ratio, r));
        if (!found) e = ERR_NOMEM;
        if (!found || access(found, F_OK) == 0) continue;
        free(found);
        found = NULL;
    }
    free_places(&p);
    *out = found;
    return e;
}

/* --- searching --- */

/* Is this file name a plan of that model? Both by their names: "m.klt16.xplan" of "m.gguf". */
static bool is_plan_of(const char *name, const char *model_path)
{
    static const char infix[] = ".klt", suffix[] = ".xplan";
    const char *slash = strrchr(model_path, '/'), *base = slash ? slash + 1 : model_path;
    const size_t n = base_length(base), length = strlen(name);

    return length > n + sizeof infix + sizeof suffix - 2 && memcmp(name, base, n) == 0 &&
           memcmp(name + n, infix, sizeof infix - 1) == 0 &&
           strcmp(name + length - (sizeof suffix - 1), suffix) == 0;
}

/* What is looked for among all plans of a model, and what was found so far. */
typedef struct search {
    const char *model_path;
    const gguf *g;
    void (*keep)(struct search *s, plan *p); /* owns p */
    double max_kl;                           /* of keep_better, as is what it rejects */
    plans_rejected *rejected;                /* NULL: not asked for */
    plan **found;                            /* [n] */
    size_t n;
    double ratio; /* of keep_same, as is the predictor */
    plan_predictor predictor;
    bool any_name; /* of files: that a plan is of this model is its content's to say */
} search;

double plans_max_kl(double asked)
{
    return asked > 0 ? asked : PLANS_MAX_KL;
}

/* A plan that lies in two of the places is one. What the text has no room for is counted. */
static void note_rejected(plans_rejected *r, const plan_about *a)
{
    const size_t used = strlen(r->text);
    char one[64], kl[32] = "not measured";

    if (a->kl >= 0) snprintf(kl, sizeof kl, "%.3g", a->kl);
    snprintf(one, sizeof one, "klt%g (KL %s)", a->ratio, kl);
    if (strstr(r->text, one)) return;
    r->n++;
    if (used + strlen(one) + 2 < sizeof r->text)
        snprintf(r->text + used, sizeof r->text - used, "%s%s", used ? ", " : "", one);
}

/* Keep p if it is within max_kl and denser than *found; close the other. */
static void keep_better(search *s, plan *p)
{
    const plan_about a = plan_read_about(p);
    const bool near = a.kl >= 0 && a.kl <= s->max_kl;

    if (!near && s->rejected) note_rejected(s->rejected, &a);
    if (!near || (s->n && plan_read_about(*s->found).ratio >= a.ratio)) {
        plan_close(p);
        return;
    }
    plan_close(*s->found);
    *s->found = p;
    s->n = 1;
}

/* Keep p if it has the usual predictor and is the first of its ratio; ratios ascend. */
static void keep_each(search *s, plan *p)
{
    const plan_about a = plan_read_about(p);
    const plan_predictor usual = plan_default_predictor(a.D);
    size_t at = 0;

    while (at < s->n && plan_read_about(s->found[at]).ratio < a.ratio) at++;
    if (s->n == PLANS_LISTED || a.predictor.kind != usual.kind ||
        a.predictor.rank != usual.rank ||
        (at < s->n && plan_read_about(s->found[at]).ratio == a.ratio)) {
        plan_close(p);
        return;
    }
    memmove(s->found + at + 1, s->found + at, (s->n++ - at) * sizeof(plan *));
    s->found[at] = p;
}

/* Keep p if it is the first that was made as is asked for. */
static void keep_same(search *s, plan *p)
{
    const plan_about a = plan_read_about(p);

    if (s->n || a.ratio != s->ratio || a.predictor.kind != s->predictor.kind ||
        (a.predictor.kind == PLAN_RANK && a.predictor.rank != s->predictor.rank)) {
        plan_close(p);
        return;
    }
    s->found[s->n++] = p;
}

/* An unreadable folder counts as empty, a broken plan as absent. What is short for the moment
 * does not: the next start would take another mode. */
static err shortage(void)
{
    if (errno == ENOMEM) return ERR_NOMEM;
    return errno == EMFILE || errno == ENFILE || errno == EIO ? ERR_SYSTEM : ERR_OK;
}

/* Keep the plan of that name, if it is one. */
static err search_file(search *s, const char *folder, const char *name)
{
    char *path = join(folder, strlen(folder), strdup(name));
    plan *p = NULL;
    err e = ERR_NOMEM;

    errno = 0;
    if (path) e = plan_open(&p, path, s->g, NULL);
    if (e == ERR_OK)
        s->keep(s, p);
    else if (e != ERR_NOMEM)
        e = shortage();
    free(path);
    return e;
}

static err search_folder(search *s, const char *folder)
{
    DIR *d = opendir(folder);
    const struct dirent *f = NULL;
    err e = ERR_OK;

    if (!d) return shortage();
    while (e == ERR_OK && (errno = 0, f = readdir(d)))
        if (s->any_name ? strstr(f->d_name, ".xplan") != NULL
                        : is_plan_of(f->d_name, s->model_path))
            e = search_file(s, folder, f->d_name);
    if (e == ERR_OK) e = shortage(); /* of readdir */
    closedir(d);
    return e;
}

static err search_shipped(search *s)
{
    char folder[4400];

    s->any_name = true;
    folders_find_shipped("models", folder, sizeof folder);
    return search_folder(s, folder);
}

/* In the order of find_plan, so that of two files for one ratio the same one is kept. */
static err search_places(search *s)
{
    places p;
    err e;

    TRY(find_places(s->model_path, &p));
    e = ERR_OK;
    for (size_t i = 0; i < PLACES && e == ERR_OK; i++)
        if (p.folder[i]) e = search_folder(s, p.folder[i]);
    free_places(&p);
    return e == ERR_OK ? search_shipped(s) : e;
}

/* --- opening --- */

/* D by its key alone, for plans are looked for before the model is opened. 0: it has none, and
 * then no plan fits. */
static size_t model_width(const gguf *g)
{
    arch_keys keys = {.g = g};
    size_t D = 0;

    if (arch_of(g, &keys.arch, NULL) != ERR_OK) return 0;
    return arch_count(&keys, "embedding_length", SIZE_MAX, &D) == ERR_OK ? D : 0;
}

/* Open what was found for `mode` (NULL: nothing was); frees path. */
static err open_found(char *path, const char *mode, const gguf *g, plan **out, fault *why)
{
    fault part = {0};
    char text[300];
    const err e = path ? plan_open(out, path, g, &part) : ERR_NOPLAN;

    if (e != ERR_OK) {
        const char *slash = path ? strrchr(path, '/') : NULL;

        snprintf(text, sizeof text, "--cache %s%s%.200s%s%s", mode, path ? ": " : "",
                 slash  ? slash + 1
                 : path ? path
                        : "",
                 part.field[0] ? ": " : "", part.field);
        err_blame(why, e, text);
    }
    free(path);
    return e;
}

err plans_open_with(const char *model_path, const char *mode, const plan_predictor *r,
                    const gguf *g, plan **out, fault *why)
{
    search s = {.model_path = model_path, .g = g, .keep = keep_same, .found = out};
    char *path = NULL;
    size_t D;

    *out = NULL;
    s.ratio = codec_ratio(mode);
    if (s.ratio == 0) return ERR_OK;
    D = model_width(g);
    s.predictor = r ? *r : plan_default_predictor(D);
    TRY(find_plan(model_path, D, s.ratio, s.predictor, &path));
    if (!path) TRY(search_shipped(&s));
    return s.n ? ERR_OK : open_found(path, mode, g, out, why);
}

err plans_open(const char *model_path, const char *mode, const gguf *g, plan **out, fault *why)
{
    return plans_open_with(model_path, mode, NULL, g, out, why);
}

err plans_best(const char *model_path, const gguf *g, double max_kl, plans_rejected *rejected,
               plan **out)
{
    search s = {.model_path = model_path,
                .g = g,
                .keep = keep_better,
                .max_kl = max_kl,
                .rejected = rejected,
                .found = out};

    *out = NULL;
    if (rejected) *rejected = (plans_rejected){0};
    return search_places(&s);
}

err plans_list(const char *model_path, const gguf *g, plan *list[PLANS_LISTED], size_t *n)
{
    search s = {.model_path = model_path, .g = g, .keep = keep_each, .found = list};
    const err e = search_places(&s);

    *n = s.n;
    return e;
}

void plans_explain(const char *model_path, const char *mode, char *text, size_t n)
{
    snprintf(text, n, "--cache %s (`xquantd calibrate --model %s --ratio %g` makes its plan)",
             mode, model_path, codec_ratio(mode));
}
