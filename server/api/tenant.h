/* tenant.h - whose a request is, and with whom it shares cached blocks.
 *
 * What a client can see of a block that another has cached is the time it saves. So blocks are
 * shared within one API key and one `cache_salt` only; --share-prefixes leaves the key out.
 * Keys are hashed at once: none is kept. */
#ifndef SERVER_API_TENANT_H
#define SERVER_API_TENANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TENANT_SALT_BYTES = 1024 /* of the longest cache_salt */ };

typedef struct tenant {
    uint64_t id;       /* of the key; never 0 */
    uint64_t scope[2]; /* blocks are shared within equal scopes */
} tenant;

/* authorization: the header's value, "Bearer KEY", or NULL; salt: NULL is the empty one. */
tenant tenant_make(const char *authorization, const char *salt, bool share_prefixes);

#endif
