/* config.c - fills a config from defaults, a file, the environment and the command line. */
#include "config/config.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "config/option.h"

enum { NAME_MAX_BYTES = 64 }; /* of an option's name; longer words are near none */

/* ---- the nearest name ---- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static char folded(char c)
{
    return c == '_' ? '-' : c;
}

/* Optimal string alignment: insertions, deletions, substitutions, and swaps of neighbours. */
static size_t distance(const char *a, const char *b)
{
    const size_t n = strlen(b);
    size_t rows[3][NAME_MAX_BYTES + 1];
    size_t *older = rows[0], *old = rows[1], *row = rows[2];

    for (size_t j = 0; j <= n; j++) old[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t *const spare = older;

        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            const bool equal = folded(a[i - 1]) == folded(b[j - 1]);

            row[j] = smaller(smaller(old[j], row[j - 1]) + 1, old[j - 1] + !equal);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], older[j - 2] + 1);
        }
        older = old;
        old = row;
        row = spare;
    }
    return old[n];
}

const char *config_nearest(const char *word, const char *const *names, size_t n)
{
    const size_t length = strlen(word);
    size_t best = 1 + smaller(length / 3 + 1, 3); /* at this distance nothing is near */
    const char *nearest = NULL;

    if (length > NAME_MAX_BYTES) return NULL;
    for (size_t i = 0; i < n; i++) {
        const size_t common = smaller(length, strlen(names[i]));
        size_t d;

        if (strlen(names[i]) > NAME_MAX_BYTES) continue;
        d = distance(word, names[i]);
        if (common >= 3 && strncmp(word, names[i], common) == 0) d = smaller(d, 2);
        if (d < best && d < length + !length) {
            best = d;
            nearest = names[i];
        }
    }
    return nearest;
}

/* "; did you mean --cache-size?" or "", for a word no row is called. `dashes` goes before
 * the name; a name without them is written as in a file. */
static void suggest(char *out, size_t n, const char *word, const char *dashes, unsigned where)
{
    const char *names[256] = {"help", "version"}; /* no rows, but options all the same */
    size_t count = *dashes ? 2 : 0;
    char flag[NAME_MAX_BYTES];
    const option *row;
    const char *name;

    for (const option *o = option_table; o < option_table + option_count; o++)
        if ((o->where & where) && count < sizeof names / sizeof names[0])
            names[count++] = o->name;
    name = config_nearest(word, names, count);
    *out = '\0';
    if (!name) return;
    row = *dashes ? option_find(name, strlen(name), where) : NULL;
    if (row) name = option_flag(row, flag, sizeof flag);
    snprintf(out, n, "; did you mean %s%s?", dashes, name);
}

/* Set a row; on failure the sentence begins with the place, "--threads: ". */
static char *set(config *c, const option *o, const char *text, const char *place)
{
    char *error = o->kind->set(c, o, text);
    char *sentence;

    if (!error) return NULL;
    sentence = option_sentence("%s: %s", place, error);
    free(error);
    return sentence;
}

static char *load_defaults(config *c)
{
    char *error = NULL;

    for (const option *o = option_table; o < option_table + option_count && !error; o++)
        error = set(c, o, o->value, o->name);
    return error;
}

/* ---- file ---- */

typedef struct file_reader {
    config *c;
    FILE *file;
    const char *path;
    unsigned where;
    int line;   /* the one being read, from 1 */
    char *text; /* getline's */
    size_t room;
    const option *seen[256]; /* what the file has set */
    size_t n_seen;
    char *error;
} file_reader;

static void file_error(file_reader *f, const char *what)
{
    if (!f->error) f->error = option_sentence("%s:%d: %s", f->path, f->line, what);
}

/* A line for inih, fgets-like. It never sees what it would treat in its own way: lines that
 * it would split, continue or take for a section, and NUL. */
static char *read_line(char *out, int room, void *user)
{
    file_reader *f = user;
    ssize_t length;
    const char *start;

    if (f->error) return NULL;
    f->line++;
    errno = 0;
    length = getline(&f->text, &f->room, f->file);
    if (length < 0) {
        if (ferror(f->file) || errno)
            f->error = option_sentence("%s: %s", f->path, strerror(errno));
        return NULL;
    }
    start = f->text + strspn(f->text, " \t");
    if (memchr(f->text, '\0', (size_t)length)) {
        file_error(f, "the line holds a NUL byte");
    } else if (*start == '[') {
        file_error(f, "sections are not used here, only `key = value` lines");
    } else if (f->text + length - start >= room) {
        file_error(f, "the line is too long");
    } else {
        memcpy(out, start, (size_t)(f->text + length - start) + 1);
        return out;
    }
    return NULL;
}

static int on_pair(void *user, const char *section, const char *key, const char *value)
{
    file_reader *f = user;
    const option *o = option_find(key, strlen(key), f->where);
    char place[4200];

    (void)section;
    if (f->error) return 0;
    if (!o) {
        char hint[2 * NAME_MAX_BYTES];

        suggest(hint, sizeof hint, key, "", f->where);
        f->error = option_sentence("%s:%d: unknown key '%s'%s", f->path, f->line, key, hint);
        return 0;
    }
    for (size_t i = 0; i < f->n_seen; i++)
        if (f->seen[i] == o) file_error(f, "this key was set before");
    if (o->where & CONFIG_NOFILE) file_error(f, "this option cannot be set in a file");
    if (f->error) return 0;
    f->seen[f->n_seen++] = o;
    snprintf(place, sizeof place, "%s:%d: %s", f->path, f->line, o->name);
    f->error = set(f->c, o, value, place);
    return f->error == NULL;
}

static char *load_file(config *c, unsigned where, const char *path)
{
    file_reader f = {.c = c, .path = path, .where = where};
    int bad_line;

    f.file = fopen(path, "re");
    if (!f.file) return option_sentence("%s: %s", path, strerror(errno));
    bad_line = ini_parse_stream(read_line, &f, on_pair, &f);
    if (bad_line > 0 && !f.error)
        f.error = option_sentence("%s:%d: not a `key = value` line", path, bad_line);
    free(f.text);
    fclose(f.file);
    return f.error;
}

/* ---- environment ---- */

/* The row that a "XQUANTD_CACHE_SIZE=1GiB" sets, or NULL; *value is what it says. */
static const option *from_environment(const char *entry, unsigned where, const char **value)
{
    static const char prefix[] = "XQUANTD_";
    char name[NAME_MAX_BYTES];
    size_t n = 0;
    const option *o;

    if (strncmp(entry, prefix, sizeof prefix - 1) != 0) return NULL;
    entry += sizeof prefix - 1;
    for (; entry[n] && entry[n] != '=' && n < sizeof name; n++) {
        if (entry[n] >= 'a' && entry[n] <= 'z') return NULL;
        name[n] = entry[n] >= 'A' && entry[n] <= 'Z' ? (char)(entry[n] + 'a' - 'A') : entry[n];
    }
    if (entry[n] != '=' || !entry[n + 1]) return NULL;
    o = option_find(name, n, where);
    if (!o || !(o->where & CONFIG_SERVE)) return NULL;
    *value = entry + n + 1;
    return o;
}

static char *load_environment(config *c, unsigned where, char **environment)
{
    char *error = NULL;

    for (; environment && *environment && !error; environment++) {
        const char *value;
        const option *o = from_environment(*environment, where, &value);

        if (o) {
            char place[2 * NAME_MAX_BYTES];

            snprintf(place, sizeof place, "%.*s", (int)strcspn(*environment, "="),
                     *environment);
            error = set(c, o, value, place);
        }
    }
    return error;
}

/* ---- command line ---- */

/* One argument taken apart: an option with its value, or a plain word (o NULL). */
typedef struct argument {
    const option *o;
    const char *value;
    char name[NAME_MAX_BYTES + 4]; /* as written, for messages: "--threads", "-t" */
    bool takes_next;               /* the value is the next argument */
} argument;

static char *split_long(argument *a, const char *text, unsigned where)
{
    const size_t n = strcspn(text, "=");
    const bool negated = strncmp(text, "no-", 3) == 0 || strncmp(text, "no_", 3) == 0;
    const option *off;

    snprintf(a->name, sizeof a->name, "--%.*s", (int)smaller(n, NAME_MAX_BYTES), text);
    a->o = option_find(text, n, where);
    off = negated ? option_find(text + 3, n - 3, where) : NULL;
    if (!a->o && off && !off->kind->value && !text[n]) {
        a->o = off;
        a->value = "off";
        return NULL;
    }
    if (!a->o) {
        char hint[2 * NAME_MAX_BYTES];

        suggest(hint, sizeof hint, a->name + 2, "--", where);
        return option_sentence("unknown option %s%s", a->name, hint);
    }
    if (text[n] == '=')
        a->value = text + n + 1;
    else if (a->o->kind->value)
        a->takes_next = true;
    else
        a->value = "on";
    return NULL;
}

static char *split_letter(argument *a, const char *text, unsigned where)
{
    snprintf(a->name, sizeof a->name, "-%c", text[0]);
    a->o = option_find_letter(text[0], where);
    if (!a->o) return option_sentence("unknown option -%s", text);
    if (text[1])
        a->value = text + 1 + (text[1] == '=');
    else if (a->o->kind->value)
        a->takes_next = true;
    else
        a->value = "on";
    return NULL;
}

static bool is_number(const char *text)
{
    return text[strspn(text, "+-.")] >= '0' && text[strspn(text, "+-.")] <= '9';
}

static char *split(argument *a, const char *text, unsigned where)
{
    *a = (argument){0};
    if (text[0] != '-' || !text[1] || is_number(text)) return NULL;
    if (text[1] == '-') return split_long(a, text + 2, where);
    return split_letter(a, text + 1, where);
}

/* An option where a value should be is a value forgotten; any other word, -1 too, is one. */
static bool is_option(const char *text, unsigned where)
{
    argument a;
    char *error = split(&a, text, where);
    const bool unknown = error != NULL;

    free(error);
    return a.o && !unknown && (text[1] == '-' || !text[2]);
}

static char *load_plain(config *c, unsigned where, const char *text)
{
    static const option plain = {.name = "argument", .offset = offsetof(config, argument)};
    const option *string = option_find("model", 5, CONFIG_INSPECT);

    if (!(where & (CONFIG_INSPECT | CONFIG_CONVERT)) || c->argument)
        return option_sentence("unexpected argument '%s'", text);
    return string->kind->set(c, &plain, text);
}

/* Apply argv. With `only`, just that row's: the file must be known before all others. */
static char *load_arguments(config *c, unsigned where, int argc, char **argv,
                            const option *only)
{
    bool plain_only = false;
    char *error = NULL;

    for (int i = 0; i < argc && !error; i++) {
        argument a = {0};

        if (!plain_only && strcmp(argv[i], "--") == 0) {
            plain_only = true;
            continue;
        }
        if (!plain_only && (error = split(&a, argv[i], where))) break;
        if (a.takes_next) {
            if (i + 1 == argc || is_option(argv[i + 1], where))
                return option_sentence("%s needs a value", a.name);
            a.value = argv[++i];
        }
        if (only && a.o != only) continue;
        error = a.o ? set(c, a.o, a.value, a.name) : load_plain(c, where, argv[i]);
    }
    return error;
}

/* ---- all of it ---- */

/* Lowest first, each over the one before. The place of the file is itself an option, so the
 * command line is read twice and the environment too. */
static char *load(config *c, unsigned where, int argc, char **argv, char **environment)
{
    const option *file = option_find("config", 6, where);
    char *error = load_defaults(c);

    if (!error && file) {
        error = load_environment(c, where, environment);
        if (!error) error = load_arguments(c, where, argc, argv, file);
        if (!error && *c->config) error = load_file(c, where, c->config);
    }
    if (!error) error = load_environment(c, where, environment);
    if (!error) error = load_arguments(c, where, argc, argv, NULL);
    return error;
}

char *config_load(config *c, unsigned where, int argc, char **argv, char **environment)
{
    char *error;

    *c = (config){0};
    error = load(c, where, argc, argv, environment);
    if (error) config_free(c);
    return error;
}
