/* pages.h - asks the kernel for pages of mapped memory, and gives them back. */
#ifndef ENGINE_PAGES_H
#define ENGINE_PAGES_H

#include <stddef.h>

#include "engine/err.h"

/* Have every page of [at, at + n) now, so that no later write waits for one. What they hold
 * stays as it is; nobody else writes there meanwhile. ERR_NOMEM: there are not as many. */
err pages_fill(void *at, size_t n);

/* Have the pages of a read-only mapping that hold [at, at + n), if they can be had. */
void pages_read(const void *at, size_t n);

/* A read-only mapping of a file, from its beginning: its pages are not resident any more, and
 * come back from the file when they are read. */
void pages_drop(const void *at, size_t n);

#endif
