/* tenant.c - a key and a salt to numbers that say nothing of them. */
#include "server/api/tenant.h"

#include <string.h>
#include <strings.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The key of "Bearer KEY", or all of another scheme's value. */
static const char *key_of(const char *authorization)
{
    static const char scheme[] = "Bearer ";

    if (!authorization) return "";
    if (strncasecmp(authorization, scheme, sizeof scheme - 1) != 0) return authorization;
    authorization += sizeof scheme - 1;
    return authorization + strspn(authorization, " ");
}

/* Length first, so that no two pairs of texts are the same bytes. */
static void add_text(XXH3_state_t *hash, const char *text)
{
    const uint64_t n = strlen(text);

    XXH3_128bits_update(hash, &n, sizeof n);
    XXH3_128bits_update(hash, text, n);
}

/* 0 means nobody, so a key that hashes to it is 1. */
tenant tenant_make(const char *authorization, const char *salt, bool share_prefixes)
{
    const char *key = key_of(authorization);
    const uint64_t id = XXH3_64bits(key, strlen(key));
    XXH3_state_t hash;
    XXH128_hash_t scope;

    XXH3_128bits_reset(&hash);
    add_text(&hash, share_prefixes ? "" : key);
    add_text(&hash, salt ? salt : "");
    scope = XXH3_128bits_digest(&hash);
    return (tenant){id ? id : 1, {scope.low64, scope.high64}};
}
