/* test_main.c - runs the tests that registered themselves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/test.h"

enum { MAX_TESTS = 512 };

static struct CMUnitTest tests[MAX_TESTS];
static size_t n_tests;

void test_register(const char *name, CMUnitTestFunction f)
{
    if (n_tests == MAX_TESTS) abort();
    tests[n_tests++] = (struct CMUnitTest){.name = name, .test_func = f};
}

void test_skipped(const char *why)
{
    fprintf(stderr, "skipped: %s\n", why);
}

const char *test_shared(const char *name)
{
    static char path[4096];
    const char *root = getenv("XQUANTD_SHARED");

    snprintf(path, sizeof path, "%s/%s", root ? root : "../shared", name);
    return access(path, R_OK) == 0 ? path : NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct CMUnitTest *)a)->name, ((const struct CMUnitTest *)b)->name);
}

int main(int argc, char **argv)
{
    qsort(tests, n_tests, sizeof tests[0], by_name);
    if (argc > 1) {
        size_t kept = 0;

        for (size_t i = 0; i < n_tests; i++)
            if (strstr(tests[i].name, argv[1])) tests[kept++] = tests[i];
        n_tests = kept;
    }
    return _cmocka_run_group_tests(argv[0], tests, n_tests, NULL, NULL);
}
