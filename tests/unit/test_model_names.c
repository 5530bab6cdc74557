/* test_model_names.c - the names that a model goes by. */
#include "server/api/model_names.h"

#include <string.h>

#include "tests/test.h"

TEST(model_names_serve_the_own_name_and_the_listed_ones)
{
    const model_names n = {.own = "org/m", .more = "gpt-4o, claude,,x"};

    CHECK(model_names_serve(&n, "org/m") && model_names_serve(&n, "gpt-4o"));
    CHECK(model_names_serve(&n, "claude") && model_names_serve(&n, "x"));
    CHECK(!model_names_serve(&n, "") && !model_names_serve(&n, "gpt-4"));
    CHECK(!model_names_serve(&n, "gpt-4o, claude"));
}

TEST(model_names_serve_any_name_where_that_is_wished)
{
    const model_names one = {.own = "m"}, any = {.own = "m", .any = true};

    CHECK(!model_names_serve(&one, "n") && model_names_serve(&any, "n"));
}

TEST(model_names_are_listed_with_the_own_one_first)
{
    const model_names n = {.own = "m", .more = "a,bc"};
    char name[8];

    CHECK(model_names_at(&n, 0, name, sizeof name) && strcmp(name, "m") == 0);
    CHECK(model_names_at(&n, 1, name, sizeof name) && strcmp(name, "a") == 0);
    CHECK(model_names_at(&n, 2, name, sizeof name) && strcmp(name, "bc") == 0);
    CHECK(!model_names_at(&n, 3, name, sizeof name));
}
