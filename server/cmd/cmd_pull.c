/* cmd_pull.c - `xquantd pull`: a model by its name, fetched now rather than when it is served.
 * Prints the file's path, for scripts. */
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "server/cmd/command.h"
#include "server/convert/download.h"

static int run(config *c)
{
    char path[COMMAND_PATH], what[COMMAND_PATH];
    err e;

    if (!c->argument) {
        fputs("xquantd: pull needs a name: xquantd pull NAME, or hf:OWNER/REPO:FILE\n", stderr);
        return 2;
    }
    /* A path is itself: a script need not know which of the two it was handed. */
    e = download_locate(c->argument, (unsigned)c->timeout, path, sizeof path, what,
                        sizeof what);
    if (e == ERR_OK) {
        puts(path); /* main looks whether it came to be written */
        return 0;
    }
    fprintf(stderr, "xquantd: %s: %s\n", what, err_text(e));
    return 1;
}

int cmd_pull(int argc, char **argv)
{
    return command_run(CONFIG_PULL, argc, argv, run);
}
