/* read_file.h - a whole file in memory, for tests. */
#ifndef TESTS_READ_FILE_H
#define TESTS_READ_FILE_H

#include <stddef.h>

/* The file's bytes, a NUL added; n (may be NULL) without it. Aborts when it cannot be read.
 * The caller frees. */
char *read_file(const char *path, size_t *n);

#endif
