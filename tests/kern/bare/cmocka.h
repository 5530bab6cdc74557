/* cmocka.h - as much of cmocka as check_all asks for, where there is no library of it for the
 * CPU that is built for: tests run one after the other, results are told as TAP. */
#ifndef TESTS_KERN_BARE_CMOCKA_H
#define TESTS_KERN_BARE_CMOCKA_H

#include <stddef.h>

typedef void (*CMUnitTestFunction)(void **state);

struct CMUnitTest {
    const char *name;
    CMUnitTestFunction test_func;
};

/* Ends the running test where it is not true. */
void _assert_true(unsigned long long result, const char *text, const char *file, int line);

/* Runs n tests; returns how many failed. `name` and both functions are not used. */
int _cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t n,
                            int (*setup)(void **state), int (*teardown)(void **state));

#endif
