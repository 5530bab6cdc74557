/* config.c - fills a config from defaults, a file, the environment and the command line.
 *
 *   options.def  <  file of --config  <  XQUANTD_* variables  <  command line
 *
 * Each source writes every row it has over what the one before wrote, and all of them through
 * the row's own `set`, so a value means the same and is refused in the same words wherever a
 * person wrote it; only the place in front of the sentence differs: "--threads: ", "x.conf:3:
 * threads: ", "XQUANTD_THREADS: ".
 *
 * The file's place is an option itself, and may stand anywhere on the command line. So the
 * environment and the command line are each read twice: first for the place, then for all. The
 * first fault ends it, as a sentence for a person; what was filled so far is freed. */
#include "config/config.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "config/nearest.h"
#include "config/option.h"

enum { NAME_MAX_BYTES = NEAREST_MAX_BYTES, ROWS_MAX = 256 /* more than options.def has */ };

enum { FILE_MAX_BYTES = 1 << 20 };

/* "; did you mean --cache-size?" or "", for a word no row is called. `dashes` goes before
 * the name; a name without them is written as in a file. */
static void suggest(char *out, size_t n, const char *word, const char *dashes, unsigned where)
{
    const char *names[ROWS_MAX] = {"help", "version"}; /* no rows, but options all the same */
    size_t count = *dashes ? 2 : 0;
    char flag[NAME_MAX_BYTES];
    const option *row;
    const char *name;

    for (const option *o = option_table; o < option_table + option_count; o++)
        if ((o->where & where) && count < sizeof names / sizeof names[0])
            names[count++] = o->name;
    name = nearest_name(word, names, count);
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

/* Defaults are texts, too: one that its own row refuses shows at the first start. */
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
    const option *seen[ROWS_MAX]; /* what the file has set: a key twice is a mistake */
    size_t n_seen;
    char *error;
} file_reader;

static void file_error(file_reader *f, const char *what)
{
    if (!f->error) f->error = option_sentence("%s:%d: %s", f->path, f->line, what);
}

/* What inih would treat in its own way: it ends a text at NUL, prefixes keys with sections,
 * and splits a line that is longer than its buffer in two. NULL: nothing. */
static const char *find_line_fault(const char *line, size_t length, const char *start, int room)
{
    if (memchr(line, '\0', length)) return "the line holds a NUL byte";
    if (*start == '[') return "sections are not used here, only `key = value` lines";
    if (line + length - start >= room) return "the line is too long";
    return NULL;
}

/* A line for inih, fgets-like, without the space before it, by which inih would take it for the
 * line before going on. */
static char *read_line(char *out, int room, void *user)
{
    file_reader *f = user;
    const char *start, *wrong;
    ssize_t length;

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
    wrong = find_line_fault(f->text, (size_t)length, start, room);
    if (wrong) {
        file_error(f, wrong);
        return NULL;
    }
    memcpy(out, start, (size_t)(f->text + length - start) + 1);
    return out;
}

/* inih's callback. It would go on after a fault; read_line gives it no more lines then. */
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

/* All of the file into memory, with a bound: getline would take a device without line ends for
 * one long line. NULL, or what is wrong. */
static char *read_file(const char *path, char *bytes, size_t *n)
{
    FILE *f = fopen(path, "re");
    char *error = NULL;

    if (!f) return option_sentence("%s: %s", path, strerror(errno));
    *n = fread(bytes, 1, FILE_MAX_BYTES + 1, f);
    if (ferror(f))
        error = option_sentence("%s: %s", path, strerror(errno));
    else if (*n > FILE_MAX_BYTES)
        error = option_sentence("%s: a configuration file holds at most 1 MiB", path);
    fclose(f);
    return error;
}

static char *load_bytes(config *c, unsigned where, const char *path, char *bytes, size_t n)
{
    file_reader f = {.c = c, .path = path, .where = where};
    int bad_line;

    if (!n) return NULL; /* fmemopen need not take an empty buffer */
    f.file = fmemopen(bytes, n, "r");
    if (!f.file) return option_sentence("%s: %s", path, strerror(errno));
    bad_line = ini_parse_stream(read_line, &f, on_pair, &f);
    if (bad_line > 0 && !f.error)
        f.error = option_sentence("%s:%d: not a `key = value` line", path, bad_line);
    free(f.text);
    fclose(f.file);
    return f.error;
}

static char *load_file(config *c, unsigned where, const char *path)
{
    char *bytes = malloc(FILE_MAX_BYTES + 1);
    char *error = bytes ? NULL : option_sentence("%s: %s", path, strerror(ENOMEM));
    size_t n = 0;

    if (bytes) error = read_file(path, bytes, &n);
    if (!error) error = load_bytes(c, where, path, bytes, n);
    free(bytes);
    return error;
}

/* ---- environment ---- */

/* The row that a "XQUANTD_CACHE_SIZE=1GiB" sets, or NULL; *value is what it says. Names that no
 * row has are no fault, for Kubernetes sets variables after a service of that name; and only
 * rows of the daemon count, not what a person asks of one run. */
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

/* The row that "no-degrade" turns off, or NULL: rows without a value are flags. */
static const option *find_negated(const char *text, size_t n, unsigned where)
{
    const bool negated = strncmp(text, "no-", 3) == 0 || strncmp(text, "no_", 3) == 0;
    const option *o = negated ? option_find(text + 3, n - 3, where) : NULL;

    return o && !o->kind->value ? o : NULL;
}

static char *refuse_option(const argument *a, unsigned where)
{
    char hint[2 * NAME_MAX_BYTES];

    suggest(hint, sizeof hint, a->name + 2, "--", where);
    return option_sentence("unknown option %s%s", a->name, hint);
}

static char *split_long(argument *a, const char *text, unsigned where)
{
    const size_t n = strcspn(text, "="), shown = n < NAME_MAX_BYTES ? n : NAME_MAX_BYTES;

    snprintf(a->name, sizeof a->name, "--%.*s", (int)shown, text);
    a->o = option_find(text, n, where);
    if (!a->o && !text[n]) { /* "--no-degrade=on" would be a riddle */
        a->o = find_negated(text, n, where);
        a->value = a->o ? "off" : NULL;
    }
    if (!a->o) return refuse_option(a, where);
    if (text[n] == '=')
        a->value = text + n + 1;
    else if (a->o->kind->value)
        a->takes_next = true;
    else if (!a->value)
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

/* The one argument of `inspect` and some others; it is stored as strings are, through the row
 * of one. */
static char *load_plain(config *c, unsigned where, const char *text)
{
    const unsigned takers = CONFIG_INSPECT | CONFIG_CONVERT | CONFIG_PULL | CONFIG_MODELS;
    static const option plain = {.name = "argument", .offset = offsetof(config, argument)};
    const option *string = option_find("model", 5, CONFIG_INSPECT);

    if (!(where & takers) || c->argument)
        return option_sentence("unexpected argument '%s'", text);
    return string->kind->set(c, &plain, text);
}

/* Take the argument at argv[*at] apart, and the next one with it where that is its value. */
static char *take_argument(argument *a, unsigned where, int argc, char **argv, int *at)
{
    char *error = split(a, argv[*at], where);

    if (error || !a->takes_next) return error;
    if (*at + 1 == argc || is_option(argv[*at + 1], where))
        return option_sentence("%s needs a value", a->name);
    a->value = argv[++*at];
    return NULL;
}

/* Apply argv. With `only`, just that row's: the file must be known before all others. */
static char *load_arguments(config *c, unsigned where, int argc, char **argv,
                            const option *only)
{
    bool plain_only = false; /* after "--" */
    char *error = NULL;

    for (int i = 0; i < argc && !error; i++) {
        argument a = {0};

        if (!plain_only && strcmp(argv[i], "--") == 0) {
            plain_only = true;
            continue;
        }
        if (!plain_only) error = take_argument(&a, where, argc, argv, &i);
        if (error || (only && a.o != only)) continue;
        error = a.o ? set(c, a.o, a.value, a.name) : load_plain(c, where, argv[i]);
    }
    return error;
}

/* ---- all of it ---- */

/* Lowest first. Only `serve` has a file: `where` of the others finds no row called config. */
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

void config_free(config *c)
{
    option_free_values(c);
    *c = (config){0};
}

char *config_load(config *c, unsigned where, int argc, char **argv, char **environment)
{
    char *error;

    *c = (config){0};
    error = load(c, where, argc, argv, environment);
    if (error) config_free(c);
    return error;
}
