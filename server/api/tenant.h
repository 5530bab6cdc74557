/* tenant.h - whose a request is, and with whom it shares cached blocks.
 *
 * What a client can see of a block that another has cached is the time it saves. So blocks are
 * shared within one API key and one `cache_salt` only; --share-prefixes leaves the key out. A
 * key is one of --api-key-file: what no file vouches for tells nobody apart. */
#ifndef SERVER_API_TENANT_H
#define SERVER_API_TENANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TENANT_SALT_BYTES = 1024 /* of the longest cache_salt */, TENANT_OF_ALL = 1 };

typedef struct tenant {
    uint64_t id;       /* of the key; never 0. Without a key file all are 1 */
    uint64_t scope[2]; /* blocks are shared within equal scopes */
} tenant;

/* id: keys_tenant, or TENANT_OF_ALL; salt: NULL is the empty one. */
tenant tenant_make(uint64_t id, const char *salt, bool share_prefixes);

#endif
