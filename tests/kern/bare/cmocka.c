/* cmocka.c - runs tests without the library; says first which rung the CPU has. */
#include <cmocka.h>

#include <setjmp.h>
#include <stdio.h>

#include "engine/kern/cpu.h"

static jmp_buf end_of_test;

void _assert_true(unsigned long long result, const char *text, const char *file, int line)
{
    if (result) return;
    printf("# %s:%d: %s\n", file, line, text);
    longjmp(end_of_test, 1);
}

int _cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t n,
                            int (*setup)(void **state), int (*teardown)(void **state))
{
    volatile int failed = 0;

    (void)name, (void)setup, (void)teardown;
    printf("# isa %s\n1..%zu\n", cpu_name(cpu_flags()), n);
    for (volatile size_t i = 0; i < n; i++) {
        void *state = NULL;

        fflush(stdout);
        if (setjmp(end_of_test)) {
            printf("not ok %zu - %s\n", i + 1, tests[i].name);
            failed++;
            continue;
        }
        tests[i].test_func(&state);
        printf("ok %zu - %s\n", i + 1, tests[i].name);
    }
    return failed;
}
