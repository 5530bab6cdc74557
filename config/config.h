/* config.h - the options, from every place a person may write them.
 *
 * One key namespace: `--cache-size`, XQUANTD_CACHE_SIZE and `cache_size = ` in a file are
 * one row of options.def. Command line over environment over file over default. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdio.h>

#include "config/options.h"

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

#endif
