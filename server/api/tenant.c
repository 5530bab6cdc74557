/* tenant.c - a key and a salt to numbers that say nothing of them. */
#include "server/api/tenant.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

tenant tenant_make(uint64_t id, const char *salt, bool share_prefixes)
{
    const uint64_t shared = share_prefixes ? TENANT_OF_ALL : id;
    XXH3_state_t hash;
    XXH128_hash_t scope;

    XXH3_128bits_reset(&hash);
    XXH3_128bits_update(&hash, &shared, sizeof shared);
    /* 128 bits, for who finds a salt of the same scope would see another's blocks by their
     * time. */
    if (salt) XXH3_128bits_update(&hash, salt, strlen(salt));
    scope = XXH3_128bits_digest(&hash);
    return (tenant){id, {scope.low64, scope.high64}};
}
