/* fetch.h - a file from the web: resumed where it was cut, checked, and never there by half.
 *
 * It grows as PATH.part, which stays when the fetch fails and is continued by the next one
 * (HTTP Range). Its SHA-256 must be the one that the server names, if it names one: a hub does
 * so for large files by X-Linked-Etag, or by ETag. Then it becomes PATH. */
#ifndef SERVER_CONVERT_FETCH_H
#define SERVER_CONVERT_FETCH_H

#include <stddef.h>

#include "engine/err.h"

/* Fetch `url`, following redirects; `token` (may be NULL) goes to its own host alone. A
 * connection that is cut is made again as long as bytes come. A bar on stderr meanwhile.
 * ERR_OK, or ERR_DOWNLOAD with a clause in why [n]. Blocks. */
err fetch_file(const char *url, const char *token, const char *path, char *why, size_t n);

#endif
