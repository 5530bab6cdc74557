/* keys.h - who may use the API, and how much of it at once: the keys of --api-key-file.
 *
 * One key a line, `#` begins a comment, and after the key what it may use; what is left out has
 * no limit:
 *
 *   sk-8f3a...  name=alice  requests=32  tokens=200000  tokens_per_minute=60000
 *
 * requests: waiting and running at once; tokens: of their prompts and longest answers, at once;
 * tokens_per_minute: read and written, with a minute's worth to begin with. Keys are hashed
 * when they are read, and a key that is presented is compared with all of them, byte by byte to
 * the end: how long that takes says nothing of them. Everything here runs on the loop thread.
 */
#ifndef SERVER_API_KEYS_H
#define SERVER_API_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"

enum { KEYS_NAME_BYTES = 64, KEYS_HASH_BYTES = 32 };

typedef struct keys keys;

/* A key. It stays until keys_close even when it is not in the file any more, for a request may
 * hold it. */
typedef struct key key;

/* Read the file. Returns NULL, or a malloc'd sentence that names the line at fault and not the
 * key in it. The caller closes *out. */
char *keys_open(keys **out, const char *path);
void keys_close(keys *k);

/* Read it anew: what is in use of a key stays in use. On failure the old keys stay, and the
 * sentence says why. */
char *keys_reload(keys *k);
size_t keys_count(const keys *k);

/* The key that was presented: `Authorization: Bearer KEY`, else `x-api-key: KEY`; NULL: there
 * is no such key. Either header may be NULL. */
key *keys_find(const keys *k, const char *authorization, const char *x_api_key);

const char *keys_name(const key *x); /* of the file, or "" */
uint64_t keys_tenant(const key *x);  /* never 0, and the same after a restart */

/* What admission says of a request of so many tokens, at a time of uv_hrtime. */
typedef struct keys_verdict {
    const char *limit; /* NULL: admitted; else which one it is over */
    unsigned retry_seconds;
    bool never; /* more tokens than the key may ever have */
} keys_verdict;

/* Count it in, unless it is over a limit. The caller counts it out by keys_release. */
keys_verdict keys_admit(key *x, uint64_t tokens, uint64_t now_ns);

/* It is over: it was admitted with `tokens` and has used so many of the minute's. */
void keys_release(key *x, uint64_t tokens, uint64_t used);

#endif
