/* folders.h - the user's cache folder, files that ship with the program, and folders that are
 * made on the way to a file. */
#ifndef SERVER_FOLDERS_H
#define SERVER_FOLDERS_H

#include <stddef.h>

/* ${XDG_CACHE_HOME:-$HOME/.cache}/xquantd; the caller frees. NULL: neither is set, or out of
 * memory. */
char *folders_cache(void);

/* Make the folder and those above it, where they are not there. What cannot be made shows
 * when the folder is used. `path` is changed meanwhile. */
void folders_make(char *path);

/* A file that ships ("models/x"): in the program's source tree, or in the install prefix.
 * Writes the path that exists, or the last one tried. */
void folders_find_shipped(const char *name, char *path, size_t n);

#endif
