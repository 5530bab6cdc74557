/* config_print.c - the options as text: --help, --print-config and the sample file.
 *
 * All three walk the table in its order, which is therefore the order a person reads. What
 * --print-config and the sample write is what config_load reads. */
#include <string.h>

#include "config/config.h"
#include "config/option.h"

enum {
    HELP_COLUMN = 32, /* where the sentences of --help start */
    HELP_WIDTH = 96,
};

/* "  -t, --threads N" without its help. Returns the columns written. */
static int print_name(FILE *out, const option *o)
{
    const char *value = o->kind->value;
    char flag[64];

    return fprintf(out, o->letter ? "  -%c, --%s%s%s" : "  %c   --%s%s%s",
                   o->letter ? o->letter : ' ', option_flag(o, flag, sizeof flag),
                   value ? " " : "", value ? value : "");
}

void config_print_help(FILE *out, unsigned where)
{
    for (const option *o = option_table; o < option_table + option_count; o++) {
        int column;

        if (!(o->where & where)) continue;
        column = print_name(out, o);
        fprintf(out, "%*s%s", column < HELP_COLUMN ? HELP_COLUMN - column : 1, "", o->help);
        if (*o->value && o->kind->value) fprintf(out, " [%s]", o->value);
        fputc('\n', out);
    }
    fprintf(out, "      --help%*sshow this\n", HELP_COLUMN - 12, "");
    fprintf(out, "      --version%*sshow the version\n", HELP_COLUMN - 15, "");
    if (where & CONFIG_SERVE)
        fputs("\nEvery option is also a variable, XQUANTD_CACHE_SIZE, and a line of the file "
              "that\n"
              "--config names, cache_size = 2GiB. The command line wins over the environment, "
              "the\n"
              "environment over the file.\n",
              out);
}

/* Those that a file may hold: --print-config itself would make a file that only prints. */
static bool in_file(const option *o, unsigned where)
{
    return (o->where & where) && !(o->where & CONFIG_NOFILE);
}

void config_print(FILE *out, const config *c, unsigned where)
{
    for (const option *o = option_table; o < option_table + option_count; o++) {
        if (!in_file(o, where)) continue;
        fprintf(out, "%s = ", o->name);
        o->kind->print(out, c, o);
        fputc('\n', out);
    }
}

void config_print_sample(FILE *out)
{
    fputs(
        "# xquantd.conf - options of `xquantd serve --config FILE`, one `key = value` a line.\n"
        "# What is commented out shows the default. A variable of the environment such as\n"
        "# XQUANTD_CACHE_SIZE wins over this file, the command line over both.\n",
        out);
    for (const option *o = option_table; o < option_table + option_count; o++)
        if (in_file(o, CONFIG_SERVE))
            fprintf(out, "\n# %s\n#%s =%s%s\n", o->help, o->name, *o->value ? " " : "",
                    o->value);
}
