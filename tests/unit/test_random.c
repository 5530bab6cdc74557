/* test_random.c - numbers and names differ, and have their form. */
#include "server/random.h"

#include <string.h>

#include "tests/test.h"

TEST(random_ids_differ_and_have_32_digits)
{
    char a[RANDOM_ID_BYTES], b[RANDOM_ID_BYTES];

    random_id(a, "chatcmpl-");
    random_id(b, "chatcmpl-");
    CHECK(strncmp(a, "chatcmpl-", 9) == 0 && strlen(a) == 41 && strcmp(a, b) != 0);
    CHECK(strspn(a + 9, "0123456789abcdef") == 32);
}

TEST(random_numbers_differ)
{
    CHECK(random_number() != random_number());
}
