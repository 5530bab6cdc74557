/* shelf.c - walks the cache folder's models.
 *
 *   x.gguf             a model, or of x-00002-of-00003.gguf more of the one before
 *   x.gguf.part        of a download that was interrupted (fetch.c)
 *   x.gguf.package/    the same, through a package (package.c)
 *
 * The walk is in order of names, so that the first file of several comes before the others. */
#include "server/convert/shelf.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/folders.h"

static const char part[] = ".part", package[] = ".package", ending[] = ".gguf";

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n > m && strcmp(text + n - m, end) == 0;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Number of "x-00002-of-00003.gguf", with *at where it stands; 0: it is not one of several. */
static unsigned file_number(const char *path, size_t *at)
{
    static const char form[] = "-00001-of-00003.gguf";
    const size_t n = strlen(path), m = sizeof form - 1;
    unsigned number, many;
    int end = 0;

    if (n <= m || sscanf(path + n - m, "-%5u-of-%5u.gguf%n", &number, &many, &end) != 2 ||
        end != (int)m)
        return 0;
    *at = n - m + 1;
    return number;
}

/* The name that brings the file back; below: its path within the folder. */
static char *name_model(const catalog *c, const char *below, const char *path)
{
    /* Two folders above the file are an owner and a repository: download.c makes no others. */
    const char *owner = strchr(below, '/'), *repo = owner ? strchr(owner + 1, '/') : NULL;
    char *name;

    for (size_t i = 0; !owner && i < c->n; i++)
        if (strcmp(c->rows[i].file, below) == 0) return strdup(c->rows[i].name);
    if (!repo) return strdup(path);
    return asprintf(&name, "hf:%.*s:%s", (int)(repo - below), below, repo + 1) < 0 ? NULL
                                                                                   : name;
}

/* One more; path is taken. */
static err add(shelf *s, const catalog *c, char *path, size_t root, const FTSENT *at)
{
    shelf_model *more = reallocarray(s->list, s->n + 1, sizeof *more);
    char *name = path ? name_model(c, path + root, path) : NULL;

    if (more) s->list = more;
    if (!more || !name) {
        free(name);
        free(path);
        return ERR_NOMEM;
    }
    s->list[s->n++] = (shelf_model){
        name, path, at->fts_info == FTS_F ? (uint64_t)at->fts_statp->st_size : 0,
        (int64_t)at->fts_statp->st_atime, !ends_with(at->fts_name, ending)};
    return ERR_OK;
}

/* The later files of a model: their bytes are counted with the first. */
static bool add_to_first(shelf *s, const FTSENT *e)
{
    size_t at;
    const unsigned number = file_number(e->fts_path, &at);
    const shelf_model *last = s->n ? &s->list[s->n - 1] : NULL;

    if (number < 2 || !last || strlen(last->path) != strlen(e->fts_path) ||
        strncmp(last->path, e->fts_path, at) != 0)
        return false;
    s->list[s->n - 1].bytes += (uint64_t)e->fts_statp->st_size;
    return true;
}

static err look(shelf *s, const catalog *c, FTS *walk, FTSENT *e, size_t root)
{
    const size_t n = e->fts_pathlen;
    const bool folder = e->fts_info == FTS_D && ends_with(e->fts_name, package);

    if (folder) {
        fts_set(walk, e, FTS_SKIP);
        return add(s, c, strndup(e->fts_path, n - strlen(package)), root, e);
    }
    if (e->fts_info != FTS_F) return ERR_OK;
    if (ends_with(e->fts_name, part))
        return add(s, c, strndup(e->fts_path, n - strlen(part)), root, e);
    if (!ends_with(e->fts_name, ending) || add_to_first(s, e)) return ERR_OK;
    return add(s, c, strdup(e->fts_path), root, e);
}

err shelf_open(shelf *out, const catalog *c)
{
    char *cache = folders_cache(), *root = NULL;
    FTS *walk;
    FTSENT *e;
    err fails = ERR_OK;

    *out = (shelf){0};
    if (!cache) return ERR_OK;
    if (asprintf(&root, "%s/models", cache) < 0) root = NULL;
    free(cache);
    if (!root) return ERR_NOMEM;
    walk = fts_open((char *[]){root, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    while (walk && fails == ERR_OK && (e = fts_read(walk)))
        fails = look(out, c, walk, e, strlen(root) + 1);
    if (walk) fts_close(walk);
    free(root);
    return fails;
}

void shelf_close(shelf *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->list[i].name);
        free(s->list[i].path);
    }
    free(s->list);
    *s = (shelf){0};
}

const shelf_model *shelf_find(const shelf *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->list[i].name, name) == 0) return &s->list[i];
    return NULL;
}

/* --- removing --- */

/* A file or a whole folder; one that is not there is as it should be. */
static err remove_all(const char *path)
{
    FTS *walk = fts_open((char *[]){(char *)path, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    FTSENT *e;
    err fails = walk ? ERR_OK : ERR_SYSTEM;

    while (walk && (e = fts_read(walk))) {
        if (e->fts_info == FTS_D || e->fts_info == FTS_NS) continue;
        if (remove(e->fts_accpath) != 0 && errno != ENOENT) fails = ERR_SYSTEM;
    }
    if (walk) fts_close(walk);
    return fails;
}

/* A file, and what a download of it has left. */
static err remove_file(const char *path)
{
    char *left[2] = {0};
    err e = ERR_OK;

    if (asprintf(&left[0], "%s%s", path, part) < 0) left[0] = NULL;
    if (asprintf(&left[1], "%s%s", path, package) < 0) left[1] = NULL;
    if (unlink(path) != 0 && errno != ENOENT) e = ERR_SYSTEM;
    for (int i = 0; i < 2; i++) {
        if (e == ERR_OK) e = left[i] ? remove_all(left[i]) : ERR_NOMEM;
        free(left[i]);
    }
    return e;
}

/* Of the folders above a file those that are empty now: OWNER/REPO, and folders within. */
static void prune(char *path)
{
    for (char *slash; (slash = strrchr(path, '/'));) {
        *slash = '\0';
        if (ends_with(path, "/models") || rmdir(path) != 0) return;
    }
}

/* Last what makes it a model: interrupted, it can still be named and removed again. */
err shelf_remove(const shelf_model *m)
{
    char *path = strdup(m->path);
    size_t at = 0;
    const unsigned first = file_number(m->path, &at);
    unsigned many = 1;
    err e = path ? ERR_OK : ERR_NOMEM;

    if (first == 1) many = (unsigned)strtoul(m->path + at + 9, NULL, 10);
    for (unsigned i = many; i > 0 && e == ERR_OK; i--) {
        char number[16];

        snprintf(number, sizeof number, "%05u", i);
        if (first == 1) memcpy(path + at, number, 5);
        e = remove_file(path);
    }
    if (e == ERR_OK) prune(path);
    free(path);
    return e;
}
