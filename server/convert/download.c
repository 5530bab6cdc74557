/* download.c - names of models: which URLs they are, and which file.
 *
 *   hf:OWNER/REPO:FILE   at   CACHE/models/OWNER/REPO/FILE             there: no network at all
 *                        from HF_ENDPOINT/OWNER/REPO/resolve/main/FILE
 *   NAME                 at   the program's models/FILE, CACHE/models/FILE, and where its
 * sources of the hub would be, if the length is right from its sources, one after the other,
 * into CACHE/models/FILE
 *
 * A name becomes a path below our folder and a part of a URL, and may come from a script that
 * took it from elsewhere. So its words are checked before either is made, rather than either
 * escaped until it is harmless. What is there is believed: fetch.c put it there whole and
 * checked. */
#include "server/convert/download.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/nearest.h"
#include "engine/clock.h"
#include "server/convert/fetch.h"
#include "server/convert/package.h"
#include "server/folders.h"
#include "server/text.h"

enum {
    NAME_MAX_BYTES = 96,
    FILE_MAX_BYTES = 512,
    SOURCE_BYTES = 1024,
    MANY = 99999,
    DIGITS = 5
};

static const char prefix[] = "hf:", packages[] = "pypi:";

typedef struct hub_name {
    char owner[NAME_MAX_BYTES + 1], repo[NAME_MAX_BYTES + 1], file[FILE_MAX_BYTES + 1];
} hub_name;

/* --- the name --- */

/* Letters, digits and "._-", but nothing that a file system reads as a way up. */
static bool read_word(const char *at, size_t n, char *out)
{
    static const char others[] = "._-";

    if (n == 0 || n > NAME_MAX_BYTES || at[0] == '.') return false;
    for (size_t i = 0; i < n; i++) {
        const char c = at[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr(others, c)))
            return false;
    }
    memcpy(out, at, n);
    out[n] = '\0';
    return true;
}

/* A file, maybe in folders, none of which is hidden or a way up. */
static bool read_file_name(const char *at, char *out)
{
    const size_t n = strlen(at);

    if (n == 0 || n > FILE_MAX_BYTES) return false;
    for (size_t i = 0; i < n; i++) {
        const bool first = i == 0 || at[i - 1] == '/';

        if ((unsigned char)at[i] < 0x20 || at[i] == 0x7f || at[i] == '\\') return false;
        if (first && (at[i] == '.' || at[i] == '/')) return false;
    }
    memcpy(out, at, n + 1);
    return out[n - 1] != '/';
}

static bool read_name(const char *model, hub_name *h)
{
    const char *owner = model + strlen(prefix);
    const char *slash = strchr(owner, '/'), *colon = slash ? strchr(slash, ':') : NULL;

    return colon && read_word(owner, (size_t)(slash - owner), h->owner) &&
           read_word(slash + 1, (size_t)(colon - slash - 1), h->repo) &&
           read_file_name(colon + 1, h->file);
}

/* Of "x-00001-of-00003.gguf" 3, with *at where the first number stands; else 1. */
static unsigned count_files(const char *file, size_t *at)
{
    static const char form[] = "-00001-of-00003.gguf";
    const size_t n = strlen(file), m = sizeof form - 1;
    unsigned many = 0;
    int end = 0;

    if (n <= m) return 1;
    *at = n - m + 1;
    if (sscanf(file + n - m, "-00001-of-%5u.gguf%n", &many, &end) == 1 && end == (int)m &&
        many >= 1 && many <= MANY)
        return many;
    return 1;
}

/* --- places --- */

/* CACHE/models/BELOW. False: nowhere to put it, or too long. */
static bool place_below(const char *below, char *path, size_t n)
{
    char *folder = folders_cache();
    int length = -1;

    if (folder) length = snprintf(path, n, "%s/models/%s", folder, below);
    free(folder);
    return length >= 0 && (size_t)length < n;
}

static bool place_of_hub(const hub_name *h, char *path, size_t n)
{
    char below[2 * NAME_MAX_BYTES + FILE_MAX_BYTES + 4];

    snprintf(below, sizeof below, "%s/%s/%s", h->owner, h->repo, h->file);
    return place_below(below, path, n);
}

static void make_folders(char *path)
{
    char *slash = strrchr(path, '/');

    *slash = '\0';
    folders_make(path);
    *slash = '/';
}

/* The file's name in a URL: all but letters, digits and a few as %XX. */
static void add_escaped(text_builder *t, const char *file)
{
    static const char plain[] = "/._-~";

    for (; *file; file++) {
        const char c = *file;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr(plain, c))
            text_add(t, &c, 1);
        else
            text_addf(t, "%%%02X", (unsigned)(unsigned char)c);
    }
}

/* The caller frees. NULL: out of memory. */
static char *make_url(const hub_name *h, const char *hub)
{
    size_t n = strlen(hub);
    text_builder t = {0};

    while (n && hub[n - 1] == '/') n--;
    text_add(&t, hub, n);
    text_addf(&t, "/%s/%s/resolve/main/", h->owner, h->repo);
    add_escaped(&t, h->file);
    return text_take(&t, NULL);
}

static const char *find_hub(void)
{
    const char *hub = getenv("HF_ENDPOINT");

    return hub && *hub ? hub : "https://huggingface.co";
}

/* --- the file --- */

/* An empty file is no model, whoever left it. */
static bool is_there(const char *path)
{
    struct stat s;

    return stat(path, &s) == 0 && S_ISREG(s.st_mode) && s.st_size > 0;
}

static err refuse_folder(char *why, size_t n)
{
    snprintf(why, n, "there is no cache folder: set XDG_CACHE_HOME or HOME");
    return ERR_DOWNLOAD;
}

/* One file of the hub to w->path, whose folders are there. */
static err get_file(const hub_name *h, fetch_wish *w, char *why, size_t n)
{
    const char *hub = find_hub();
    char *url;
    err e;

    /* libcurl would guess a scheme that is missing, and refuse file: in words about itself */
    if (strncasecmp(hub, "https://", 8) != 0 && strncasecmp(hub, "http://", 7) != 0) {
        snprintf(why, n, "HF_ENDPOINT is no http:// or https:// address");
        return ERR_DOWNLOAD;
    }
    url = make_url(h, hub);
    if (!url) return ERR_NOMEM;
    w->url = url;
    w->token = getenv("HF_TOKEN");
    e = fetch_file(w, why, n);
    free(url);
    return e;
}

static err get_files(hub_name *h, uint64_t until_ns, char *path, size_t n, char *why,
                     size_t why_bytes)
{
    size_t at = 0;
    const unsigned many = count_files(h->file, &at);

    for (unsigned i = many; i > 0; i--) { /* the first, whose path is the answer, at last */
        fetch_wish w = {.path = path, .until_ns = until_ns};
        char number[16]; /* DIGITS are used */

        snprintf(number, sizeof number, "%05u", i);
        if (many > 1) memcpy(h->file + at, number, DIGITS);
        if (!place_of_hub(h, path, n)) return refuse_folder(why, why_bytes);
        if (is_there(path)) continue;
        make_folders(path);
        TRY(get_file(h, &w, why, why_bytes));
    }
    return ERR_OK;
}

static err locate_hub(const char *model, uint64_t until_ns, char *path, size_t n, char *why,
                      size_t why_bytes)
{
    hub_name h;

    if (read_name(model, &h)) return get_files(&h, until_ns, path, n, why, why_bytes);
    snprintf(why, why_bytes, "a name is hf:OWNER/REPO:FILE");
    return ERR_DOWNLOAD;
}

/* --- the catalogue --- */

/* A file that fetch or package have put there has the length; its sum was checked then. */
static bool is_row(const char *path, const catalog_row *row)
{
    struct stat s;

    return stat(path, &s) == 0 && S_ISREG(s.st_mode) && (uint64_t)s.st_size == row->bytes;
}

/* The source at *rest, which is moved behind it; false: there is none left. */
static bool next_source(const char **rest, char *out, size_t n)
{
    size_t length;

    *rest += strspn(*rest, " ");
    length = strcspn(*rest, " ");
    snprintf(out, n, "%.*s", (int)length, *rest);
    *rest += length;
    return length > 0;
}

/* Somebody may have fetched the same file by its name on the hub. */
static bool find_row(const catalog_row *row, char *path, size_t n)
{
    char shipped[512], source[SOURCE_BYTES];
    hub_name h;

    snprintf(shipped, sizeof shipped, "models/%.400s", row->file);
    folders_find_shipped(shipped, path, n);
    if (is_row(path, row)) return true;
    if (place_below(row->file, path, n) && is_row(path, row)) return true;
    for (const char *rest = row->sources; next_source(&rest, source, sizeof source);)
        if (strncmp(source, prefix, strlen(prefix)) == 0 && read_name(source, &h) &&
            place_of_hub(&h, path, n) && is_row(path, row))
            return true;
    return false;
}

static err get_source(const char *source, fetch_wish *w, char *why, size_t n)
{
    hub_name h;

    if (strncmp(source, packages, strlen(packages)) == 0) {
        w->url = source + strlen(packages);
        return package_fetch(w, why, n);
    }
    if (strncmp(source, prefix, strlen(prefix)) == 0 && read_name(source, &h))
        return get_file(&h, w, why, n);
    snprintf(why, n,
             strcmp(source, "-") == 0 ? "it ships with the program, and is not there"
                                      : "the catalogue has a source of no known kind");
    return ERR_DOWNLOAD;
}

/* What another source had begun is of no use when one has given all. */
static void drop_part(const char *path)
{
    char part[4400];

    snprintf(part, sizeof part, "%s.part", path);
    unlink(part);
}

/* From the first source that has it; why [n] says of each what it lacked. */
static err get_row(const catalog_row *row, uint64_t until_ns, char *path, size_t n, char *why,
                   size_t why_bytes)
{
    fetch_wish w = {.path = path, .sha = row->sha, .bytes = row->bytes, .until_ns = until_ns};
    char source[SOURCE_BYTES], clause[320];
    size_t said = 0;

    if (!place_below(row->file, path, n)) return refuse_folder(why, why_bytes);
    make_folders(path);
    for (const char *rest = row->sources; next_source(&rest, source, sizeof source);) {
        const size_t kind = strcspn(source, ":");
        const err e = get_source(source, &w, clause, sizeof clause);

        if (e == ERR_OK) drop_part(path);
        if (e != ERR_DOWNLOAD) return e;
        if (said < why_bytes)
            said += (size_t)snprintf(why + said, why_bytes - said, "%s%.*s: %s",
                                     said ? "; " : "", (int)kind, source, clause);
    }
    return ERR_DOWNLOAD;
}

static void refuse_word(const catalog *c, const char *word, char *why, size_t n)
{
    const char *names[64], *near;
    size_t count = 0;

    for (; count < c->n && count < sizeof names / sizeof *names; count++)
        names[count] = c->rows[count].name;
    near = nearest_name(word, names, count);
    snprintf(why, n, "neither a file nor a name of the catalogue (%s%s)",
             near ? "did you mean " : "`xquantd models` lists it", near ? near : "");
}

static err locate_word(const char *model, uint64_t until_ns, char *path, size_t n, char *why,
                       size_t why_bytes)
{
    const catalog_row *row;
    catalog c;
    err e = ERR_OPEN;

    if (catalog_open(&c, why, why_bytes)) {
        row = catalog_find(&c, model);
        if (!row)
            refuse_word(&c, model, why, why_bytes);
        else if (find_row(row, path, n))
            e = ERR_OK;
        else
            e = get_row(row, until_ns, path, n, why, why_bytes);
    }
    catalog_close(&c);
    return e;
}

/* --- any name --- */

/* What has a folder in it or ends like a model's file can only be meant as a path. */
static bool is_path(const char *model)
{
    const size_t n = strlen(model);

    return strchr(model, '/') || (n > 5 && strcmp(model + n - 5, ".gguf") == 0) ||
           access(model, F_OK) == 0;
}

bool download_place(const char *model, const catalog *c, char *path, size_t n)
{
    const catalog_row *row;
    hub_name h;

    if (strncmp(model, prefix, strlen(prefix)) == 0)
        return read_name(model, &h) && place_of_hub(&h, path, n);
    row = catalog_find(c, model);
    return row && place_below(row->file, path, n);
}

/* The time of a file's last use, in its own record: mapping it leaves none where the file
 * system is mounted without. The time of its change stays, for a server that runs watches that.
 */
static void note_use(const char *path)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};

    (void)utimensat(AT_FDCWD, path, times, 0);
}

err download_locate(const char *model, unsigned seconds, char *path, size_t n, char *what,
                    size_t what_bytes)
{
    const uint64_t until = seconds ? clock_ns() + seconds * UINT64_C(1000000000) : 0;
    const bool hub = strncmp(model, prefix, strlen(prefix)) == 0;
    char why[800] = "";
    err e;

    if (!hub && is_path(model)) {
        snprintf(path, n, "%s", model);
        return ERR_OK;
    }
    e = hub ? locate_hub(model, until, path, n, why, sizeof why)
            : locate_word(model, until, path, n, why, sizeof why);
    if (e == ERR_OK)
        note_use(path);
    else
        snprintf(what, what_bytes, "%.1024s: %s", model, why);
    return e;
}
