/* catalog.c - reads models/catalog.tsv.
 *
 * It ships, and a person may add lines to it. So it is read strictly: a length or a sum that is
 * mistyped would else show as a download that fails at its end, and a name that leads out of a
 * folder would be a place for somebody else's bytes. */
#include "server/convert/catalog.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/document.h"
#include "server/folders.h"

enum { COLUMNS = 7, MOST_ROWS = 1000 };

/* Letters, digits and "._-", none of the latter first: a word of a command line, and a file's
 * name. */
static bool is_name(const char *text)
{
    if (!isalnum((unsigned char)text[0])) return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("._-", *text)) return false;
    return true;
}

/* Lower case alone, as sha256sum writes it: a sum is compared by eye, too. */
static bool read_sha(const char *text, unsigned char *sha)
{
    if (strspn(text, "0123456789abcdef") != 2 * FETCH_SHA_BYTES || text[2 * FETCH_SHA_BYTES])
        return false;
    for (size_t i = 0; i < FETCH_SHA_BYTES; i++) {
        unsigned byte;

        if (sscanf(text + 2 * i, "%2x", &byte) != 1) return false;
        sha[i] = (unsigned char)byte;
    }
    return true;
}

static bool read_bytes(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return isdigit((unsigned char)*text) && !*end && !errno && *out > 0;
}

/* The \r of a file that was edited on another system would be the end of a source. */
static bool has_control(const char *line)
{
    for (; *line; line++)
        if (((unsigned char)*line < ' ' && *line != '\t') || *line == 0x7f) return true;
    return false;
}

/* One line, which is cut into its columns. NULL, or what is wrong. */
static const char *read_row(const catalog *c, char *line, catalog_row *out)
{
    char *column[COLUMNS];

    if (has_control(line)) return "has a control character";
    for (int i = 0; i < COLUMNS; i++) column[i] = strsep(&line, "\t");
    if (!column[COLUMNS - 1] || line) return "wants seven columns, with a tab between two";
    *out = (catalog_row){column[0], column[1], column[2], column[5], column[6], 0, {0}};
    if (!is_name(out->name)) return "has a name of other than letters, digits and ._-";
    if (catalog_find(c, out->name)) return "has a name that stands above already";
    if (strcmp(out->kind, "chat") != 0 && strcmp(out->kind, "text") != 0)
        return "has a kind that is neither chat nor text";
    if (!*out->licence) return "has no licence";
    if (!read_bytes(column[3], &out->bytes)) return "has no length in bytes";
    if (!read_sha(column[4], out->sha)) return "has a sum of other than 64 hex digits";
    if (!is_name(out->file)) return "has a file of other than letters, digits and ._-";
    if (!*out->sources) return "has no source";
    return NULL;
}

/* NULL, or what is wrong with line *at. */
static const char *read_rows(catalog *c, int *at)
{
    char *rest = c->text;

    for (*at = 1; rest; ++*at) {
        char *line = strsep(&rest, "\n");
        const char *wrong;

        if (!*line || *line == '#') continue;
        if (c->n == MOST_ROWS) return "is one row too many";
        wrong = read_row(c, line, &c->rows[c->n]);
        if (wrong) return wrong;
        c->n++;
    }
    return NULL;
}

bool catalog_parse(catalog *out, char *text, size_t n, char *why, size_t room)
{
    const char *wrong = "holds a NUL byte";
    int at = 1;

    *out = (catalog){.text = text, .rows = calloc(MOST_ROWS, sizeof *out->rows)};
    if (!out->rows)
        wrong = "out of memory";
    else if (strlen(text) == n)
        wrong = read_rows(out, &at);
    if (wrong) snprintf(why, room, "%d: %s", at, wrong);
    return !wrong;
}

bool catalog_open(catalog *out, char *why, size_t room)
{
    char path[4400], clause[128], *text;
    size_t n = 0;
    bool read = false;

    *out = (catalog){0};
    folders_find_shipped("models/catalog.tsv", path, sizeof path);
    errno = ENOMEM;
    text = document_read(path, &n);
    if (!text)
        snprintf(why, room, "%.400s: %s", path, strerror(errno));
    else if (!(read = catalog_parse(out, text, n, clause, sizeof clause)))
        snprintf(why, room, "%.400s:%s", path, clause);
    return read;
}

void catalog_close(catalog *c)
{
    free(c->text);
    free(c->rows);
    *c = (catalog){0};
}

const catalog_row *catalog_find(const catalog *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->rows[i].name, name) == 0) return &c->rows[i];
    return NULL;
}
