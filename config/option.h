/* option.h - one option: its row in the table, and how a value of its kind is read and
 * written. Internal to config/.
 *
 * A kind is a struct of functions, so nothing else asks which kind a row has. */
#ifndef CONFIG_OPTION_H
#define CONFIG_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "config/options.h"

typedef struct option option;

typedef struct option_kind {
    const char *value; /* what --help calls a value; NULL if the name alone is enough */

    /* Write what `text` says into the row's field of c. NULL, or a malloc'd sentence that
     * says what is wrong with the text: "'x' is not a whole number". */
    char *(*set)(config *c, const option *o, const char *text);

    void (*print)(FILE *out, const config *c, const option *o);
} option_kind;

struct option {
    const char *name; /* with underscores */
    const option_kind *kind;
    char letter;          /* 0: none */
    const char *value;    /* the default, as a person would write it */
    long double min, max; /* wide enough for every int64_t */
    unsigned where;
    const char *help;
    size_t offset; /* of the field in config */
};

/* Every row of options.def, in its order. */
extern const option option_table[];
extern const size_t option_count;

/* The row called name[0..n-1] among those that share a bit with `where`, or NULL. */
const option *option_find(const char *name, size_t n, unsigned where);
const option *option_find_letter(char letter, unsigned where);

/* The last word-by-word list in a WORD's help: "debug info warn error". */
const char *option_words(const option *o);

/* "cache_size" -> "cache-size", at most n-1 bytes. Returns out. */
char *option_flag(const option *o, char *out, size_t n);

/* Free the strings that `set` stored. */
void option_free_values(config *c);

/* The malloc'd sentence that a format makes; aborts when there is no memory even for it. */
char *option_sentence(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
