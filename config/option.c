/* option.c - the table of options, and the reading and writing of each kind of value.
 *
 * The macros OPT of options.def name a kind (STR, SIZE ...), and by it the type of the field
 * (config_SIZE), its set_SIZE, print_SIZE and kind_SIZE: a new kind is one section here and one
 * typedef in options.h. `set` is the only place that says what a value may be; min and max of a
 * row are long double, which holds every int64_t and every size exactly. */
#include "config/option.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "config/size.h"

/* One string that a config owns. A row that is set again, by a stronger source, leaves the
 * older string in the list: nobody counts who still points at it, and all go together. */
struct config_memory {
    struct config_memory *next;
    char text[];
};

char *option_sentence(const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) abort(); /* at start: there is nothing to save */
    va_end(args);
    return text;
}

static void *field(config *c, const option *o)
{
    return (char *)c + o->offset;
}

static const void *field_const(const config *c, const option *o)
{
    return (const char *)c + o->offset;
}

/* ---- STR ---- */

static char *set_STR(config *c, const option *o, const char *text)
{
    const size_t n = strlen(text) + 1;
    struct config_memory *m = malloc(sizeof *m + n);

    if (!m) return option_sentence("out of memory");
    memcpy(m->text, text, n);
    m->next = c->memory;
    c->memory = m;
    *(config_STR *)field(c, o) = m->text;
    return NULL;
}

static void print_STR(FILE *out, const config *c, const option *o)
{
    fputs(*(const config_STR *)field_const(c, o), out);
}

/* ---- WORD ---- */

/* The help is the list: what --help shows and what is accepted cannot differ. */
const char *option_words(const option *o)
{
    const char *colon = strrchr(o->help, ':');

    return colon + 1 + strspn(colon + 1, " ");
}

static char *set_WORD(config *c, const option *o, const char *text)
{
    const size_t n = strlen(text);

    for (const char *w = option_words(o); *w; w += strspn(w, " ")) {
        const size_t length = strcspn(w, " ");

        if (length == n && memcmp(w, text, n) == 0) return set_STR(c, o, text);
        w += length;
    }
    return option_sentence("'%s' is none of: %s", text, option_words(o));
}

/* ---- SIZE ---- */

static char *set_SIZE(config *c, const option *o, const char *text)
{
    const bool automatic = strcmp(o->value, "auto") == 0;
    uint64_t bytes;

    if (automatic && strcmp(text, "auto") == 0) {
        *(config_SIZE *)field(c, o) = CONFIG_AUTO;
        return NULL;
    }
    if (!size_parse(text, &bytes))
        return option_sentence("'%s' is not a size such as 512MiB, 2GiB or 4096%s", text,
                               automatic ? ", nor auto" : "");
    /* 0 for "as you like" is a habit of other programs; here it would be a pool of nothing */
    if (automatic && bytes == 0 && o->min > 0)
        return option_sentence("the size must not be 0; auto lets the program choose");
    if ((long double)bytes < o->min || (o->max > 0 && (long double)bytes > o->max))
        return option_sentence("'%s' is out of range: at least %.0Lf%s", text, o->min,
                               o->max > 0 ? " and below the largest allowed" : " bytes");
    *(config_SIZE *)field(c, o) = bytes;
    return NULL;
}

static void print_SIZE(FILE *out, const config *c, const option *o)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    uint64_t bytes = *(const config_SIZE *)field_const(c, o);
    size_t unit = 0;

    if (bytes == CONFIG_AUTO) {
        fputs("auto", out);
        return;
    }
    /* the largest unit that divides it, so that reading it back gives the same number */
    while (bytes && bytes % 1024 == 0 && unit + 1 < sizeof units / sizeof units[0]) {
        bytes /= 1024;
        unit++;
    }
    fprintf(out, "%" PRIu64 "%s", bytes, units[unit]);
}

/* ---- INT ---- */

static char *set_INT(config *c, const option *o, const char *text)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10); /* it skips leading space, which is a mistake here */
    if (end == text || *end || isspace((unsigned char)text[0]))
        return option_sentence("'%s' is not a whole number", text);
    if (errno || (long double)value < o->min || (long double)value > o->max)
        return option_sentence("%s is out of range: %.0Lf to %.0Lf", text, o->min, o->max);
    *(config_INT *)field(c, o) = value;
    return NULL;
}

static void print_INT(FILE *out, const config *c, const option *o)
{
    fprintf(out, "%" PRId64, *(const config_INT *)field_const(c, o));
}

/* ---- NUM ---- */

static char *set_NUM(config *c, const option *o, const char *text)
{
    char *end;
    double value;

    value = strtod(text, &end);
    if (end == text || *end || isspace((unsigned char)text[0]) || !isfinite(value))
        return option_sentence("'%s' is not a number", text);
    if ((long double)value < o->min || (long double)value > o->max)
        return option_sentence("%s is out of range: %.15Lg to %.15Lg", text, o->min, o->max);
    *(config_NUM *)field(c, o) = value;
    return NULL;
}

/* The fewest digits that read back as the same number. */
static void print_NUM(FILE *out, const config *c, const option *o)
{
    const double value = *(const config_NUM *)field_const(c, o);
    char text[32];

    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (!(strtod(text, NULL) < value || strtod(text, NULL) > value)) break;
    }
    fputs(text, out);
}

/* ---- FLAG ---- */

static char *set_FLAG(config *c, const option *o, const char *text)
{
    static const char *const words[] = {"off", "on", "false", "true", "no", "yes", "0", "1"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i]) != 0) continue;
        *(config_FLAG *)field(c, o) = i % 2;
        return NULL;
    }
    return option_sentence("'%s' is neither on nor off", text);
}

static void print_FLAG(FILE *out, const config *c, const option *o)
{
    fputs(*(const config_FLAG *)field_const(c, o) ? "on" : "off", out);
}

/* ---- the table ---- */

static const option_kind kind_STR = {"TEXT", set_STR, print_STR};
static const option_kind kind_WORD = {"WORD", set_WORD, print_STR};
static const option_kind kind_SIZE = {"SIZE", set_SIZE, print_SIZE};
static const option_kind kind_INT = {"N", set_INT, print_INT};
static const option_kind kind_NUM = {"X", set_NUM, print_NUM};
static const option_kind kind_FLAG = {NULL, set_FLAG, print_FLAG};

const option option_table[] = {
#define OPT(k, n, l, def, lo, hi, at, text) \
    {#n, &kind_##k, l, def, lo, hi, at, text, offsetof(config, n)},
#include "config/options.def"
#undef OPT
};
const size_t option_count = sizeof option_table / sizeof option_table[0];

/* A person may write - or _, anywhere. */
static bool same_name(const char *name, const char *text, size_t n)
{
    if (strlen(name) != n) return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] != (text[i] == '-' ? '_' : text[i])) return false;
    return true;
}

const option *option_find(const char *name, size_t n, unsigned where)
{
    for (const option *o = option_table; o < option_table + option_count; o++)
        if ((o->where & where) && same_name(o->name, name, n)) return o;
    return NULL;
}

const option *option_find_letter(char letter, unsigned where)
{
    for (const option *o = option_table; o < option_table + option_count; o++)
        if ((o->where & where) && letter && o->letter == letter) return o;
    return NULL;
}

char *option_flag(const option *o, char *out, size_t n)
{
    snprintf(out, n, "%s", o->name);
    for (char *p = out; *p; p++)
        if (*p == '_') *p = '-';
    return out;
}

void option_free_values(config *c)
{
    struct config_memory *next;

    for (struct config_memory *m = c->memory; m; m = next) {
        next = m->next;
        free(m);
    }
    c->memory = NULL;
}
