/* options.h - the values of options.def as a struct. */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

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
    CONFIG_PULL = 1024,
    CONFIG_MODELS = 2048,
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
    const char *argument;         /* the plain one (inspect FILE, pull NAME), or NULL */
} config;

#endif
