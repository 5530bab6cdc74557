/* fetch.h - a file from the web: resumed where it was cut, checked, and never there by half.
 *
 * It grows as PATH.part, which stays when the fetch fails and is continued by the next one
 * (HTTP Range). Its SHA-256 must be the one that is asked for, else the one that the server
 * names, if it names one: a hub does so for large files by X-Linked-Etag, or by ETag. Then it
 * becomes PATH. */
#ifndef SERVER_CONVERT_FETCH_H
#define SERVER_CONVERT_FETCH_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"

enum { FETCH_SHA_BYTES = 32 };

/* What is to be fetched, and what is known of it. */
typedef struct fetch_wish {
    const char *url;
    const char *token; /* for the URL's own host alone; may be NULL */
    const char *path;
    const unsigned char *sha; /* [FETCH_SHA_BYTES] NULL: what the server names */
    uint64_t bytes;           /* 0: as many as the server says */
    uint64_t until_ns;        /* of clock_ns, when it is given up; 0: never */
} fetch_wish;

/* Fetch it, following redirects. A connection that is cut is made again as long as bytes come.
 * A server that names another sum or length than is asked for is refused before a byte is
 * taken. A bar on stderr meanwhile. ERR_OK, or ERR_DOWNLOAD with a clause in why [n]. Blocks.
 */
err fetch_file(const fetch_wish *w, char *why, size_t n);

#endif
