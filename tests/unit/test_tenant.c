/* test_tenant.c - who shares with whom. */
#include "server/api/tenant.h"

#include <string.h>

#include "tests/test.h"

static bool share(tenant a, tenant b)
{
    return memcmp(a.scope, b.scope, sizeof a.scope) == 0;
}

TEST(tenant_shares_within_one_key_and_one_salt)
{
    const tenant none = tenant_make(NULL, NULL, false),
                 a = tenant_make("Bearer a", NULL, false);

    CHECK(share(none, tenant_make("Bearer ", "", false)));
    CHECK(share(a, tenant_make("bearer  a", "", false)) && !share(a, none));
    CHECK(!share(a, tenant_make("Bearer b", NULL, false)));
    CHECK(!share(a, tenant_make("Bearer a", "s", false)));
    CHECK(share(tenant_make("Bearer a", "s", false), tenant_make("Bearer a", "s", false)));
}

TEST(tenant_keeps_a_key_and_a_salt_apart)
{
    CHECK(!share(tenant_make("Bearer ab", "c", false), tenant_make("Bearer a", "bc", false)));
    CHECK(!share(tenant_make("Bearer ab", "", false), tenant_make(NULL, "ab", false)));
}

TEST(tenant_may_share_prefixes_with_other_keys_but_never_with_other_salts)
{
    const tenant a = tenant_make("Bearer a", "s", true), b = tenant_make("Bearer b", "s", true);

    CHECK(share(a, b) && a.id != b.id);
    CHECK(!share(a, tenant_make("Bearer a", "t", true)));
}

TEST(tenant_is_known_by_its_key_alone)
{
    CHECK(tenant_make("Bearer a", "s", false).id == tenant_make("Bearer a", "t", true).id);
    CHECK(tenant_make(NULL, NULL, false).id != 0);
}
