/* embedded.c - a runtime of the embedded model, and its groups. */
#include "tests/embedded.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lab.h"
#include "tests/test.h"

void embedded_open(runtime *r, config *c, const char *mode, const char *threads)
{
    char *argv[] = {
        "--model",       LAB_EMBEDDED, "--cache",          (char *)(uintptr_t)mode,
        "--cache-size",  "256MiB",     "--workspace-size", "512MiB",
        "--max-running", "32",         "--threads",        (char *)(uintptr_t)threads};
    char what[256];

    CHECK(config_load(c, CONFIG_SERVE, sizeof argv / sizeof *argv, argv, NULL) == NULL);
    CHECK(runtime_open(r, c, c->model, what, sizeof what) == ERR_OK);
}

void embedded_close(runtime *r, config *c)
{
    runtime_close(r);
    config_free(c);
}

generation_group *embedded_group(generation *const *members, size_t n)
{
    generation_group *w = NULL;

    CHECK(generation_group_new(&w, members, n) == ERR_OK);
    return w;
}
