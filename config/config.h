/* config.h - the options, from every place a person may write them.
 *
 * One key namespace: `--cache-size`, XQUANTD_CACHE_SIZE and `cache_size = ` in a file are
 * one row of options.def. Command line over environment over file over default. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Which subcommands an option belongs to: bits of options.def's `where`. */
enum {
    CONFIG_SERVE = 1,
    CONFIG_COMPLETE = 2,
    CONFIG_INSPECT = 4,
    CONFIG_PERPLEXITY = 8,
    CONFIG_CALIBRATE = 16,
    CONFIG_BENCH = 32,
    CONFIG_PLAN = 256,
    CONFIG_CONVERT = 512,
    CONFIG_NOFILE = 128, /* not for files: it says what to do now, or where the file is */
};

/* Types of the struct's fields by kind: STR const char * (owned by the config), SIZE
 * uint64_t bytes ("512MiB"; "auto" is CONFIG_AUTO where the default is auto), INT int64_t, NUM
 * double, FLAG bool, WORD const char * (one of a list). */
#define CONFIG_AUTO UINT64_MAX

typedef const char *config_STR;
typedef const char *config_WORD;
typedef uint64_t config_SIZE;
typedef int64_t config_INT;
typedef double config_NUM;
typedef bool config_FLAG;

typedef struct config {
#define OPT(kind, name, letter, def, min, max, where, help) config_##kind name;
#include "config/options.def"
#undef OPT
    struct config_memory *memory; /* what the strings live in */
    const char *argument;         /* the plain one (inspect FILE, convert DIR), or NULL */
} config;

/* Fill c for one subcommand from defaults, the file (--config or XQUANTD_CONFIG, if any),
 * the environment and argv[0..argc-1] (without the program and subcommand names). Returns
 * NULL, or a malloc'd sentence that says what is wrong and where, for the caller to print
 * and free; c is then empty. --help and --version are the caller's business.
 *
 * The environment counts for rows of `serve`; an empty variable counts as unset, and other
 * names that start with XQUANTD_ are left alone. Files are strict: `key = value` lines,
 * each key once, # or ; before a comment, 198 bytes a line. */
char *config_load(config *c, unsigned where, int argc, char **argv, char **environment);
void config_free(config *c);

/* The list of options of one subcommand as --help prints it. */
void config_print_help(FILE *out, unsigned where);

/* The values in force as a file that config_load reads (--print-config). */
void config_print(FILE *out, const config *c, unsigned where);

/* deploy/xquantd.conf: every serve option, its help and default, commented out. */
void config_print_sample(FILE *out);

/* "512MiB", "1.5 GiB", "64KB", "4096" -> bytes; false if it is none, or over INT64_MAX.
 * KiB .. TiB are powers of 1024, KB .. TB of 1000; a bare K, M, G or T is binary. */
bool config_parse_size(const char *text, uint64_t *bytes);

/* The name in names[n] closest to `word` (edit distance, a swap counts once; - and _ are
 * the same), or one that begins it or that it begins; NULL if none is near. */
const char *config_nearest(const char *word, const char *const *names, size_t n);

#endif
