/* command.c - from a command line to a subcommand's own work.
 *
 * Two things that every command would otherwise do in its own way: options into a config, and
 * the name of a model into a file. Exit codes: 2 for what a person wrote wrong, 1 for what
 * failed. */
#include "server/cmd/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/convert/download.h"
#include "server/folders.h"

static const char embedded[] = "models/seedling-32m-mha-q8_0.gguf";

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

err command_locate_model(const config *c, char *path, size_t n, char *what, size_t what_bytes)
{
    const char *name = c->argument ? c->argument : c->model;

    if (*name) return download_locate(name, 0, path, n, what, what_bytes);
    folders_find_shipped(embedded, path, n);
    return ERR_OK;
}

err command_open_model(runtime *r, const config *c, char *what, size_t what_bytes)
{
    char path[COMMAND_PATH];

    *r = (runtime){0};
    TRY(command_locate_model(c, path, sizeof path, what, what_bytes));
    return runtime_open_model(r, c, path, what, what_bytes);
}

err command_open_measured(runtime *r, const config *c, char *what, size_t what_bytes)
{
    char path[COMMAND_PATH];

    *r = (runtime){0};
    TRY(command_locate_model(c, path, sizeof path, what, what_bytes));
    return runtime_open_measured(r, c, path, what, what_bytes);
}
