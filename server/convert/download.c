/* download.c - names of the hub: which URL they are, and which file.
 *
 *   hf:OWNER/REPO:FILE   at   CACHE/models/OWNER/REPO/FILE             there: no network at all
 *                        from HF_ENDPOINT/OWNER/REPO/resolve/main/FILE
 *
 * A name becomes a path below our folder and a part of a URL, and may come from a script that
 * took it from elsewhere. So its words are checked before either is made, rather than either
 * escaped until it is harmless. What is there is believed: fetch.c put it there whole and
 * checked. */
#include "server/convert/download.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "server/convert/fetch.h"
#include "server/folders.h"
#include "server/text.h"

enum { NAME_MAX_BYTES = 96, FILE_MAX_BYTES = 512, MANY = 99999, DIGITS = 5 };

static const char prefix[] = "hf:";

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

/* FOLDER/models/OWNER/REPO/FILE, with the folders made. False: nowhere to put it, or too long.
 */
static bool find_place(const hub_name *h, char *path, size_t n)
{
    char *folder = folders_cache(), *slash;
    int length = -1;

    if (folder)
        length = snprintf(path, n, "%s/models/%s/%s/%s", folder, h->owner, h->repo, h->file);
    free(folder);
    if (length < 0 || (size_t)length >= n) return false;
    slash = strrchr(path, '/');
    *slash = '\0';
    folders_make(path);
    *slash = '/';
    return true;
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

static err get_file(const hub_name *h, char *path, size_t n, char *why, size_t why_bytes)
{
    const char *hub = find_hub();
    char *url;
    err e;

    if (!find_place(h, path, n)) {
        snprintf(why, why_bytes, "there is no cache folder: set XDG_CACHE_HOME or HOME");
        return ERR_DOWNLOAD;
    }
    if (is_there(path)) return ERR_OK;
    /* libcurl would guess a scheme that is missing, and refuse file: in words about itself */
    if (strncasecmp(hub, "https://", 8) != 0 && strncasecmp(hub, "http://", 7) != 0) {
        snprintf(why, why_bytes, "HF_ENDPOINT is no http:// or https:// address");
        return ERR_DOWNLOAD;
    }
    url = make_url(h, hub);
    if (!url) return ERR_NOMEM;
    e = fetch_file(url, getenv("HF_TOKEN"), path, why, why_bytes);
    free(url);
    return e;
}

static err get_files(hub_name *h, char *path, size_t n, char *why, size_t why_bytes)
{
    size_t at = 0;
    const unsigned many = count_files(h->file, &at);

    for (unsigned i = many; i > 0; i--) { /* the first, whose path is the answer, at last */
        char number[16];                  /* DIGITS are used */

        snprintf(number, sizeof number, "%05u", i);
        if (many > 1) memcpy(h->file + at, number, DIGITS);
        TRY(get_file(h, path, n, why, why_bytes));
    }
    return ERR_OK;
}

err download_locate(const char *model, char *path, size_t n, char *what, size_t what_bytes)
{
    char why[640] = "";
    hub_name h;
    err e;

    if (strncmp(model, prefix, strlen(prefix)) != 0) {
        snprintf(path, n, "%s", model);
        return ERR_OK;
    }
    if (read_name(model, &h)) {
        e = get_files(&h, path, n, why, sizeof why);
    } else {
        snprintf(why, sizeof why, "a name is hf:OWNER/REPO:FILE");
        e = ERR_DOWNLOAD;
    }
    if (e != ERR_OK) snprintf(what, what_bytes, "%.1024s: %s", model, why);
    return e;
}
