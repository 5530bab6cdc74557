/* command.c - from a command line to a subcommand's own work. */
#include "server/cmd/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int command_run(unsigned where, int argc, char **argv, int (*run)(config *c))
{
    config c;
    char *wrong = config_load(&c, where, argc, argv, environ);
    int code = 2;

    if (wrong)
        fprintf(stderr, "xquantd: %s\n", wrong);
    else
        code = run(&c);
    free(wrong);
    config_free(&c);
    return code;
}
