/* folder.h - a folder of a test's own under /tmp. Whatever goes wrong fails the test. */
#ifndef TESTS_FOLDER_H
#define TESTS_FOLDER_H

#include <stddef.h>

enum { FOLDER_PATH = 320 }; /* bytes of a path, with its NUL */

typedef struct folder {
    char path[32];
} folder;

/* A new, empty one. */
folder folder_make(void);

/* It and all that is in it are gone. */
void folder_remove(const folder *f);

/* path/name; returns `into`. */
const char *folder_path(const folder *f, const char *name, char into[FOLDER_PATH]);

/* The file of that name holds these n bytes; folders in its name are made. */
void folder_write(const folder *f, const char *name, const void *bytes, size_t n);

/* How many files and folders stand right in it. */
size_t folder_count(const folder *f);

#endif
