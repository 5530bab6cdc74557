/* test.h - TEST(name) { CHECK(cond); } over cmocka: a test registers itself, and is picked
 * by part of its name: `build/tests/unit/test_gguf truncated`.
 *
 *   TEST(pool_gives_back_what_it_took)
 *   {
 *       CHECK(pool_free_blocks(p) == before);
 *   }
 */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

void test_register(const char *name, CMUnitTestFunction f);

#define TEST(name)                                                      \
    static void test_##name(void **test_state);                         \
    __attribute__((constructor)) static void test_register_##name(void) \
    {                                                                   \
        test_register(#name, test_##name);                              \
    }                                                                   \
    static void test_##name(void **test_state __attribute__((unused)))

#define CHECK(cond) _assert_true((cond) ? 1 : 0, #cond, __FILE__, __LINE__)
#define SKIP(why)          \
    do {                   \
        test_skipped(why); \
        skip();            \
    } while (0)

/* Say why a test is skipped, on stderr. */
void test_skipped(const char *why);

/* The path of a file in the shared folder (XQUANTD_SHARED, else ../shared), or NULL where
 * it is absent. Static; overwritten by the next call. */
const char *test_shared(const char *name);

#endif
