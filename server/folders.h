/* folders.h - the user's cache folder, and folders that are made on the way to a file. */
#ifndef SERVER_FOLDERS_H
#define SERVER_FOLDERS_H

/* ${XDG_CACHE_HOME:-$HOME/.cache}/xquantd; the caller frees. NULL: neither is set, or out of
 * memory. */
char *folders_cache(void);

/* Make the folder and those above it, where they are not there. What cannot be made shows
 * when the folder is used. `path` is changed meanwhile. */
void folders_make(char *path);

#endif
