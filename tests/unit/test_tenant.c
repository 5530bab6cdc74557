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
    const tenant none = tenant_make(TENANT_OF_ALL, NULL, false),
                 a = tenant_make(7, NULL, false);

    CHECK(share(none, tenant_make(TENANT_OF_ALL, "", false)));
    CHECK(share(a, tenant_make(7, "", false)) && !share(a, none));
    CHECK(!share(a, tenant_make(8, NULL, false)));
    CHECK(!share(a, tenant_make(7, "s", false)));
    CHECK(share(tenant_make(7, "s", false), tenant_make(7, "s", false)));
}

TEST(tenant_may_share_prefixes_with_other_keys_but_never_with_other_salts)
{
    const tenant a = tenant_make(7, "s", true), b = tenant_make(8, "s", true);

    CHECK(share(a, b) && a.id != b.id);
    CHECK(!share(a, tenant_make(7, "t", true)));
}

TEST(tenant_is_known_by_its_key_alone)
{
    CHECK(tenant_make(7, "s", false).id == tenant_make(7, "t", true).id);
}
