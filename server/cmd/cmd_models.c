/* cmd_models.c - `xquantd models`: what is here, and what could be; `xquantd models rm NAME`.
 *
 *   catalogue   each row: with the program, downloaded, begun, or not here
 *   shelf       what was downloaded besides
 *
 * No model is opened: a plan is told by its name alone, for telling by its content would read
 * gigabytes. What serve finds may be more, as one that ships for a file of another name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "config/config.h"
#include "server/cmd/command.h"
#include "server/convert/download.h"
#include "server/convert/shelf.h"
#include "server/folders.h"
#include "server/memory_report.h"
#include "server/plans.h"
#include "server/text.h"

/* One line of the list. */
typedef struct item {
    const char *name;
    const catalog_row *row;   /* NULL: not in the catalogue */
    const shelf_model *model; /* NULL: not in the cache folder */
    char path[COMMAND_PATH];  /* "" : not here */
    uint64_t bytes;
    bool partial;
} item;

/* --- finding out --- */

/* A catalogue's model that came with the program. */
static bool ships(const catalog_row *row, char *path, size_t n)
{
    char name[512], *whole;
    struct stat s;

    snprintf(name, sizeof name, "models/%.400s", row->file);
    folders_find_shipped(name, path, n);
    whole = realpath(path, NULL); /* without the way up from where the program lies */
    if (whole) snprintf(path, n, "%s", whole);
    free(whole);
    return stat(path, &s) == 0 && (uint64_t)s.st_size == row->bytes;
}

static item describe(const catalog_row *row, const shelf *s)
{
    item it = {
        .name = row->name, .row = row, .model = shelf_find(s, row->name), .bytes = row->bytes};

    if (ships(row, it.path, sizeof it.path)) {
        it.model = NULL;
        return it;
    }
    it.path[0] = '\0';
    /* A file of another length is none of ours: serve would fetch it anew. */
    it.partial = it.model && (it.model->partial || it.model->bytes != row->bytes);
    if (it.model && !it.partial) snprintf(it.path, sizeof it.path, "%s", it.model->path);
    return it;
}

static item describe_model(const shelf_model *m)
{
    item it = {.name = m->name, .model = m, .bytes = m->bytes, .partial = m->partial};

    if (!m->partial) snprintf(it.path, sizeof it.path, "%s", m->path);
    return it;
}

typedef void (*teller)(text_builder *t, const item *it);

static void tell_all(text_builder *t, const catalog *c, const shelf *s, teller tell)
{
    for (size_t i = 0; i < c->n; i++) {
        const item it = describe(&c->rows[i], s);

        tell(t, &it);
    }
    for (size_t i = 0; i < s->n; i++) {
        const item it = describe_model(&s->list[i]);

        if (!catalog_find(c, it.name)) tell(t, &it);
    }
}

/* --- telling --- */

static void format_time(int64_t seconds, char out[24])
{
    const time_t t = (time_t)seconds;
    struct tm local;

    if (!localtime_r(&t, &local) || !strftime(out, 24, "%Y-%m-%d %H:%M", &local))
        snprintf(out, 24, "unknown");
}

/* "not here", "12 MiB have come", the path. */
static void add_place(text_builder *t, const item *it)
{
    char bytes[24];

    if (it->partial)
        text_addf(t, "%s of a download have come",
                  memory_report_bytes(it->model->bytes, bytes));
    else
        text_add_string(t, *it->path ? it->path : "not here");
}

static void tell_line(text_builder *t, const item *it)
{
    char bytes[24], used[24] = "-";
    char *plan_path = *it->path ? plans_named(it->path) : NULL;

    if (it->model && *it->path) format_time(it->model->used, used);
    text_addf(t, "%-28s %-4s %-12s %9s %-4s %-16s ", it->name, it->row ? it->row->kind : "-",
              it->row ? it->row->licence : "-", memory_report_bytes(it->bytes, bytes),
              !*it->path  ? "-"
              : plan_path ? "yes"
                          : "no",
              used);
    add_place(t, it);
    text_add_string(t, "\n");
    free(plan_path);
}

static void tell_json(text_builder *t, const item *it)
{
    char *plan_path = *it->path ? plans_named(it->path) : NULL;

    text_add_string(t, t->n > 1 ? ",{\"name\":" : "{\"name\":");
    text_add_json_string(t, it->name);
    text_add_string(t, ",\"kind\":");
    text_add_json_string(t, it->row ? it->row->kind : NULL);
    text_add_string(t, ",\"licence\":");
    text_add_json_string(t, it->row ? it->row->licence : NULL);
    text_addf(t, ",\"bytes\":%llu,\"path\":", (unsigned long long)it->bytes);
    text_add_json_string(t, *it->path ? it->path : NULL);
    text_add_string(t, ",\"plan\":");
    text_add_json_string(t, plan_path);
    if (it->model && *it->path) text_addf(t, ",\"used\":%lld", (long long)it->model->used);
    if (it->partial)
        text_addf(t, ",\"partial_bytes\":%llu", (unsigned long long)it->model->bytes);
    text_add_string(t, "}");
    free(plan_path);
}

static err print(const catalog *c, const shelf *s, bool json)
{
    text_builder t = {0};
    char *text;

    if (json) {
        text_add_string(&t, "[");
        tell_all(&t, c, s, tell_json);
        text_add_string(&t, "]\n");
    } else {
        text_addf(&t, "%-28s %-4s %-12s %9s %-4s %-16s %s\n", "name", "kind", "licence", "size",
                  "plan", "last used", "where");
        tell_all(&t, c, s, tell_line);
    }
    text = text_take(&t, NULL);
    if (!text) return ERR_NOMEM;
    fputs(text, stdout); /* main looks whether it came to be written */
    free(text);
    return ERR_OK;
}

/* --- removing --- */

/* Only what was downloaded: what ships belongs to the package manager, and other files to
 * whoever put them there. */
static int remove_model(const shelf *s, const char *name)
{
    const shelf_model *m = shelf_find(s, name);
    char bytes[24];

    /* Nor is a path taken: rm is for what this program has put there. */
    if (!m) {
        fprintf(stderr, "xquantd: %s: nothing of that name was downloaded\n", name);
        return 1;
    }
    if (shelf_remove(m) != ERR_OK) {
        fprintf(stderr, "xquantd: %s: %s\n", m->path, strerror(errno));
        return 1;
    }
    printf("%s: removed, %s\n", m->path, memory_report_bytes(m->bytes, bytes));
    return 0;
}

/* --- the command --- */

static int with_both(const config *c, const catalog *known, bool remove)
{
    shelf s;
    err e = shelf_open(&s, known);
    int code = 0;

    if (e == ERR_OK && remove)
        code = remove_model(&s, c->argument);
    else if (e == ERR_OK)
        e = print(known, &s, c->json);
    shelf_close(&s);
    if (e == ERR_OK) return code;
    fprintf(stderr, "xquantd: %s\n", err_text(e));
    return 1;
}

/* A catalogue that is broken keeps nobody from removing what he has: it is said, and the names
 * are those of the hub then. */
static int run_with(const config *c, bool remove)
{
    char why[512];
    catalog known;
    int code;

    if (!catalog_open(&known, why, sizeof why)) {
        fprintf(stderr, "xquantd: %s\n", why);
        catalog_close(&known);
    }
    code = with_both(c, &known, remove);
    catalog_close(&known);
    return code;
}

static int run_list(config *c)
{
    if (!c->argument) return run_with(c, false);
    fprintf(stderr, "xquantd: unexpected argument '%s': xquantd models [rm NAME]\n",
            c->argument);
    return 2;
}

static int run_remove(config *c)
{
    if (c->argument) return run_with(c, true);
    fputs("xquantd: models rm needs a name\n", stderr);
    return 2;
}

int cmd_models(int argc, char **argv)
{
    const bool remove = argc > 0 && strcmp(argv[0], "rm") == 0;

    return command_run(CONFIG_MODELS, argc - remove, argv + remove,
                       remove ? run_remove : run_list);
}
